// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
)

// undoing is a command that has the agent undo something of one change.
type undoing struct {
	use, short, long string
	// begin asks the agent for it.
	begin func(ctx context.Context, c *client.Client, id int) (*api.Change, error)
	// note says what goes on, of the number of the change.
	note string
	// tell shows how it ended; its error is the exit code.
	tell func(ctx context.Context, change *api.Change) error
}

// undo makes the command, which follows the undoing to its end.
func (a *app) undo(u undoing) *cobra.Command {
	var detach bool
	command := &cobra.Command{
		Use: u.use, Short: u.short, Long: u.long,
		RunE: a.onChange(func(ctx context.Context, id int) error {
			change, err := ask(a, func(c *client.Client) (*api.Change, error) { return u.begin(ctx, c, id) })
			if err != nil {
				return err
			}
			if detach {
				return a.view.Note(u.note+"; `copse change %d -f` follows it", id, id)
			}
			if !change.Ended() {
				if change, err = a.watch(ctx, change); err != nil {
					return err
				}
			}
			return u.tell(ctx, change)
		}),
		Args:              arguments(1, 1, "the ID of a change"),
		ValidArgsFunction: a.completeChanges,
	}
	command.Flags().BoolVarP(&detach, "detach", "d", false, "do not follow the undoing")
	return command
}
