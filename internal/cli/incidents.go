// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"time"

	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
)

func (a *app) incidents() *cobra.Command {
	var since string
	command := &cobra.Command{
		Use:   "incidents [NAME…] [--since TIME]",
		Short: "List what went wrong by itself, and what the agent did about it",
		Long: `List what happened to containers that nobody asked for: processes that ended, checks that failed,
restarts, containers that were given up and that recovered, each with its cause and the last lines
of output. What "copse start", "stop" and changes do is no incident.`,
		Example: `  copse incidents --since 1h
  copse incidents keystone`,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx := cmd.Context()
			var from time.Time
			if since != "" {
				var err error
				if from, err = parseSince(since, a.view.Now()); err != nil {
					return err
				}
			}
			incidents, err := ask(a, func(c *client.Client) ([]api.Incident, error) { return c.Incidents(ctx, names, from) })
			if err != nil {
				return err
			}
			return a.view.Incidents(incidents)
		},
	}
	command.Flags().StringVar(&since, "since", "", "from a `TIME` on: 10m, 2h, 3d, 2026-01-31, 2026-01-31T08:00:00Z")
	return command
}
