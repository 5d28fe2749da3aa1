// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"context"
	"time"

	"copse/internal/engine"
)

// Program is how the process of a container behaves. The zero value runs until it is stopped
// and then exits with status 0.
type Program struct {
	// StartError: the engine cannot start it, for this reason.
	StartError string
	// Exit: it ends by itself.
	Exit *Exit
	// IgnoresStop: it has to be killed.
	IgnoresStop bool
	// StopTakes is how long it goes on after the stop signal; see Engine.Sleep.
	StopTakes time.Duration
	// StopCode is its exit status after the stop signal.
	StopCode int
	// Lines are what it writes, in order.
	Lines []Line
	// Ports that it listens on in the network that it is in; PORT in the environment of a
	// container with the host's network is another one. Where a port is taken, the program
	// says so and exits with status 1.
	Ports []string
	// Exec runs programs beside it; nil: each exits with status 0.
	Exec func(ctx context.Context, exec engine.Exec) (int, error)
	// Processes and Stats are what Top and Stats return; Processes nil: one process.
	Processes []engine.Process
	Stats     engine.Stats
}

// Exit is how a program ends by itself.
type Exit struct {
	After time.Duration
	Code  int
	// OOM: the kernel killed it for the memory that it used.
	OOM bool
}

// Line is a line that a program writes.
type Line struct {
	Stream string // "" is stdout
	Text   string
	After  time.Duration // since its start; not less than the line before
}
