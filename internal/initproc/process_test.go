// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package initproc_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// both runs a test with copse-init as a subreaper and as PID 1.
func both(t *testing.T, test func(t *testing.T, make func(arguments ...string) *exec.Cmd)) {
	t.Run("subreaper", func(t *testing.T) {
		test(t, func(arguments ...string) *exec.Cmd { return command(t, arguments...) })
	})
	t.Run("PID 1", func(t *testing.T) {
		scratch := t.TempDir()
		test(t, func(arguments ...string) *exec.Cmd { return container(t, scratch, arguments...) })
	})
}

func TestExitStatus(t *testing.T) {
	noProgram := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(noProgram, []byte("neither"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		arguments []string
		status    int
		message   string
	}{
		{"success", []string{"--", "true"}, 0, ""},
		{"failure", []string{"--", "sh", "-c", "exit 7"}, 7, ""},
		{"killed", []string{"--", "sh", "-c", "kill -KILL $$"}, 137, ""},
		{"not there", []string{"--", "copse-no-such"}, 127, `copse-init: cannot start "copse-no-such": there is no such program`},
		{"path not there", []string{"--", "/copse/no/such"}, 127, "there is no such program"},
		{"not executable", []string{"--", "/etc/passwd"}, 126, "it may not be executed"},
		{"a directory", []string{"--", "/"}, 126, "it may not be executed"},
		{"no program", []string{"--", noProgram}, 126, "it is no program for this machine"},
		{"no command", []string{"--"}, 2, "no command; usage: copse-init"},
		{"no dashes", []string{"true"}, 2, `unknown argument "true"; usage`},
		{"nothing", nil, 2, `no "--" before the command`},
		{"bad group", []string{"--own-cgroup=../x", "--", "true"}, 2, "cannot be the name of a control group"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := finish(t, command(t, c.arguments...))
			if got.status != c.status || !strings.Contains(got.stderr, c.message) || (c.message == "" && got.stderr != "") {
				t.Errorf("status %d and %q, want %d and %q", got.status, got.stderr, c.status, c.message)
			}
		})
	}
}

// TestReapsOrphans has the service leave a process behind that is adopted by
// copse-init and then ends. It would stay in /proc as a zombie.
func TestReapsOrphans(t *testing.T) {
	both(t, func(t *testing.T, make func(...string) *exec.Cmd) {
		const script = `
			init=$PPID
			(sh -c 'while read -r pid name state parent rest < /proc/$$/stat; [ "$parent" != "$1" ]; do sleep 0.01; done; echo $$' sh $init &) | {
				read -r orphan
				while [ -e /proc/$orphan ]; do sleep 0.01; done
				echo gone
			}`
		if got := finish(t, make("--", "sh", "-c", script)); got.status != 0 || got.stdout != "gone\n" {
			t.Errorf("got %+v", got)
		}
	})
}

func TestForwardsSignalsOnceEach(t *testing.T) {
	const script = `
		for s in HUP INT QUIT USR1 USR2 WINCH; do trap "echo $s" $s; done
		trap 'echo TERM; exit 9' TERM
		echo ready
		while :; do read -r line; done`
	t.Run("subreaper", func(t *testing.T) {
		service := start(t, command(t, "--", "sh", "-c", script))
		sendEach(service, service.send)
	})
	t.Run("PID 1", func(t *testing.T) {
		service := start(t, container(t, t.TempDir(), "--", "sh", "-c", script))
		sendEach(service, func(s syscall.Signal) {
			// unshare itself does not pass signals on.
			if err := syscall.Kill(childOf(t, service.Process.Pid), s); err != nil {
				t.Fatal(err)
			}
		})
	})
}

func sendEach(service *running, send func(syscall.Signal)) {
	service.wantLine("ready")
	for _, s := range []struct {
		signal syscall.Signal
		name   string
	}{
		{syscall.SIGHUP, "HUP"}, {syscall.SIGINT, "INT"}, {syscall.SIGQUIT, "QUIT"},
		{syscall.SIGUSR1, "USR1"}, {syscall.SIGUSR2, "USR2"}, {syscall.SIGWINCH, "WINCH"}, {syscall.SIGTERM, "TERM"},
	} {
		send(s.signal)
		service.wantLine(s.name)
	}
	service.wantStatus(9)
}

