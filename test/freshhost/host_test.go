// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package freshhost has tests that need a host to themselves: one that is fresh, or is switched off. It
// is made within this one, of Debian's packages, with processes, mounts, control groups, a network and a
// container engine of its own.
package freshhost

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"copse/test/testcloud"
)

// keepVariable leaves the host running, and what it has written on the disk, where it is set.
const keepVariable = "COPSE_FRESHHOST_KEEP"

// The network between this machine and a host within it, out of the range that carriers have for
// themselves (RFC 6598).
const (
	outsideAddress = "100.64.77.1"
	insideAddress  = "100.64.77.2"
	network        = "100.64.77.0/30"
)

// host is a host within this one. Only one is on at a time.
type host struct {
	repository string
	dir        string
	name       string
	paths      []string // of this machine, seen there too
	pid        int      // its first process, in this machine's numbers; 0 while it is off
	done       chan error
}

// newHost makes a host of a suite of Debian and switches it on. Nothing is installed on it but make,
// and Go is there.
func newHost(t *testing.T, suite string) *host {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("only root can make a host within this one: run the tests as root")
	}
	if _, err := os.Stat("/sys/fs/cgroup/memory"); err != nil {
		t.Fatalf("the control groups of this machine are not of version 1: %v", err)
	}
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{repository: repository, name: "fresh-" + suite, dir: filepath.Join(repository, "build", "hosts", suite)}
	for _, name := range []string{"GOROOT", "GOMODCACHE", "GOCACHE"} {
		h.paths = append(h.paths, testcloud.Must(t, "go", "env", name))
	}
	// A run that was cut off may have left it on, or kept it for somebody to look at.
	h.pid = h.left()
	h.powerOff(t)
	h.erase(t)
	h.bootstrap(t, suite)
	h.clone(t)
	t.Cleanup(func() {
		if os.Getenv(keepVariable) != "" {
			t.Logf("%s is set: the host stays until the next test on one of its suite; enter it with nsenter --target %d --all", keepVariable, h.pid)
			return
		}
		h.powerOff(t)
		h.erase(t)
	})
	h.powerOn(t)
	return h
}

// left is the first process of a host that was left running, or 0.
func (h *host) left() int {
	content, err := os.ReadFile("/sys/fs/cgroup/pids/copse-host-" + h.name + "/session/cgroup.procs")
	if err != nil {
		return 0
	}
	pid, _, _ := strings.Cut(string(content), "\n")
	number, err := strconv.Atoi(pid)
	if err != nil {
		return 0
	}
	return number
}

// bootstrap makes the root file system, once.
func (h *host) bootstrap(t *testing.T, suite string) {
	t.Helper()
	base := filepath.Join(h.dir, "base")
	if _, err := os.Stat(base); err == nil {
		return
	}
	mirror := testcloud.Must(t, filepath.Join(h.repository, "scripts", "debian-mirror.sh"))
	if err := os.MkdirAll(h.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	made := base + ".new"
	if err := os.RemoveAll(made); err != nil {
		t.Fatal(err)
	}
	testcloud.Must(t, "mmdebstrap", "--variant=apt", "--include=make,ca-certificates,iproute2,procps,mount,kmod", "--format=directory",
		"--aptopt=Acquire::Check-Valid-Until \"false\"", suite, made, "deb [check-valid-until=no] "+mirror+" "+suite+" main")
	if err := os.Rename(made, base); err != nil {
		t.Fatal(err)
	}
}

// checkout is where the host has its own clone of the repository, with what is not committed yet.
const checkout = "/root/copse"

func (h *host) clone(t *testing.T) {
	t.Helper()
	clone := filepath.Join(h.dir, "upper", checkout)
	testcloud.Must(t, "git", "clone", "--quiet", "--no-hardlinks", h.repository, clone)
	testcloud.Must(t, "sh", "-c", `cd "$0" && git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -T - -cf - | tar -C "$1" -xf -`,
		h.repository, clone)
}

// powerOn starts the host as it was left: its files are there, and nothing runs.
func (h *host) powerOn(t *testing.T) {
	t.Helper()
	script := filepath.Join(h.repository, "test", "freshhost", "power-on.sh")
	args := append([]string{"--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child", script, h.dir, h.name}, h.paths...)
	cmd := exec.Command("unshare", args...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var problem strings.Builder
	cmd.Stderr = &problem
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the host does not start: %v: %v\n%s", err, cmd.Wait(), problem.String())
	}
	h.done = make(chan error, 1)
	go func() { h.done <- cmd.Wait() }()
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if h.pid, err = strconv.Atoi(strings.TrimSpace(string(children))); err != nil {
		t.Fatalf("the first process of the host: %v", err)
	}
	h.connect(t)
}

// connect joins the host to this machine's network, which it reaches others through.
func (h *host) connect(t *testing.T) {
	t.Helper()
	pid := strconv.Itoa(h.pid)
	testcloud.Must(t, "ip", "link", "add", "copse-host", "type", "veth", "peer", "name", "eth0", "netns", pid)
	testcloud.Must(t, "ip", "address", "add", outsideAddress+"/30", "dev", "copse-host")
	testcloud.Must(t, "ip", "link", "set", "copse-host", "up")
	h.must(t, "ip", "address", "add", insideAddress+"/30", "dev", "eth0")
	h.must(t, "ip", "link", "set", "eth0", "up")
	h.must(t, "ip", "route", "add", "default", "via", outsideAddress)
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1\n"), 0); err != nil {
		t.Fatal(err)
	}
	for _, rule := range rules {
		testcloud.Must(t, "iptables", append(strings.Fields(rule.add), strings.Fields(rule.text)...)...)
	}
}

