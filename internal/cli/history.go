// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
)

func (a *app) history() *cobra.Command {
	return &cobra.Command{
		Use:   "history [NAME…]",
		Short: "List the generations of containers: when, why, measured window",
		Long: `List the generations of containers with the change that made them, the cause, and the window:
the time from the first to the last failed request seen while the container was replaced.`,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx := cmd.Context()
			generations, err := ask(a, func(c *client.Client) ([]api.Generation, error) { return c.History(ctx, names) })
			if err != nil {
				return err
			}
			return a.view.History(generations)
		},
	}
}
