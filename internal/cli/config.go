// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
)

func (a *app) config() *cobra.Command {
	var (
		diff    bool
		address string
	)
	command := &cobra.Command{
		Use:   "config NAME… [--diff]",
		Short: "Show the configuration that a service sees",
		Long: `Show the configuration of containers as their services see it: the file that is made of their
options (OS_GROUP__OPTION, from the catalogue and from cloud.yaml), their other files, and their
environment. Secrets stand in it by their names, never by their values.

With --diff, show how what is declared now differs from what runs.`,
		Example: `  copse config keystone
  copse config nova --diff`,
		ValidArgsFunction: a.completeNames,
		Args:              arguments(1, -1, "the NAME of a container, set or component"),
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx := cmd.Context()
			configOf := func(request api.ConfigRequest) ([]api.Config, error) {
				return ask(a, func(c *client.Client) ([]api.Config, error) { return c.Config(ctx, request) })
			}
			if !diff {
				running, err := configOf(api.ConfigRequest{Names: names})
				if err != nil {
					return err
				}
				return a.view.Config(running)
			}
			document, err := a.resolve(ctx, address, names)
			if err != nil {
				return err
			}
			// What is only declared yet has a name that the agent does not know.
			running, err := configOf(api.ConfigRequest{})
			if err != nil {
				return err
			}
			declared, err := configOf(api.ConfigRequest{Names: names, Document: document})
			if err != nil {
				return err
			}
			return a.view.ConfigDiff(running, declared)
		},
	}
	command.Flags().BoolVar(&diff, "diff", false, "show how what is declared differs from what runs")
	command.Flags().StringVar(&address, "address", "", "with --diff, the `IP` address where the APIs are offered")
	return command
}