// childOf finds the one child of a process.
func childOf(t *testing.T, parent int) int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(text), ") ")
		if fields := strings.Fields(after); len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pid, _, _ := strings.Cut(string(text), " ")
			number, err := strconv.Atoi(pid)
			if err != nil {
				t.Fatal(err)
			}
			return number
		}
	}
	t.Fatalf("process %d has no child", parent)
	return 0
}

// TestEndsWhatTheServiceLeaves leaves one process that ends on TERM and one
// that does not.
func TestEndsWhatTheServiceLeaves(t *testing.T) {
	service := start(t, command(t, "--", "sh", "-c", `
		(trap 'echo got TERM; exit' TERM; echo 1; while :; do sleep 0.01; done) &
		(trap '' TERM; exec sleep 300 >/dev/null) &
		echo $!; read -r line; exit 3`))
	stubborn := 0
	for range 2 {
		if number := service.number(); number != 1 {
			stubborn = number
		}
	}
	if !alive(stubborn) {
		t.Fatal("the process to be left behind is not there")
	}
	service.input.Close()
	service.wantLine("got TERM")
	service.wantStatus(3)
	if alive(stubborn) {
		t.Errorf("process %d is still there", stubborn)
	}
}

func TestAsPID1AsksWhatIsLeftToEnd(t *testing.T) {
	got := finish(t, container(t, t.TempDir(), "--", "sh", "-c", `
		(trap 'echo got TERM; exit' TERM; echo ready > /tmp/ready; while :; do sleep 0.01; done) &
		while [ ! -s /tmp/ready ]; do sleep 0.01; done; echo init is $PPID`))
	if got.status != 0 || got.stdout != "init is 1\ngot TERM\n" {
		t.Errorf("got %+v", got)
	}
}

// TestEndedBeforeTheServiceStarts holds the preparation up with a template
// that is a pipe.
func TestEndedBeforeTheServiceStarts(t *testing.T) {
	directory := t.TempDir()
	pipe := filepath.Join(directory, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	made := command(t, "--", "echo", "started")
	made.Env = append(made.Env, "COPSE_TEMPLATES="+pipe+":"+filepath.Join(directory, "out"))
	service := start(t, made)
	// Opening for writing waits for the reader: from here on it is held up.
	writer, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	service.send(syscall.SIGTERM)
	service.wantStatus(143)
	if !strings.Contains(service.shown.String(), "before the service was started") {
		t.Errorf("said %q", service.shown)
	}
}

// TestIdleCostsNothing looks for a busy loop: with nothing to do, copse-init
// uses no processor time at all that the kernel would count.
func TestIdleCostsNothing(t *testing.T) {
	service := start(t, command(t, "--", "sh", "-c", "echo ready; read -r line"))
	service.wantLine("ready")
	time.Sleep(200 * time.Millisecond)
	before := processorTicks(t, service.Process.Pid)
	time.Sleep(time.Second)
	if used := processorTicks(t, service.Process.Pid) - before; used > 5 {
		t.Errorf("idle for a second, it used %d hundredths of processor time", used)
	}
	service.input.Close()
	service.wantStatus(1)
}

func processorTicks(t *testing.T, pid int) int {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	total := 0
	for _, field := range strings.Fields(after)[11:13] { // utime and stime of proc(5)
		ticks, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		total += ticks
	}
	return total
}

// BenchmarkStart is the time from exec of copse-init to the end of a service
// that does nothing, to be compared with the service alone.
func BenchmarkStart(b *testing.B) {
	for _, c := range []struct {
		name string
		argv []string
	}{
		{"service alone", []string{"true"}},
		{"under copse-init", []string{program, "--", "true"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if err := exec.Command(c.argv[0], c.argv[1:]...).Run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
