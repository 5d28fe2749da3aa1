// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
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
	// leftoverTime is how long the engine may take to notice that the processes have ended.
	leftoverTime = 10 * time.Second
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
	if !endProcesses("/proc", there.Container.ID) {
		return cause
	}
	deadline := time.Now().Add(leftoverTime)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(leftoverInterval):
		}
		_, err := e.api.ContainerStart(ctx, id, client.ContainerStartOptions{})
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
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
