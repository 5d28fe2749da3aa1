// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func (a *app) images() *cobra.Command {
	return &cobra.Command{
		Use:   "images",
		Short: "List the images of the cloud and whether they are built",
		Args:  arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			document, err := a.resolve(ctx, "", nil)
			if err != nil {
				return err
			}
			images, err := a.parts.listImages(ctx, document.Images)
			if err != nil {
				return err
			}
			return a.view.Images(images)
		},
	}
}
