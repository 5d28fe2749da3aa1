// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
	"copse/internal/plan"
	"copse/internal/tree"
)

func (a *app) jobs() *cobra.Command {
	return &cobra.Command{
		Use:   "jobs",
		Short: "List the jobs that run on a timer: last run, result, next run",
		Long: `List the jobs that run on a timer: how often, their last run with its change and result, and when
they are due. A job that is due waits while another change is at work on its component or on what it
needs; the note says so.`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			jobs, err := ask(a, func(c *client.Client) ([]api.Job, error) { return c.Jobs(ctx) })
			if err != nil {
				return err
			}
			return a.view.Jobs(jobs)
		},
	}
}

func (a *app) runJob() *cobra.Command {
	var detach bool
	command := &cobra.Command{
		Use:   "run JOB… [--detach]",
		Short: "Run jobs now",
		Long: `Run jobs now, whether they are due or not. Nothing is started for them: what they need must run.
Jobs that are part of an upgrade (migrations) cannot be run by themselves.`,
		Args: arguments(1, -1, "at least one JOB"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
			return a.complete(cmd, args, start, runnable)
		},
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.transit(cmd.Context(), transition{
				request:    api.ChangeRequest{Kind: plan.RunNow, Names: names},
				detach:     detach,
				unattended: true,
			})
		},
	}
	detachFlag(command.Flags(), &detach)
	return command
}

// runnable names the jobs that may be run by hand, those with a timer first.
func runnable(document *tree.Document) []string {
	var timed, others []string
	for i := range document.Containers {
		switch c := &document.Containers[i]; {
		case c.Job == nil || c.Job.Phase != "":
		case c.Job.Every > 0:
			timed = append(timed, c.Name)
		default:
			others = append(others, c.Name)
		}
	}
	slices.SortFunc(timed, strings.Compare)
	slices.SortFunc(others, strings.Compare)
	return append(timed, others...)
}
