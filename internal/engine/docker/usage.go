// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"copse/internal/engine"
)

// processColumns is what ps is asked for on the engine's host; see parseProcess. The user's
// name has room for 32 characters, the longest that useradd takes.
const processColumns = "-eo pid,ppid,user:32,args"

// Top implements engine.Processes. The engine runs ps(1) of its host.
func (e *Engine) Top(ctx context.Context, id string) ([]engine.Process, error) {
	result, err := e.api.ContainerTop(ctx, id, client.ContainerTopOptions{Arguments: []string{processColumns}})
	if err != nil {
		return nil, e.fail(err, "list the processes of container %s", id)
	}
	processes := make([]engine.Process, 0, len(result.Processes))
	for _, row := range result.Processes {
		process, err := parseProcess(row)
		if err != nil {
			return nil, fmt.Errorf("cannot list the processes of container %s: %w", id, err)
		}
		processes = append(processes, process)
	}
	return processes, nil
}

// parseProcess reads a row of processColumns.
func parseProcess(row []string) (engine.Process, error) {
	if len(row) < 4 {
		return engine.Process{}, fmt.Errorf("ps printed %q, which has less than 4 columns", row)
	}
	pid, err := strconv.Atoi(row[0])
	if err != nil {
		return engine.Process{}, fmt.Errorf("ps printed %q as a process id", row[0])
	}
	ppid, err := strconv.Atoi(row[1])
	if err != nil {
		return engine.Process{}, fmt.Errorf("ps printed %q as a parent's process id", row[1])
	}
	return engine.Process{PID: pid, PPID: ppid, User: row[2], Command: strings.Join(row[3:], " ")}, nil
}

// Stats implements engine.Processes. A container that does not run is engine.ErrConflict.
func (e *Engine) Stats(ctx context.Context, id string) (engine.Stats, error) {
	result, err := e.api.ContainerStats(ctx, id, client.ContainerStatsOptions{})
	if err != nil {
		return engine.Stats{}, e.fail(err, "measure container %s", id)
	}
	defer result.Body.Close()
	var sample container.StatsResponse
	if err := json.NewDecoder(result.Body).Decode(&sample); err != nil {
		return engine.Stats{}, e.fail(err, "measure container %s", id)
	}
	if sample.Read.IsZero() {
		// The engine answers with an empty sample rather than an error.
		return engine.Stats{}, fmt.Errorf("cannot measure container %s: it does not run: %w", id, engine.ErrConflict)
	}
	return engine.Stats{
		CPU:         time.Duration(sample.CPUStats.CPUUsage.TotalUsage),
		Memory:      usedMemory(sample.MemoryStats),
		MemoryLimit: int64(sample.MemoryStats.Limit),
		Pids:        int64(sample.PidsStats.Current),
	}, nil
}

// usedMemory takes off the page cache that the kernel can drop at any time, which has one
// name in cgroup v1 and another in v2 (the kernel's admin-guide, cgroup-v1/memory and
// cgroup-v2).
func usedMemory(memory container.MemoryStats) int64 {
	cache, found := memory.Stats["total_inactive_file"]
	if !found {
		cache = memory.Stats["inactive_file"]
	}
	if cache > memory.Usage {
		return 0
	}
	return int64(memory.Usage - cache)
}

// CopyTo implements engine.Processes. Owners are those of the archive, as numbers.
func (e *Engine) CopyTo(ctx context.Context, id, path string, archive io.Reader) error {
	// CopyUIDGID would do the opposite of its name: give all files to the container's user.
	_, err := e.api.CopyToContainer(ctx, id, client.CopyToContainerOptions{DestinationPath: path, Content: archive})
	return e.fail(err, "copy files to %s in container %s", path, id)
}
