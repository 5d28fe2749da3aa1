// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/client"
)

// killTimeout bounds the question for the process of an exec.
const killTimeout = 5 * time.Second

// killExec kills a program that goes on after its caller has lost patience. The API has no call for
// it, but names its process in the host's numbering. The container's own number among the process's
// control groups says that it is that process and not another that has its number by now; where
// processes are out of sight, nothing is done.
func (e *Engine) killExec(ctx context.Context, execID string) {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	state, err := e.api.ExecInspect(ctx, execID, client.ExecInspectOptions{})
	if err != nil || !state.Running || state.PID <= 1 {
		return
	}
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", state.PID))
	if err != nil || !strings.Contains(string(groups), state.ContainerID) {
		return
	}
	// The engine makes each program the leader of a session: what it has started goes with it.
	if err := syscall.Kill(-state.PID, syscall.SIGKILL); err != nil {
		_ = syscall.Kill(state.PID, syscall.SIGKILL) // where that fails it has just ended
	}
}
