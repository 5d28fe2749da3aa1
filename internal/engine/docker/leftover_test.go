// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestProcessesOfAContainer finds the processes by their control group, with both cgroup drivers and
// both versions, and no others.
func TestProcessesOfAContainer(t *testing.T) {
	id, other := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	proc := t.TempDir()
	for pid, groups := range map[string]string{
		"10": "12:pids:/docker/" + id + "\n0::/\n",
		"11": "0::/system.slice/docker-" + id + ".scope\n",
		"12": "0::/docker/" + other + "\n",
		"13": "0::/\n",
	} {
		if err := os.MkdirAll(filepath.Join(proc, pid), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, pid, "cgroup"), []byte(groups), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := processesOf(proc, id)
	slices.Sort(got)
	if !slices.Equal(got, []int{10, 11}) {
		t.Errorf("the processes are %v; want 10 and 11", got)
	}
	if none := processesOf(proc, ""); none != nil {
		t.Errorf("without an id, the processes are %v", none)
	}
}

// TestEndProcesses ends a real process that is said to be a container's.
func TestEndProcesses(t *testing.T) {
	child := exec.Command("sleep", "600")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	id := strings.Repeat("ab", 32)
	proc := t.TempDir()
	dir := filepath.Join(proc, strconv.Itoa(child.Process.Pid))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup"), []byte("0::/docker/"+id+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if !endProcesses(proc, id) {
		t.Error("no process was found")
	}
	_ = child.Wait() // how it ended is looked at
	if status := child.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("the process ended by %v", status)
	}
	if endProcesses(proc, strings.Repeat("cd", 32)) {
		t.Error("processes were found for a container that has none")
	}
}

// TestEndKeeper ends the shim of a container and no other's, nor another program that has its id.
func TestEndKeeper(t *testing.T) {
	id, other := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	proc := t.TempDir()
	start := func(line ...string) *exec.Cmd {
		child := exec.Command("sleep", "600")
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = child.Process.Kill() })
		dir := filepath.Join(proc, strconv.Itoa(child.Process.Pid))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "cmdline"), []byte(strings.Join(line, "\x00")+"\x00"), 0o644); err != nil {
			t.Fatal(err)
		}
		return child
	}
	shim := start("/usr/bin/containerd-shim-runc-v2", "-namespace", "moby", "-id", id, "-address", "/run/containerd.sock")
	others := []*exec.Cmd{start("/usr/bin/containerd-shim-runc-v2", "-namespace", "moby", "-id", other), start("docker", "start", id)}
	if !endKeeper(proc, id) {
		t.Error("no shim was found")
	}
	_ = shim.Wait() // how it ended is looked at
	if status := shim.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("the shim ended by %v", status)
	}
	for _, child := range others {
		if err := child.Process.Signal(syscall.Signal(0)); err != nil {
			t.Errorf("%v was ended too: %v", child.Args, err)
		}
	}
	bomb := "/usr/bin/containerd-shim-runc-v2\x00-id\x00" + strings.Repeat("x", 1<<20)
	if err := os.WriteFile(filepath.Join(proc, "bomb"), []byte(bomb), 0o644); err != nil {
		t.Fatal(err)
	}
	if line, err := readStart(filepath.Join(proc, "bomb")); err != nil || len(line) > 1<<16 {
		t.Errorf("%d bytes of a command line of %d are read, %v", len(line), len(bomb), err)
	}
	if endKeeper(proc, strings.Repeat("ef", 32)) {
		t.Error("a shim was found for a container that has none")
	}
}
