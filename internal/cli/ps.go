// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
)

func (a *app) ps() *cobra.Command {
	var all, privileges bool
	command := &cobra.Command{
		Use:   "ps [NAME…] [--all] [--privileges]",
		Short: "List containers with their state and health",
		Long: `List containers with generation, release, state, health, how long they run and how often they
were restarted. Health is one of healthy, starting, unhealthy, failed, stopped, completed. Where an
upgrade or a rollback holds a container at something else than the cloud file says, PINNED says so.

With --privileges, what each container may do on the host beyond the default, which is to use its
network and nothing else, and why.`,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx := cmd.Context()
			if privileges {
				return a.privileges(ctx, names)
			}
			containers, err := ask(a, func(c *client.Client) ([]api.Container, error) { return c.Containers(ctx, names, all) })
			if err != nil {
				return err
			}
			pins, err := a.pins(ctx)
			if err != nil {
				return err
			}
			return a.view.Containers(containers, pins)
		},
	}
	command.Flags().BoolVarP(&all, "all", "a", false, "finished jobs too")
	command.Flags().BoolVar(&privileges, "privileges", false, "who may do what on the host, and why")
	return command
}
