// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"copse/internal/client"
	"copse/internal/tree"
)

// declared is the document that the agent has.
func (a *app) declared(ctx context.Context) (*tree.Document, error) {
	return ask(a, func(c *client.Client) (*tree.Document, error) { return c.Document(ctx) })
}

// completeNames completes NAME… from what the agent knows.
func (a *app) completeNames(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd, args, start, (*tree.Document).Names)
}

// completeContainer completes one container.
func (a *app) completeContainer(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return a.complete(cmd, args, start, func(document *tree.Document) []string {
		var names []string
		for _, c := range document.Containers {
			names = append(names, c.Name)
		}
		slices.Sort(names)
		return names
	})
}

func (a *app) complete(cmd *cobra.Command, args []string, start string, names func(*tree.Document) []string) ([]string, cobra.ShellCompDirective) {
	document, err := a.declared(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var matches []string
	for _, name := range names(document) {
		if strings.HasPrefix(name, start) && !slices.Contains(args, name) && (strings.Contains(start, "/") || !strings.Contains(name, "/")) {
			matches = append(matches, name)
		}
	}
	return matches, cobra.ShellCompDirectiveNoFileComp
}
