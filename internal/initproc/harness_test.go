// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package initproc_test

import (
	"bufio"
	"bytes"

	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// program is the copse-init that TestMain built.
var program string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	directory, err := os.MkdirTemp("", "copse-init-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(directory)
	// A container's user must be able to run it.
	if err := os.Chmod(directory, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	program = filepath.Join(directory, "copse-init")
	build := exec.Command("go", "build", "-o", program, "copse/cmd/copse-init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "cannot build copse-init:", err)
		return 1
	}
	return m.Run()
}

// result is how a copse-init ended.
type result struct {
	status         int
	stdout, stderr string
}

// finish runs a command to its end.
func finish(t *testing.T, command *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatalf("cannot run %v: %v", command.Args, err)
	}
	return result{command.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// command makes one of the program, outside of any namespace: a subreaper.
func command(t *testing.T, arguments ...string) *exec.Cmd {
	t.Helper()
	made := exec.CommandContext(t.Context(), program, arguments...)
	made.Env = []string{"PATH=" + os.Getenv("PATH")}
	return made
}

// containerScript makes a small root of its own and becomes copse-init in it;
// $0 is a scratch directory, $1 the program.
const containerScript = `set -e
root=$0/root program=$1; shift
mkdir -p "$root" "$0/files"
mount -t tmpfs -o mode=755 tmpfs "$root"
cd "$root"
mkdir -p usr proc dev run/secrets tmp var/lib etc files
mount --rbind /usr usr
for link in bin sbin lib lib64; do if [ -e /usr/$link ]; then ln -s usr/$link $link; fi; done
mount --rbind /dev dev
mount -t proc proc proc
mount --bind "$0/files" files
if [ -d files/secrets ]; then cp files/secrets/* run/secrets/; fi
if [ -d files/kolla ]; then mkdir -p var/lib/kolla; cp -r files/kolla var/lib/kolla/config_files; fi
cp "$program" copse-init
exec env -u PWD -u OLDPWD chroot "$root" /copse-init "$@"`

// container makes a command in which the program is PID 1 of a namespace. The
// scratch directory's files/ is /files in it, files/secrets/ is /run/secrets,
// files/kolla/ is /var/lib/kolla/config_files.
func container(t *testing.T, scratch string, arguments ...string) *exec.Cmd {
	t.Helper()
	words := append([]string{"--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", containerScript, scratch, program}, arguments...)
	if os.Geteuid() != 0 {
		words = append([]string{"--user", "--map-root-user"}, words...)
	}
	made := exec.CommandContext(t.Context(), "unshare", words...)
	made.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	return made
}

// scratchWith makes a scratch directory with these below files/.
func scratchWith(t *testing.T, files map[string]string) string {
	t.Helper()
	scratch := t.TempDir()
	for name, text := range files {
		path := filepath.Join(scratch, "files", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return scratch
}

// running is a copse-init whose service talks to the test.
type running struct {
	*exec.Cmd
	t     *testing.T
	lines *bufio.Scanner
	input io.WriteCloser
	shown *bytes.Buffer
}

func start(t *testing.T, command *exec.Cmd) *running {
	t.Helper()
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	started := &running{Cmd: command, t: t, lines: bufio.NewScanner(output), input: input, shown: &bytes.Buffer{}}
	command.Stderr = started.shown
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill() })
	return started
}

// line waits for the service's next line.
func (r *running) line() string {
	r.t.Helper()
	if !r.lines.Scan() {
		_ = r.Wait()
		r.t.Fatalf("the service said nothing more; copse-init: %s", r.shown)
	}
	return r.lines.Text()
}

func (r *running) wantLine(want string) {
	r.t.Helper()
	if got := r.line(); got != want {
		r.t.Fatalf("the service said %q, want %q", got, want)
	}
}

func (r *running) number() int {
	r.t.Helper()
	number, err := strconv.Atoi(r.line())
	if err != nil {
		r.t.Fatal(err)
	}
	return number
}

func (r *running) send(signal syscall.Signal) {
	r.t.Helper()
	if err := r.Process.Signal(signal); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) wantStatus(want int) {
	r.t.Helper()
	for r.lines.Scan() {
		r.t.Errorf("the service also said %q", r.lines.Text())
	}
	_ = r.Wait()
	if got := r.ProcessState.ExitCode(); got != want {
		r.t.Errorf("status %d, want %d; copse-init: %s", got, want, r.shown)
	}
}

// alive tells whether a process runs; a zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}
