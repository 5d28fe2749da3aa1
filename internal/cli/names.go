// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/tree"
)

// knownNames lists what NAME may be in a document: containers, sets (by path and by last
// element) and components.
func knownNames(document *tree.Document) []string {
	var names []string
	for _, c := range document.Containers {
		names = append(names, c.Name, c.Component, "component/"+c.Component)
		for _, set := range tree.Ancestors(c.Set) {
			names = append(names, set, path.Base(set), "set/"+set, "set/"+path.Base(set))
		}
	}
	for _, set := range document.Sets {
		names = append(names, set.Path, path.Base(set.Path), "set/"+set.Path, "set/"+path.Base(set.Path))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return slices.DeleteFunc(names, func(name string) bool { return name == "" || strings.HasSuffix(name, "/") })
}

// checkNames returns the error for the first name that is nothing in the document.
func checkNames(document *tree.Document, names []string) error {
	known := knownNames(document)
	for _, name := range names {
		if _, found := slices.BinarySearch(known, name); !found {
			message := fmt.Sprintf("no container, set or component is called %q%s", name, hint(name, known))
			if !strings.HasSuffix(message, "?") {
				message += ": `copse tree` shows what there is"
			}
			return &api.Error{Code: "not-found", Message: message}
		}
	}
	return nil
}

// completeNames completes NAME… from what the agent knows.
func (a *app) completeNames(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd, args, start, knownNames)
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
	c, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	document, err := c.Document(cmd.Context())
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
