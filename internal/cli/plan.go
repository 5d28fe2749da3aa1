// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import "github.com/spf13/cobra"

func (a *app) plan() *cobra.Command {
	var (
		address string
		unpin   bool
	)
	command := &cobra.Command{
		Use:   "plan [NAME…] [--address IP] [--unpin]",
		Short: "Show what `copse up` would do",
		Long: `Show what ` + "`copse up`" + ` would do and why, without doing it. The exit code is 0 where there
is nothing to do, 2 where there are changes, 1 where it failed. ` + "`copse upgrade --dry-run`" + ` and
` + "`copse rollback --dry-run`" + ` do the same for those.`,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx := cmd.Context()
			request, _, err := a.request(ctx, wanted{address: address, names: names, unpin: unpin})
			if err != nil {
				return err
			}
			return a.showPlan(ctx, request)
		},
	}
	addressFlag(command.Flags(), &address)
	unpinFlag(command.Flags(), &unpin)
	return command
}
