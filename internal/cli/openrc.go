// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
)

func (a *app) openrc() *cobra.Command {
	return &cobra.Command{
		Use:   "openrc",
		Short: "Print credentials for the openstack client",
		Long: `Print the administrator's credentials as commands for a shell. The password is among them: give
the output to eval and do not write it down.`,
		Example: `  eval "$(copse openrc)"
  openstack token issue`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			rc, err := ask(a, func(c *client.Client) (*api.OpenRC, error) { return c.OpenRC(ctx) })
			if err != nil {
				return err
			}
			return a.view.OpenRC(rc)
		},
	}
}
