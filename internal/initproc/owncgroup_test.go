// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package initproc_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// engineGroup plays the engine: a group in every hierarchy, and the power to
// kill all in it.
type engineGroup struct {
	t           *testing.T
	name        string
	directories []string
}

func newEngineGroup(t *testing.T) *engineGroup {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("control groups are root's")
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	group := &engineGroup{t: t, name: fmt.Sprintf("copse-test-engine-%d", os.Getpid())}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if fields[2] != "cgroup" && fields[2] != "cgroup2" {
			continue
		}
		directory := filepath.Join(fields[1], group.name)
		if err := os.Mkdir(directory, 0o755); err != nil {
			t.Skipf("control groups cannot be made here: %v", err)
		}
		group.directories = append(group.directories, directory)
		t.Cleanup(func() { group.remove(directory) })
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(fields[1], name))
			if fields[2] == "cgroup2" || err != nil {
				continue
			}
			if err := os.WriteFile(filepath.Join(directory, name), value, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(group.directories) == 0 {
		t.Skip("no control group file system is mounted")
	}
	return group
}

// remove waits for the kernel to let go of processes that have been killed.
func (g *engineGroup) remove(directory string) {
	for os.Remove(directory) != nil {
		if _, err := os.Stat(directory); err != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// members lists who is in the group, in any hierarchy.
func (g *engineGroup) members() []int {
	g.t.Helper()
	var members []int
	for _, directory := range g.directories {
		text, err := os.ReadFile(filepath.Join(directory, "cgroup.procs"))
		if err != nil {
			g.t.Fatal(err)
		}
		for field := range strings.FieldsSeq(string(text)) {
			var pid int
			if _, err := fmt.Sscan(field, &pid); err != nil {
				g.t.Fatal(err)
			}
			if !slices.Contains(members, pid) {
				members = append(members, pid)
			}
		}
	}
	return members
}

// kill does to the group what an engine does at a container's end.
func (g *engineGroup) kill() {
	g.t.Helper()
	for len(g.members()) > 0 {
		for _, pid := range g.members() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(time.Millisecond)
	}
}

// run starts copse-init inside the group, whose service starts a process that
// is to survive and says both their numbers.
func (g *engineGroup) run(ownGroup string) (container *running, service, survivor int) {
	g.t.Helper()
	made := command(g.t, "--own-cgroup="+ownGroup, "--", "sh", "-c", `
		trap 'echo TERM; exit 4' TERM
		setsid sleep 300 > /dev/null 2>&1 &
		echo $$; echo $!
		while :; do read -r line; done`)
	join := ""
	for _, directory := range g.directories {
		join += "echo 0 > " + directory + "/cgroup.procs\n"
	}
	made.Path = "/bin/sh"
	made.Args = append([]string{"sh", "-c", join + `exec "$@"`, "sh", program}, made.Args[1:]...)
	container = start(g.t, made)
	service, survivor = container.number(), container.number()
	g.t.Cleanup(func() {
		_ = syscall.Kill(survivor, syscall.SIGKILL)
		for _, directory := range g.directories {
			parent := filepath.Join(filepath.Dir(directory), "copse")
			g.remove(filepath.Join(parent, ownGroup))
			_ = os.Remove(parent)
		}
	})
	if members := g.members(); !slices.Equal(members, []int{container.Process.Pid}) {
		g.t.Errorf("the engine's group has %v, want copse-init (%d) alone", members, container.Process.Pid)
	}
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", survivor))
	if err != nil {
		g.t.Fatal(err)
	}
	for line := range strings.Lines(string(groups)) {
		if fields := strings.SplitN(strings.TrimSpace(line), ":", 3); fields[2] != "/copse/"+ownGroup {
			g.t.Errorf("the survivor is in %s of %q", fields[2], fields[1])
		}
	}
	return container, service, survivor
}

func TestSurvivorsOfAKilledContainer(t *testing.T) {
	engine := newEngineGroup(t)
	container, service, survivor := engine.run(fmt.Sprintf("test-kill-%d", os.Getpid()))
	engine.kill()
	container.wantStatus(-1)
	for alive(service) {
		time.Sleep(time.Millisecond)
	}
	if !alive(survivor) {
		t.Error("what the service started has died with the container")
	}
}

func TestSurvivorsOfAStoppedContainer(t *testing.T) {
	engine := newEngineGroup(t)
	container, service, survivor := engine.run(fmt.Sprintf("test-stop-%d", os.Getpid()))
	container.send(syscall.SIGTERM)
	container.wantLine("TERM")
	container.wantStatus(4)
	if alive(service) || !alive(survivor) {
		t.Errorf("service alive: %v, want false; what it started alive: %v, want true", alive(service), alive(survivor))
	}
}

func TestOwnGroupGoesWithTheLastProcess(t *testing.T) {
	newEngineGroup(t)
	name := fmt.Sprintf("test-empty-%d", os.Getpid())
	got := finish(t, command(t, "--own-cgroup", name, "--", "sh", "-c", "grep -c /copse/"+name+"$ /proc/self/cgroup"))
	if got.status != 0 || got.stdout == "0\n" {
		t.Fatalf("got %+v", got)
	}
	if left, _ := filepath.Glob("/sys/fs/cgroup/*/copse/" + name); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestOwnGroupPassesStartErrorsOn(t *testing.T) {
	newEngineGroup(t)
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("neither"), 0o755); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("--own-cgroup=test-error-%d", os.Getpid())
	if got := finish(t, command(t, name, "--", script)); got.status != 126 || !strings.Contains(got.stderr, "no program for this machine") {
		t.Errorf("got %+v", got)
	}
	if got := finish(t, command(t, name, "--", "copse-no-such")); got.status != 127 {
		t.Errorf("got %+v", got)
	}
}
