// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
	"copse/internal/view"
)

func (a *app) abort() *cobra.Command {
	var detach bool
	command := &cobra.Command{
		Use:   "abort ID",
		Short: "Stop a change and undo what it has not finished",
		Long: `Stop a change. Containers that it has finished stay; those it is working on are put back as they
were. The undoing is followed to its end.`,
		Args:              arguments(1, 1, "the ID of a change"),
		ValidArgsFunction: a.completeChanges,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			id, err := changeID(args[0])
			if err != nil {
				return err
			}
			change, err := ask(a, func(c *client.Client) (*api.Change, error) { return c.Abort(ctx, id) })
			if err != nil {
				return err
			}
			if detach {
				return a.view.Note("change %d is being undone; `copse change %d -f` follows it", id, id)
			}
			if !change.Ended() {
				if change, err = a.watch(ctx, change); err != nil {
					return err
				}
			}
			if err := a.view.ChangeEnded(change, view.Ending{Outcome: a.outcome(ctx, change)}); err != nil {
				return err
			}
			if change.Status == "error" || change.Status == "stuck" {
				return exit(exitFailed)
			}
			return nil
		},
	}
	command.Flags().BoolVarP(&detach, "detach", "d", false, "do not follow the undoing")
	return command
}
