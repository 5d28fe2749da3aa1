// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
)

func (a *app) health() *cobra.Command {
	return &cobra.Command{
		Use:   "health [NAME…]",
		Short: "Show each check, its last result and its output",
		Long: `Show the checks of containers with their last results. The check "health" is a container's own
and decides about restarts; the check "ready" decides when dependents go on and when a new
generation has proved itself. The exit code is 0 where all are healthy and 1 otherwise; without NAME,
what is stopped on purpose or was never brought up does not count.`,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx := cmd.Context()
			checks, err := ask(a, func(c *client.Client) ([]api.Health, error) { return c.Health(ctx, names) })
			if err != nil {
				return err
			}
			if err := a.view.Health(checks); err != nil {
				return err
			}
			if slices.ContainsFunc(checks, func(h api.Health) bool { return h.Health != "healthy" && (h.Health != "stopped" || len(names) > 0) }) {
				return exit(exitFailed)
			}
			return nil
		},
	}
}
