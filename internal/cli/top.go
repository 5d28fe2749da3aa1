// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
)

func (a *app) top() *cobra.Command {
	return &cobra.Command{
		Use:               "top [NAME…]",
		Short:             "List the processes of containers and what they use",
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx := cmd.Context()
			processes, err := ask(a, func(c *client.Client) ([]api.Process, error) { return c.Top(ctx, names) })
			if err != nil {
				return err
			}
			return a.view.Top(processes)
		},
	}
}
