// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
	"copse/internal/tree"
	"copse/internal/view"
)

func (a *app) history() *cobra.Command {
	var versions bool
	command := &cobra.Command{
		Use:   "history [NAME…] [--versions]",
		Short: "List the generations of containers: when, why, measured window",
		Long: `List the generations of containers with the change that made them, the cause, and the window:
the time from the first to the last failed request seen while the container was replaced. A window
of 0 says that none failed, - that nothing was measured. OF is the generation whose content a
rollback made again.

For a set its versions come first: one for each change that touched it, numbered by the highest
generation that the change made. With --versions they come alone.`,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx := cmd.Context()
			if versions {
				return a.versions(ctx, names)
			}
			generations, err := ask(a, func(c *client.Client) ([]api.Generation, error) { return c.History(ctx, names) })
			if err != nil {
				return err
			}
			var sets []string
			if len(names) > 0 && a.view.Format() != view.JSON {
				document, err := a.declared(ctx)
				if err != nil {
					return err
				}
				// As Select does: a container goes before a set of the same name.
				sets = setsOf(document, slices.DeleteFunc(slices.Clone(names), func(name string) bool { return document.Container(name) != nil }))
			}
			return a.view.History(versionsOf(sets, generations), generations)
		},
	}
	command.Flags().BoolVar(&versions, "versions", false, "list the versions of sets instead; names are those of sets")
	return command
}

// versions shows the versions of sets; no names are all that are in no other.
func (a *app) versions(ctx context.Context, names []string) error {
	document, err := a.declared(ctx)
	if err != nil {
		return err
	}
	sets := topSets(document.Sets)
	if len(names) > 0 {
		if sets = setsOf(document, names); len(sets) == 0 {
			return &usageError{"only sets have versions, and " + strings.Join(names, ", ") + " is none: `copse tree` shows the sets"}
		}
	}
	generations, err := ask(a, func(c *client.Client) ([]api.Generation, error) { return c.History(ctx, nil) })
	if err != nil {
		return err
	}
	return a.view.Versions(versionsOf(sets, generations))
}

// setsOf returns the paths of the sets that names stand for; other names are left out.
func setsOf(document *tree.Document, names []string) []string {
	var sets []string
	for _, name := range names {
		path := strings.TrimPrefix(name, "set/")
		for i := range document.Containers {
			for _, set := range tree.Ancestors(document.Containers[i].Set) {
				if (set == path || strings.HasSuffix(set, "/"+path)) && !slices.Contains(sets, set) {
					sets = append(sets, set)
				}
			}
		}
	}
	slices.Sort(sets)
	return sets
}

// topSets are the sets that are in no other.
func topSets(sets []tree.Set) []string {
	var top []string
	for _, set := range sets {
		if path := tree.Ancestors(set.Path)[0]; !slices.Contains(top, path) {
			top = append(top, path)
		}
	}
	return top
}

func versionsOf(sets []string, generations []api.Generation) []view.Version {
	var versions []view.Version
	for _, set := range sets {
		versions = append(versions, view.Versions(set, generations)...)
	}
	return versions
}
