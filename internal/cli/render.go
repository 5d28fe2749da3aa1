// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func (a *app) render() *cobra.Command {
	var address string
	compose := &cobra.Command{
		Use:   "compose [--address IP]",
		Short: "Print the cloud as one Compose file",
		Long: `Print the cloud as one Compose file that ` + "`docker compose up`" + ` runs. Where --format json is
given, it is printed as JSON, which Compose reads as well.`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			document, err := a.resolve(cmd.Context(), address, nil)
			if err != nil {
				return err
			}
			file, err := a.parts.compose(document)
			if err != nil {
				return err
			}
			return a.view.YAML(file)
		},
	}
	addressFlag(compose.Flags(), &address)
	return parent("render", "Print the cloud in another form", compose)
}
