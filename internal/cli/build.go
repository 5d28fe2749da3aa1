// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/tree"
)

func (a *app) build() *cobra.Command {
	var release string
	command := &cobra.Command{
		Use:   "build [IMAGE…] [--release RELEASE]",
		Short: "Build images that are missing",
		Long: `Build images of the cloud and what they extend, in parallel. An image whose content tag is
there already is not built again. No IMAGE means all that the cloud uses. With --release they are
those of another release, so that an upgrade to it finds them there.`,
		Example: `  copse build
  copse build keystone --release 2026.1`,
		ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx := cmd.Context()
			document, err := a.imagesAt(ctx, release)
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
	command.Flags().StringVar(&release, "release", "", "build for this `RELEASE` (default: that of each container)")
	completeFlag(command, "release", a.completeReleases)
	return command
}

// imagesAt makes the document with the images of a release, "" for those that the cloud is at.
func (a *app) imagesAt(ctx context.Context, release string) (*tree.Document, error) {
	if release == "" {
		return a.resolve(ctx, "", nil)
	}
	if err := a.checkRelease(release, false); err != nil {
		return nil, err
	}
	document, _, err := a.releasing(ctx, "", nil, release)
	return document, err
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
