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
)

func (a *app) preflight() *cobra.Command {
	var address string
	command := &cobra.Command{
		Use:   "preflight [NAME…] [--address IP]",
		Short: "Find what on the host stands in the way",
		Long: `Find what on the host stands in the way of what is declared: ports and writable places that
two claim, be it containers or foreign processes; devices, memory and disk that are missing;
settings of the engine, the kernel and the clock that will do harm later. Each finding says what
to do. Nothing is touched, but the agent is started where there is none.

The same is done before every change: what is "refused" keeps it from beginning, a "warning" is
shown. The exit code is 1 where something is refused.`,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx := cmd.Context()
			// What is wrong with the declaration is said before an agent is started for it.
			document, err := a.resolve(ctx, address, names)
			if err != nil {
				return err
			}
			started, err := a.ensure(ctx)
			if err == nil && started {
				document, err = a.resolve(ctx, address, names)
			}
			if err != nil {
				return err
			}
			request := api.PreflightRequest{Document: document, Names: names}
			findings, err := ask(a, func(c *client.Client) ([]plan.Finding, error) { return c.Preflight(ctx, request) })
			if err != nil {
				return err
			}
			if err := a.view.Findings(findings); err != nil {
				return err
			}
			if slices.ContainsFunc(findings, func(f plan.Finding) bool { return f.Severity == plan.Refused }) {
				return exit(exitFailed)
			}
			return nil
		},
	}
	addressFlag(command.Flags(), &address)
	return command
}

// refused is the error for a plan that preflight keeps from being carried out; nil for others. The
// agent refuses it as well; asked first, no image is built in vain.
func refused(p *plan.Plan) error {
	refusals := p.Refusals()
	if len(refusals) == 0 {
		return nil
	}
	lines := make([]string, 0, len(refusals))
	for _, f := range refusals {
		lines = append(lines, f.String())
	}
	return &api.Error{Code: "invalid", Message: "nothing has been touched:\n  " + strings.Join(lines, "\n  ")}
}
