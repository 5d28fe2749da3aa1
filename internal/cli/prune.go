// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
	"copse/internal/view"
)

func (a *app) prune() *cobra.Command {
	var yes, dryRun bool
	command := &cobra.Command{
		Use:   "prune [--dry-run] [--yes]",
		Short: "Remove images that nothing needs and nothing can go back to",
		Long: `Remove images of Copse that are not needed: those of what is declared, of every generation that
can be gone back to, of every container that is there and of every process that still runs from one
(a virtual machine whose container was replaced) stay. They are listed and asked about. Volumes and
images of others are never touched.`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			unneeded, err := a.pruneImages(ctx, true)
			if err != nil {
				return err
			}
			if dryRun || len(unneeded.Images) == 0 {
				return a.view.Prune(unneeded)
			}
			if a.view.Format() != view.JSON {
				if err := a.view.Prune(unneeded); err != nil {
					return err
				}
			}
			if !yes {
				if !a.interactive() {
					return errors.New("cannot ask whether to remove them, for there is no terminal: give --yes")
				}
				if err := a.confirm(ctx, "Remove them?"); err != nil {
					return err
				}
			}
			removed, err := a.pruneImages(ctx, false)
			if err != nil {
				return err
			}
			if err := a.view.Prune(removed); err != nil {
				return err
			}
			if slices.ContainsFunc(removed.Images, func(i api.PrunedImage) bool { return i.Error != "" }) {
				return exit(exitFailed)
			}
			return nil
		},
	}
	yesFlag(command.Flags(), &yes, "do not ask")
	command.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would be removed")
	return command
}

func (a *app) pruneImages(ctx context.Context, dryRun bool) (*api.Prune, error) {
	return ask(a, func(c *client.Client) (*api.Prune, error) { return c.Prune(ctx, api.PruneRequest{DryRun: dryRun}) })
}
