// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
)

func (a *app) retry() *cobra.Command {
	return a.undo(undoing{
		use:   "retry ID",
		short: "Go on undoing what got stuck in a change",
		long: `Go on undoing what could not be undone in a change that has ended, once the cause is gone:
` + "`copse change ID`" + ` says what is stuck and why. The undoing is followed to its end.`,
		begin: func(ctx context.Context, c *client.Client, id int) (*api.Change, error) {
			return c.Retry(ctx, id, a.operator())
		},
		note: "what is stuck in change %d is being undone",
		tell: func(_ context.Context, change *api.Change) error {
			if err := a.view.Retried(change); err != nil {
				return err
			}
			if slices.ContainsFunc(change.Tasks, func(t api.Task) bool { return t.Status == "stuck" }) {
				return exit(exitFailed)
			}
			return nil
		},
	})
}
