// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
	"copse/internal/view"
)

func (a *app) change() *cobra.Command {
	var follow bool
	command := &cobra.Command{
		Use:   "change ID [-f]",
		Short: "Show one change with its tasks, or follow it",
		Long: `Show one change with its tasks. With --follow show its progress until it has ended; the exit
code then is 0 where it is done and 1 where it failed.`,
		Args:              arguments(1, 1, "the ID of a change"),
		ValidArgsFunction: a.completeChanges,
		RunE: a.onChange(func(ctx context.Context, id int) error {
			change, err := ask(a, func(c *client.Client) (*api.Change, error) { return c.Change(ctx, id) })
			switch {
			case err != nil:
				return err
			case !follow:
				return a.view.Change(change, a.outcome(ctx, change))
			case change.Ended():
				return a.ended(change, view.Ending{Outcome: a.outcome(ctx, change)})
			}
			return a.follow(ctx, change, "", nil)
		}),
	}
	command.Flags().BoolVarP(&follow, "follow", "f", false, "show progress until it has ended")
	return command
}

// onChange is the body of a command whose one argument is the ID of a change.
func (a *app) onChange(run func(ctx context.Context, id int) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		id, err := changeID(args[0])
		if err != nil {
			return err
		}
		return run(cmd.Context(), id)
	}
}

// changeID reads the number of a change.
func changeID(arg string) (int, error) {
	id, err := strconv.Atoi(arg)
	if err != nil || id < 1 {
		return 0, &usageError{quoted(arg) + " is not the ID of a change: `copse changes` lists them"}
	}
	return id, nil
}

// completeChanges completes the ID of a change.
func (a *app) completeChanges(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	changes, err := a.listChanges(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var matches []string
	for _, c := range changes {
		if id := strconv.Itoa(c.ID); strings.HasPrefix(id, start) {
			matches = append(matches, id+"\t"+c.Summary)
		}
	}
	return matches, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) listChanges(ctx context.Context) ([]api.Change, error) {
	return ask(a, func(c *client.Client) ([]api.Change, error) { return c.Changes(ctx) })
}
