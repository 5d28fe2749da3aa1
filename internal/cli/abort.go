// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
	"copse/internal/view"
)

func (a *app) abort() *cobra.Command {
	return a.undo(undoing{
		use:   "abort ID",
		short: "Stop a change and undo what it has not finished",
		long: `Stop a change. Containers that it has finished stay; those it is working on are put back as they
were. The undoing is followed to its end.`,
		begin: func(ctx context.Context, c *client.Client, id int) (*api.Change, error) {
			return c.Abort(ctx, id, a.operator())
		},
		note: "change %d is being undone",
		tell: func(ctx context.Context, change *api.Change) error {
			if err := a.view.ChangeEnded(change, view.Ending{Outcome: a.outcome(ctx, change)}); err != nil {
				return err
			}
			if change.Status == "error" || change.Status == "stuck" {
				return exit(exitFailed)
			}
			return nil
		},
	})
}
