// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
)

func (a *app) retry() *cobra.Command {
	var detach bool
	command := &cobra.Command{
		Use:   "retry ID",
		Short: "Go on undoing what got stuck in a change",
		Long: `Go on undoing what could not be undone in a change that has ended, once the cause is gone:
` + "`copse change ID`" + ` says what is stuck and why. The undoing is followed to its end.`,
		Args:              arguments(1, 1, "the ID of a change"),
		ValidArgsFunction: a.completeChanges,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			id, err := changeID(args[0])
			if err != nil {
				return err
			}
			change, err := ask(a, func(c *client.Client) (*api.Change, error) { return c.Retry(ctx, id, a.operator()) })
			if err != nil {
				return err
			}
			if detach {
				return a.view.Note("what is stuck in change %d is being undone; `copse change %d -f` follows it", id, id)
			}
			if !change.Ended() {
				if change, err = a.watch(ctx, change); err != nil {
					return err
				}
			}
			if err := a.view.Retried(change); err != nil {
				return err
			}
			if slices.ContainsFunc(change.Tasks, func(t api.Task) bool { return t.Status == "stuck" }) {
				return exit(exitFailed)
			}
			return nil
		},
	}
	command.Flags().BoolVarP(&detach, "detach", "d", false, "do not follow the undoing")
	return command
}
