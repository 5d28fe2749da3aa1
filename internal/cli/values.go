// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func (a *app) values() *cobra.Command {
	return &cobra.Command{
		Use:   "values",
		Short: "List the values of the cloud: what each is, what it means and where it was set",
		Args:  arguments(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			values, err := a.parts.values(a.declaration(""))
			if err != nil {
				return err
			}
			return a.view.Values(values)
		},
	}
}
