// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/plan"
	"copse/internal/tree"
	"copse/internal/view"
)

func (a *app) upgrade() *cobra.Command {
	var (
		to, address      string
		finalize, atomic bool
		yes, detach      bool
		noBuild, dryRun  bool
	)
	command := &cobra.Command{
		Use:   "upgrade [NAME…] --to RELEASE [--finalize]",
		Short: "Bring containers, sets or components to another release",
		Long: `Bring containers, sets, components or the whole cloud to another release, with the jobs that
migrate their data. The images come first: where one cannot be built, nothing has been touched. Then
the data are saved, the migration is tried on a copy, and one container after the other is replaced
while what depends on it goes on; one that does not prove itself is put back, and its neighbours
stay. At the end a table says of each container how long it took and how many requests failed.

What the old release needs of the data stays until --finalize, alone or with --to: that is the
point of no return, it is asked about, and until then ` + "`copse rollback`" + ` loses nothing. The containers
stay at their release whatever the cloud file says: ` + "`copse up`" + ` keeps them there.

With --dry-run the plan alone is shown; the exit code is 2 where there is something to do.`,
		Example: `  copse upgrade keystone --to 2026.1 --dry-run
  copse upgrade keystone --to 2026.1
  copse upgrade keystone --finalize`,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx := cmd.Context()
			if err := a.checkRelease(to, finalize); err != nil {
				return err
			}
			document, selection, err := a.releasing(ctx, address, names, to)
			if err != nil {
				return err
			}
			request := api.ChangeRequest{
				Kind: plan.Upgrade, Document: document, Names: selection, Finalize: finalize, Atomic: atomic, User: a.operator(),
			}
			if dryRun {
				return a.showPlan(ctx, request)
			}
			var built *view.Phase
			return a.transit(ctx, transition{
				request:    request,
				yes:        yes,
				detach:     detach,
				question:   "Do this?",
				unattended: true,
				always:     to != "",
				prepare:    a.imagesFirst(address, document, noBuild, &built),
				advise:     func(p *plan.Plan) string { return afterUpgrade(p, names) },
			})
		},
	}
	flags := command.Flags()
	flags.StringVar(&to, "to", "", "the `RELEASE` to go to")
	addressFlag(flags, &address)
	flags.BoolVar(&finalize, "finalize", false, "remove what only the old release needs: the point of no return")
	atomicFlag(flags, &atomic)
	noBuildFlag(flags, &noBuild)
	dryRunFlag(flags, &dryRun)
	yesFlag(flags, &yes, "do not ask, not even at the point of no return")
	detachFlag(flags, &detach)
	completeFlag(command, "to", a.completeReleases)
	return command
}

// checkRelease makes sure that there is such a release, or something to finalize.
func (a *app) checkRelease(to string, finalize bool) error {
	if to == "" && finalize {
		return nil
	}
	known, err := a.parts.releases(a.declaration(""))
	if err != nil {
		return err
	}
	list := strings.Join(known, ", ")
	switch {
	case to == "":
		return &usageError{"`copse upgrade` needs --to RELEASE, one of " + list + ", or --finalize to end an upgrade that has been made"}
	case !slices.Contains(known, to):
		return &api.Error{Code: "not-found", Message: fmt.Sprintf("the catalogue has no release %q%s: it has %s", to, hint(to, known), list)}
	}
	return nil
}

// releasing makes the document in which the named containers, and the jobs that go with them, are at
// a release ("": where they are), and the names of the request: the operator's and those jobs.
func (a *app) releasing(ctx context.Context, address string, names []string, release string) (*tree.Document, []string, error) {
	document, err := a.resolve(ctx, address, names)
	if err != nil {
		return nil, nil, err
	}
	chosen, jobs, err := together(document, names)
	if err != nil {
		return nil, nil, err
	}
	selection := names
	if len(names) > 0 {
		selection = append(slices.Clone(names), jobs...)
	}
	if release == "" {
		return document, selection, nil
	}
	var pins []tree.Pin
	for _, pin := range document.Pins {
		if !slices.Contains(chosen, pin.Container) {
			pins = append(pins, pin)
		}
	}
	for _, name := range chosen {
		pins = append(pins, tree.Pin{Host: document.Container(name).Host, Container: name, Release: release})
	}
	slices.SortFunc(pins, func(x, y tree.Pin) int { return strings.Compare(x.Host+"/"+x.Container, y.Host+"/"+y.Container) })
	document, err = a.resolveWith(ctx, address, names, pins)
	return document, selection, err
}

// together returns the containers that change their release with the named ones: themselves, and the
// jobs of their components that they depend on or that have a part in every upgrade. Those jobs that
// no name stands for come besides.
func together(document *tree.Document, names []string) (chosen, jobs []string, err error) {
	named, err := document.Select(names)
	if err != nil {
		return nil, nil, err
	}
	chosen = slices.Clone(named)
	components := map[string]bool{}
	for _, name := range named {
		components[document.Container(name).Component] = true
	}
	for i := range document.Containers {
		if c := &document.Containers[i]; c.Job != nil && c.Job.Phase != "" && components[c.Component] && !slices.Contains(chosen, c.Name) {
			chosen = append(chosen, c.Name)
		}
	}
	// The list grows while it is walked: jobs depend on jobs.
	for i := 0; i < len(chosen); i++ {
		c := document.Container(chosen[i])
		for _, dependency := range c.Depends {
			other := document.Container(dependency.Name)
			if other != nil && other.Job != nil && other.Component == c.Component && !slices.Contains(chosen, other.Name) {
				chosen = append(chosen, other.Name)
			}
		}
	}
	jobs = slices.Clone(chosen[len(named):])
	slices.Sort(chosen)
	slices.Sort(jobs)
	return chosen, jobs, nil
}

// afterUpgrade says how to go back and how to go on after an upgrade.
func afterUpgrade(p *plan.Plan, names []string) string {
	has := func(match func(*plan.Step) bool) bool {
		return slices.ContainsFunc(p.Steps, func(s plan.Step) bool { return match(&s) })
	}
	target := strings.Join(append([]string{""}, names...), " ")
	switch {
	case has(func(s *plan.Step) bool { return s.NoReturn }):
		return "the release before is left behind: a rollback to it needs --restore and loses what is written from now on"
	case has(func(s *plan.Step) bool { return s.Rollback == tree.RollbackByRestore }):
		return fmt.Sprintf("`copse rollback%s --restore` goes back, and loses what is written from now on", target)
	case has(func(s *plan.Step) bool { return s.Phase == tree.Expand || s.Rollback == tree.RollbackUntilContract }):
		return fmt.Sprintf("`copse rollback%s` goes back; once all is well, `copse upgrade%s --finalize` ends it", target, target)
	}
	return fmt.Sprintf("`copse rollback%s` goes back", target)
}

// completeReleases completes the releases of the catalogue.
func (a *app) completeReleases(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	known, err := a.parts.releases(a.declaration(""))
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return known, cobra.ShellCompDirectiveNoFileComp
}
