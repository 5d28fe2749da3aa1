// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"copse/internal/agent"
	"copse/internal/client"
)

// hostVariable names the host for an agent in a container, whose own name the kernel gives differently.
const hostVariable = "COPSE_HOST"

// ensureAgent starts or replaces this host's agent.
func (p *program) ensureAgent(ctx context.Context, options agentOptions, tell func(string)) (bool, error) {
	host, err := p.connect(ctx)
	if err != nil {
		return false, err
	}
	socket, local := strings.CutPrefix(host.Host(), "unix://")
	if !local {
		return false, fmt.Errorf("cannot start an agent beside the engine at %s: an agent runs on the engine's own host: run copse there", host.Host())
	}
	launcher := agent.Launcher{
		Engine: host, EngineSocket: socket, StateDir: options.StateDir, Socket: options.Socket, Tell: tell,
		Answer: func(ctx context.Context) (string, error) {
			// A connection of its own: it must not outlive an agent that is replaced.
			c := client.New(client.Unix(options.Socket))
			version, err := c.Version(ctx)
			_ = c.Close() // nothing more is asked of it
			return version.Build, err
		},
	}
	return launcher.Ensure(ctx)
}

// runAgent runs the agent itself until ctx ends.
func (p *program) runAgent(ctx context.Context, options agentOptions) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	host, err := p.connect(ctx)
	if err != nil {
		return err
	}
	if note := host.PrivilegeNote(); note != "" {
		log.Info(note)
	}
	return agent.Run(ctx, agent.Options{
		StateDir: options.StateDir, Socket: options.Socket, Engine: host, EnginePID: host.PID,
		HostName: os.Getenv(hostVariable), Version: version, Log: log,
	})
}
