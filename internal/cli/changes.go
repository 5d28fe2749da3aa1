// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func (a *app) changes() *cobra.Command {
	return &cobra.Command{
		Use:   "changes",
		Short: "List changes: who, when, how long, how it went, measured window",
		Args:  arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			changes, err := a.listChanges(ctx)
			if err != nil {
				return err
			}
			return a.view.Changes(changes, a.generations(ctx))
		},
	}
}
