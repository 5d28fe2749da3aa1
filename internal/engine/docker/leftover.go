// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/client"
)

// An engine that is killed while it starts a container, and started again, takes the container for
// one that was never started, while its processes run: containerd has the task. The engine then
// refuses to start it ("already exists"), and does not end the processes when it is removed. They
// would go on using its ports and volumes for good.
const (
	leftoverInterval = 100 * time.Millisecond
	// noticeTime is how long the engine may take to notice that the processes have ended; after that
	// nobody keeps its task any more.
	noticeTime = 3 * time.Second
	// leftoverTime is how long all of it may take.
	leftoverTime = 15 * time.Second
)

// startAgain ends the processes that an earlier start of a container has left behind and starts it
// again. Where there are none it returns cause, the error of the first attempt.
func (e *Engine) startAgain(ctx context.Context, id string, cause error) error {
	if _, local := strings.CutPrefix(e.host, "unix://"); !local {
		return cause
	}
	there, err := e.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil || there.Container.State == nil || there.Container.State.Running {
		return cause
	}
	// The processes may have ended before, and only their task be left.
	keeperEnded := false
	if !endProcesses("/proc", there.Container.ID) {
		if keeperEnded = endKeeper("/proc", there.Container.ID); !keeperEnded {
			return cause
		}
	}
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(leftoverInterval):
		}
		_, err := e.api.ContainerStart(ctx, id, client.ContainerStartOptions{})
		waited := time.Since(began)
		if err == nil || waited > leftoverTime {
			return err
		}
		if !keeperEnded && waited > noticeTime {
			keeperEnded = true
			endKeeper("/proc", there.Container.ID)
		}
	}
}

// keeperProgram begins the name of containerd's program that keeps a task: its shim. It is started with
// "-id CONTAINER", as containerd's documentation of the runtime v2 has it. Where it ends, containerd
// removes the task.
const keeperProgram = "containerd-shim"

// endKeeper kills the shim of a container without processes, and reports whether there was one.
func endKeeper(proc, containerID string) bool {
	files, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "cmdline"))
	if err != nil || containerID == "" {
		return false
	}
	found := false
	for _, file := range files {
		line, err := readStart(file)
		if err != nil {
			continue // ended
		}
		words := strings.Split(string(line), "\x00")
		if !strings.HasPrefix(filepath.Base(words[0]), keeperProgram) || !slices.Contains(words, containerID) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			found = syscall.Kill(pid, syscall.SIGKILL) == nil || found
		}
	}
	return found
}

// readStart reads the start of a command line, which has all that counts: a process may give itself one
// of all the memory that it has.
func readStart(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	const most = 8 << 10
	line, err := io.ReadAll(io.LimitReader(file, most))
	return line, errors.Join(err, file.Close())
}

// endProcesses kills the processes in a container's control group, as far as this host shows them,
// and reports whether there was one.
func endProcesses(proc, containerID string) bool {
	found := false
	for _, pid := range processesOf(proc, containerID) {
		// One that has ended by itself meanwhile was there as well.
		if err := syscall.Kill(pid, syscall.SIGKILL); err == nil || errors.Is(err, syscall.ESRCH) {
			found = true
		}
	}
	return found
}

// processesOf lists the processes whose control group carries a container's id: ".../docker/ID" or
// ".../docker-ID.scope", by cgroup driver.
func processesOf(proc, containerID string) []int {
	files, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "cgroup"))
	if err != nil || containerID == "" {
		return nil
	}
	var pids []int
	for _, file := range files {
		groups, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(groups, []byte(containerID)) {
			continue // ended, or another's
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
