// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/plan"
)

func (a *app) down() *cobra.Command {
	var volumes, yes, detach bool
	command := &cobra.Command{
		Use:   "down [--volumes] [--yes]",
		Short: "Stop and remove the whole cloud; data stays unless --volumes is given",
		Long: `Stop and remove all containers of the cloud, dependents first. What will happen to virtual
machines, namespaces and bridges is said and asked about. Volumes, and with them all data, stay:
` + "`copse up`" + ` brings everything back. With --volumes they are removed too, which cannot be undone,
and the name of the cloud has to be typed.`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			t := transition{
				request:  api.ChangeRequest{Kind: plan.Down, Volumes: volumes},
				yes:      yes,
				detach:   detach,
				question: "This stops and removes the cloud; its data stays. Go on?",
				next:     "data is kept; `copse up` brings the cloud back",
			}
			if volumes {
				t.next = "the data is gone; `copse up` makes a new cloud"
				t.question = "This stops and removes the cloud AND ALL ITS DATA. Go on?"
				document, err := a.declared(ctx)
				if err != nil {
					return err
				}
				t.typed = document.Cloud
				if t.typed == "" {
					t.typed = "volumes"
				}
				t.typedReason = "The data in the volumes cannot be brought back."
			}
			return a.transit(ctx, t)
		},
	}
	command.Flags().BoolVar(&volumes, "volumes", false, "remove the volumes and the data in them as well")
	yesFlag(command.Flags(), &yes, "do not ask")
	detachFlag(command.Flags(), &detach)
	return command
}
