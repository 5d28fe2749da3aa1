// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
)

func (a *app) ps() *cobra.Command {
	var all bool
	command := &cobra.Command{
		Use:   "ps [NAME…] [--all]",
		Short: "List containers with their state and health",
		Long: `List containers with generation, release, state, health, how long they run and how often they
were restarted. Health is one of healthy, starting, unhealthy, failed, stopped, completed.`,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx := cmd.Context()
			containers, err := ask(a, func(c *client.Client) ([]api.Container, error) { return c.Containers(ctx, names, all) })
			if err != nil {
				return err
			}
			return a.view.Containers(containers)
		},
	}
	command.Flags().BoolVarP(&all, "all", "a", false, "finished jobs too")
	return command
}
