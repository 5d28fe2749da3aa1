// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/plan"
)

func (a *app) start() *cobra.Command {
	return a.lifecycle(plan.Start, "Start what was stopped", `Start containers, sets or components and what they depend on, in the order of their
dependencies: each once what it waits for is ready.`)
}

// lifecycle makes the commands that start and stop what is there.
func (a *app) lifecycle(kind plan.Kind, short, long string) *cobra.Command {
	var yes, detach bool
	command := &cobra.Command{
		Use:               string(kind) + " NAME…",
		Short:             short,
		Long:              long,
		Args:              arguments(1, -1, "at least one NAME"),
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.transit(cmd.Context(), transition{
				request:    api.ChangeRequest{Kind: kind, Names: names},
				yes:        yes,
				detach:     detach,
				unattended: true,
			})
		},
	}
	yesFlag(command.Flags(), &yes, "do not ask, whatever is lost")
	detachFlag(command.Flags(), &detach)
	return command
}
