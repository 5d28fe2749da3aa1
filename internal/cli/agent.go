// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"copse/internal/agent"
)

func (a *app) runAgent() *cobra.Command {
	var stateDir string
	command := &cobra.Command{
		Use:   "agent [--state-dir DIR] [--socket PATH]",
		Short: "Run the agent in the foreground",
		Long: `Run the agent: the one that owns every transition on its host. ` + "`copse up`" + ` starts it as a
container; there is seldom a reason to run it by hand.`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			err := a.parts.runAgent(ctx, agentOptions{Socket: a.socket(), StateDir: stateDir})
			if ctx.Err() != nil {
				return nil // it was told to end, and has
			}
			return err
		},
	}
	command.Flags().StringVar(&stateDir, "state-dir", agent.DefaultStateDir, "the `DIR`ectory of its store")
	return command
}