// rules let the host's packets through, the more so where the engine of this machine forbids it.
var rules = []struct{ add, remove, text string }{
	{"-w -I FORWARD", "-w -D FORWARD", "-i copse-host -j ACCEPT"},
	{"-w -I FORWARD", "-w -D FORWARD", "-o copse-host -j ACCEPT"},
	{"-w -t nat -A POSTROUTING", "-w -t nat -D POSTROUTING", "-s " + network + " ! -o copse-host -j MASQUERADE"},
}

// powerOff takes the host's power: all its processes are gone at once, and what they had in memory,
// mounts, interfaces and control groups with them.
func (h *host) powerOff(t *testing.T) {
	t.Helper()
	if h.pid != 0 {
		if err := syscall.Kill(h.pid, syscall.SIGKILL); err != nil {
			t.Errorf("cannot switch the host off: %v", err)
		}
		h.pid = 0
	}
	if h.done != nil {
		<-h.done
		h.done = nil
	}
	for _, rule := range rules {
		// One that is not there needs not go.
		testcloud.Run(t, testcloud.Command(t, "", nil, "iptables", append(strings.Fields(rule.remove), strings.Fields(rule.text)...)...))
	}
	// The interface goes with its other end, which the kernel takes down in its own time.
	testcloud.Until(t, "the end of the host's network", func() string {
		testcloud.Run(t, testcloud.Command(t, "", nil, "ip", "link", "delete", "copse-host"))
		if _, err := os.Stat("/sys/class/net/copse-host"); err == nil {
			return "the interface copse-host is still there"
		}
		return ""
	})
	groups, err := filepath.Glob("/sys/fs/cgroup/*/copse-host-" + h.name)
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range groups {
		testcloud.Until(t, "the end of the host's control groups", func() string {
			if err := removeGroup(group); err != nil {
				return err.Error()
			}
			return ""
		})
	}
}

// removeGroup removes a control group and those below it.
func removeGroup(group string) error {
	var below []string
	err := filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			below = append(below, path)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for i := len(below) - 1; i >= 0; i-- {
		if err := syscall.Rmdir(below[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove %s: %w", below[i], err)
		}
	}
	return nil
}

// erase removes what the host has written.
func (h *host) erase(t *testing.T) {
	t.Helper()
	for _, part := range []string{"upper", "work", "docker", "root"} {
		if err := os.RemoveAll(filepath.Join(h.dir, part)); err != nil {
			t.Error(err)
		}
	}
}

// command is a program on the host, in its clone of the repository, with an environment of its own.
func (h *host) command(args ...string) *exec.Cmd {
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:" + filepath.Join(goSetting("GOROOT"), "bin")
	enter := []string{
		"-c", `for group in /sys/fs/cgroup/*/copse-host-"$0"/session; do echo 0 > "$group/cgroup.procs"; done && exec nsenter "$@"`, h.name,
		"--target", strconv.Itoa(h.pid), "--mount", "--net", "--uts", "--ipc", "--pid", "--cgroup",
		"env", "--ignore-environment", "PATH=" + path, "HOME=/root", "LANG=C.UTF-8", "NO_COLOR=1",
	}
	for _, name := range []string{"GOFLAGS", "GOTOOLCHAIN", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOMODCACHE", "GOCACHE"} {
		if value := goSetting(name); value != "" {
			enter = append(enter, name+"="+value)
		}
	}
	enter = append(enter, "sh", "-c", `cd "$0" && exec "$@"`, checkout)
	return exec.Command("sh", append(enter, args...)...)
}

// goSetting is a setting of the toolchain that runs this test, empty where there is none.
func goSetting(name string) string {
	value, err := exec.Command("go", "env", name).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(value))
}

// run runs a program on the host to its end.
func (h *host) run(t *testing.T, args ...string) testcloud.Result {
	t.Helper()
	return testcloud.Run(t, h.command(args...))
}

// must runs a program that has to succeed, and returns its standard output.
func (h *host) must(t *testing.T, args ...string) string {
	t.Helper()
	r := h.run(t, args...)
	if r.Code != 0 {
		t.Fatalf("on %s, %s ended with %d:\n%s", h.name, strings.Join(args, " "), r.Code, r)
	}
	return r.Stdout
}

// follow runs a program that takes long and has to succeed, and shows what it says as it says it.
func (h *host) follow(t *testing.T, args ...string) {
	t.Helper()
	cmd := h.command(args...)
	reader, writer := io.Pipe()
	cmd.Stdout, cmd.Stderr = writer, writer
	began := time.Now()
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		lines := bufio.NewScanner(reader)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			fmt.Printf("%s %6.1f %s\n", h.name, time.Since(began).Seconds(), lines.Text())
		}
		_, _ = io.Copy(io.Discard, reader) // a line beyond all measure
	}()
	err := cmd.Run()
	_ = writer.Close() // a pipe's end never fails to close
	<-shown
	if err != nil {
		t.Fatalf("on %s, %s: %v", h.name, strings.Join(args, " "), err)
	}
	t.Logf("on %s, %s took %s", h.name, strings.Join(args, " "), time.Since(began).Round(time.Second))
}
