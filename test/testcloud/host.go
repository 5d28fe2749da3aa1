// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package testcloud

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// What the tests set aside of a cloud that was here before.
const (
	asideDir   = StateDir + "/before-tests"
	agent      = "copse-agent"
	asideAgent = "copse-agent-before-tests"
)

// KeepVariable leaves the tests' cloud running where it is set.
const KeepVariable = "COPSE_E2E_KEEP"

// TakeOver makes the host one without a cloud, whatever it had: an earlier cloud of the tests is
// removed with its data. Any other is set aside: its data, its secrets and its agent's state are
// kept, and when the test ends it is started again.
func (c *Cloud) TakeOver(t testing.TB) {
	t.Helper()
	if others := Lines(Docker(t, "ps", "--all", "--format", `{{.Label "copse.cloud"}}`, "--filter", "label=copse.cloud")); exists(asideDir) {
		for _, other := range others {
			if other != Name {
				t.Fatalf("tests that were cut off left a cloud in %s, and the cloud %q was made after that: move away the one that is not needed", asideDir, other)
			}
		}
	}
	c.remove(t)
	others := Lines(Docker(t, "ps", "--all", "--quiet", "--filter", "label=copse.cloud"))
	running := strings.Join(Lines(Docker(t, "ps", "--quiet", "--filter", "label=copse.cloud")), " ")
	if !exists(asideDir) {
		c.setAside(t, others)
	}
	t.Cleanup(func() {
		if os.Getenv(KeepVariable) != "" {
			t.Logf("%s is set: the cloud %q stays; \"bin/copse down --volumes\" removes it", KeepVariable, Name)
			return
		}
		c.remove(t)
		c.putBack(t, running != "")
	})
}

// remove removes the tests' own cloud, its data and its agent, whatever state they are in.
func (c *Cloud) remove(t testing.TB) {
	t.Helper()
	ours := len(Lines(Docker(t, "volume", "ls", "--quiet", "--filter", "label=copse.cloud="+Name))) > 0 ||
		len(Lines(Docker(t, "ps", "--all", "--quiet", "--filter", "label=copse.cloud="+Name))) > 0
	if ours || exists(asideDir) {
		// The agent first: it would bring back what goes.
		for _, name := range []string{agent, agent + "-replaced"} {
			c.removeContainers(t, Lines(Docker(t, "ps", "--all", "--quiet", "--filter", "name=^"+name+"$")))
		}
		for _, path := range stateFiles(t) {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.removeContainers(t, Lines(Docker(t, "ps", "--all", "--quiet", "--filter", "label=copse.cloud="+Name)))
	for _, volume := range Lines(Docker(t, "volume", "ls", "--quiet", "--filter", "label=copse.cloud="+Name)) {
		Docker(t, "volume", "rm", "--force", volume)
	}
}

func (c *Cloud) removeContainers(t testing.TB, ids []string) {
	t.Helper()
	if len(ids) > 0 {
		Docker(t, append([]string{"rm", "--force"}, ids...)...)
	}
}

// setAside keeps an operator's cloud out of the way. Its containers go, since their names and
// ports are needed: Copse makes them again from what its store and its volumes hold.
func (c *Cloud) setAside(t testing.TB, containers []string) {
	t.Helper()
	if there := Docker(t, "ps", "--all", "--quiet", "--filter", "name=^"+agent+"$"); there != "" {
		Docker(t, "update", "--restart=no", agent)
		Docker(t, "stop", agent)
		Docker(t, "rename", agent, asideAgent)
	}
	for _, id := range containers {
		Docker(t, "stop", id)
	}
	c.removeContainers(t, containers)
	files := stateFiles(t)
	if len(files) == 0 {
		return
	}
	move(t, files, asideDir)
	if len(containers) > 0 {
		t.Logf("another cloud is set aside in %s until the tests have ended", asideDir)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// stateFiles are what is in the agent's directory, but for what was set aside. The directory itself
// stays: it may be a mount, here or in another name space.
func stateFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(StateDir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(files, func(path string) bool { return path == asideDir })
}

func move(t testing.TB, files []string, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o711); err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if err := os.Rename(path, filepath.Join(to, filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *Cloud) putBack(t testing.TB, wasRunning bool) {
	t.Helper()
	files, err := filepath.Glob(asideDir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	move(t, files, StateDir)
	if err := os.Remove(asideDir); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if Docker(t, "ps", "--all", "--quiet", "--filter", "name=^"+asideAgent+"$") == "" {
		return
	}
	Docker(t, "rename", asideAgent, agent)
	Docker(t, "update", "--restart=always", agent)
	Docker(t, "start", agent)
	if !wasRunning {
		return
	}
	Until(t, "the agent of the cloud that was here before", func() string {
		if r := c.Copse(t, "tree", "--format", "json"); r.Code != 0 {
			return r.String()
		}
		return ""
	})
	type set struct {
		Path string `json:"path"`
	}
	args := []string{"start"}
	for _, s := range Objects[set](t, c.Must(t, "tree", "--format", "json")) {
		if !strings.Contains(s.Path, "/") {
			args = append(args, s.Path)
		}
	}
	c.Must(t, args...)
}

// Kill kills the first process of a container of the engine with SIGKILL, as a crash does: unlike
// "docker kill" that is no wish of an operator, and the restart policy applies.
func Kill(t testing.TB, container string) {
	t.Helper()
	pid, err := strconv.Atoi(Docker(t, "inspect", "--format", "{{.State.Pid}}", container))
	if err != nil || pid <= 1 {
		t.Fatalf("container %s has no process to kill: %d, %v", container, pid, err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// enginePID is the process of the engine.
func enginePID(t testing.TB) int {
	t.Helper()
	for _, file := range []string{"/run/docker.pid", "/var/run/docker.pid"} {
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
		comm, commErr := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
		if err == nil && commErr == nil && strings.TrimSpace(string(comm)) == "dockerd" {
			return pid
		}
	}
	t.Fatal("cannot find the engine's process: /run/docker.pid does not name it")
	return 0
}

// Building reports whether somebody builds images on this engine, whom its end would disturb.
func Building(t testing.TB) bool {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, process := range processes {
		content, err := os.ReadFile(process)
		if err != nil {
			continue // it has ended
		}
		args := strings.Split(string(content), "\x00")
		name := filepath.Base(args[0])
		switch {
		case name == "copse" && len(args) > 1 && slices.Contains(args[1:], "build"),
			name == "docker" && slices.Contains(args[1:], "build"), slices.Contains(args, "/usr/bin/mmdebstrap"), strings.HasPrefix(name, "image.test"),
			name == "buildkit-runc":
			return true
		}
	}
	return false
}

// KillEngine kills the engine with SIGKILL once nobody builds on it, and starts it again the way the
// host is set up to.
func (c *Cloud) KillEngine(t testing.TB) {
	t.Helper()
	pid := enginePID(t)
	Until(t, "the end of builds on this engine", func() string {
		if Building(t) {
			return "one runs"
		}
		return ""
	})
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	Until(t, "the engine's end", func() string {
		status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
		if err == nil && !strings.Contains(string(status), "State:\tZ") {
			return "it still runs"
		}
		return ""
	})
	r := Run(t, Command(t, c.Repository, nil, "scripts/host-setup.sh"))
	if r.Code != 0 {
		t.Fatalf("the engine does not start again:\n%s", r)
	}
}
