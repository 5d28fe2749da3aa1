// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
	"copse/internal/plan"
)

func (a *app) plan() *cobra.Command {
	var address string
	command := &cobra.Command{
		Use:   "plan [NAME…] [--address IP]",
		Short: "Show what `copse up` would do",
		Long: `Show what ` + "`copse up`" + ` would do and why, without doing it. The exit code is 0 where there
is nothing to do, 2 where there are changes, 1 where it failed.`,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx := cmd.Context()
			document, err := a.resolve(ctx, address, names)
			if err != nil {
				return err
			}
			request := api.ChangeRequest{Kind: plan.Up, Document: document, Names: names, User: a.operator()}
			p, err := ask(a, func(c *client.Client) (*plan.Plan, error) { return c.Plan(ctx, request) })
			if err != nil {
				return err
			}
			if err := a.view.PlanObject(p); err != nil {
				return err
			}
			if !p.Empty() {
				return exit(exitChanges)
			}
			return nil
		},
	}
	command.Flags().StringVar(&address, "address", "", "the `IP` address where the APIs are offered (default: that of the default route)")
	return command
}
