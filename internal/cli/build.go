// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/tree"
)

func (a *app) build() *cobra.Command {
	return &cobra.Command{
		Use:   "build [IMAGE…]",
		Short: "Build images that are missing",
		Long: `Build images of the cloud and what they extend, in parallel. An image whose content tag is
there already is not built again. No IMAGE means all that the cloud uses.`,
		ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx := cmd.Context()
			document, err := a.resolve(ctx, "", nil)
			if err != nil {
				return err
			}
			images, err := chooseImages(document, names)
			if err != nil {
				return err
			}
			return a.buildImages(ctx, images)
		},
	}
}

// chooseImages picks the named images of a document, by name or reference; no name is all.
func chooseImages(document *tree.Document, names []string) ([]tree.Image, error) {
	if len(names) == 0 {
		return document.Images, nil
	}
	var chosen []tree.Image
	for _, name := range names {
		found := false
		for _, image := range document.Images {
			if image.Name == name || image.Reference == name {
				chosen = append(chosen, image)
				found = true
			}
		}
		if !found {
			known := imageNames(document)
			return nil, &api.Error{Code: "not-found", Message: fmt.Sprintf("the cloud uses no image %q%s: `copse images` lists them", name, hint(name, known))}
		}
	}
	return chosen, nil
}

func imageNames(document *tree.Document) []string {
	names := make([]string, 0, len(document.Images))
	for _, image := range document.Images {
		names = append(names, image.Name)
	}
	return names
}

// completeImages completes the names of images.
func (a *app) completeImages(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd, args, start, imageNames)
}
