// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
	"copse/internal/tree"
)

func (a *app) tree() *cobra.Command {
	return &cobra.Command{
		Use:   "tree",
		Short: "Show the tree of sets and containers with their health",
		Long: `Show the cloud as it is declared: sets, the sets within them, and containers, each with its
health. A set is as healthy as the least healthy of its containers.`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			sets, err := ask(a, func(c *client.Client) ([]tree.Set, error) { return c.Tree(ctx) })
			if err != nil {
				return err
			}
			containers, err := ask(a, func(c *client.Client) ([]api.Container, error) { return c.Containers(ctx, nil, true) })
			if err != nil {
				return err
			}
			document, err := a.declared(ctx)
			if err != nil {
				return err
			}
			return a.view.Tree(document.Cloud, sets, containers)
		},
	}
}
