// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"

	"copse/internal/check"
	"copse/internal/engine"

	"golang.org/x/sys/unix"
)

// Outside runs the programs of checks: those of copse-init that say the same from outside of the
// container in this process, all others in the container. Nearly all that a check costs there is
// the start of its program (docs/benchmarks.md).
//
// It takes the place of an engine where checks are run, and is safe for concurrent use.
type Outside struct {
	Engine interface {
		Inspect(ctx context.Context, id string) (engine.Container, error)
		Exec(ctx context.Context, id string, exec engine.Exec) (int, error)
	}
}

// Exec is [engine.Processes]'s, with the same results. It asks the engine about the container before
// each check: one that is paused, or has ended, or an engine that is away, is for Exec to tell.
func (o Outside) Exec(ctx context.Context, id string, exec engine.Exec) (int, error) {
	c, err := o.Engine.Inspect(ctx, id)
	if err != nil || c.State != engine.Running || !sharesNetwork(c) {
		return o.Engine.Exec(ctx, id, exec)
	}
	lookup := func(name string) (string, bool) { value, set := c.Environment[name]; return value, set }
	run, ok := check.Outside(exec.Command, lookup, processes(c.PID))
	if !ok {
		return o.Engine.Exec(ctx, id, exec)
	}
	var said bytes.Buffer
	status := run(ctx, &said)
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case status != 0 && !sharesNetwork(c):
		// It has ended meanwhile, which the engine knows more of.
		return o.Engine.Exec(ctx, id, exec)
	case exec.Stdout != nil:
		_, err = exec.Stdout.Write(said.Bytes())
	}
	return status, err
}

// processes is where the proc file system that a container sees is found, "" where it cannot be seen.
func processes(pid int) string {
	path := fmt.Sprintf("/proc/%d/root/proc", pid)
	var found unix.Statfs_t
	if err := unix.Statfs(path, &found); err != nil || found.Type != unix.PROC_SUPER_MAGIC {
		return ""
	}
	return path
}

// sharesNetwork reports whether a container's first process is in sight and in this process's network.
// The container's id among its control groups says that it is that process, and not another that
// has its number by now, or in a PID namespace that is not the engine's.
func sharesNetwork(c engine.Container) bool {
	if c.PID <= 0 || c.ID == "" {
		return false
	}
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.PID))
	if err != nil || !strings.Contains(string(groups), c.ID) {
		return false
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return false
	}
	its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", c.PID))
	return err == nil && its == own
}
