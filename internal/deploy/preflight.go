// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"copse/internal/plan"
	"copse/internal/preflight"
	"copse/internal/tree"
)

// Preflight says what on this host stands in the way of the named containers of a request's
// document, whether they run already or not. It touches nothing.
func (d *Deployer) Preflight(ctx context.Context, r Request) ([]plan.Finding, error) {
	doc, err := d.documentOf(r)
	if err != nil {
		return nil, err
	}
	selected, err := doc.Select(r.Options.Names)
	if err != nil {
		return nil, err
	}
	starting, sets := map[string]bool{}, map[string]bool{}
	for _, name := range selected {
		if c := doc.Container(name); c.Host == d.HostName {
			starting[c.Name] = true
			for _, set := range tree.Ancestors(c.Set) {
				sets[set] = true
			}
		}
	}
	missing, refused, err := d.Host.Look(ctx, doc.HostPreps(d.HostName, func(set string) bool { return sets[set] }))
	if err != nil {
		return nil, err
	}
	declared, err := d.Document()
	if err != nil {
		return nil, err
	}
	held := map[string][]tree.Port{}
	active, err := d.Active()
	if err != nil {
		return nil, err
	}
	for name := range active {
		if before := find(declared, name); before != nil {
			held[name] = preflight.Claims(before, declared)
		}
	}
	return d.findings(ctx, doc, starting, held, missing, refused)
}

// planFindings is the preflight of what a plan is to start.
func (d *Deployer) planFindings(ctx context.Context, p *plan.Plan, doc *tree.Document, refused map[string][]string) ([]plan.Finding, error) {
	declared, err := d.Document()
	if err != nil {
		return nil, err
	}
	missing, inTheWay := map[string][]string{}, map[string][]string{}
	starting, held := map[string]bool{}, map[string][]tree.Port{}
	for i := range p.Steps {
		s := &p.Steps[i]
		switch s.Action {
		case plan.Create, plan.Recreate, plan.Replace, plan.StartOnly, plan.RestartOnly, plan.Run:
			starting[s.Container] = true
		case plan.PrepareHost:
			for _, set := range s.Sets {
				missing[set], inTheWay[set] = s.Causes, refused[set]
			}
		}
		if before := find(declared, s.Container); before != nil && (s.Action == plan.Replace || s.Action == plan.RestartOnly) {
			held[s.Container] = preflight.Claims(before, declared)
		}
	}
	if len(starting) == 0 && len(missing) == 0 {
		return nil, nil
	}
	return d.findings(ctx, doc, starting, held, missing, inTheWay)
}

// findings observes the host and compares. missing and refused are what sets ask of the host and
// it does not have, by set.
func (d *Deployer) findings(ctx context.Context, doc *tree.Document, starting map[string]bool, held map[string][]tree.Port, missing, refused map[string][]string) ([]plan.Finding, error) {
	facts, err := d.Host.Observe(ctx, doc)
	if err != nil {
		return nil, fmt.Errorf("cannot look at this host: %w", err)
	}
	preparing := map[string]bool{}
	for set := range missing {
		preparing[set] = true
	}
	var found []plan.Finding
	for _, set := range tree.SortedKeys(refused) {
		for _, problem := range refused[set] {
			found = append(found, plan.Finding{
				Severity: plan.Refused, Check: "host", Where: set, What: problem,
				Do: "mend that by hand: Copse takes nothing away that others may rely on",
			})
		}
	}
	return append(found, preflight.Check(preflight.Input{
		Host: d.HostName, Document: doc, Starting: starting, Held: held, Preparing: preparing,
	}, facts)...), nil
}

// refuse turns what keeps a plan from being carried out into one error, before anything is
// touched: images that are missing, and what preflight has refused.
func refuse(p *plan.Plan) error {
	var problems []string
	for _, image := range p.Build {
		problems = append(problems, fmt.Sprintf("image %s is not on this host: \"copse build\" makes it", image))
	}
	for _, f := range p.Refusals() {
		problems = append(problems, f.String())
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%w: nothing has been touched:\n  %s", ErrInvalid, strings.Join(slices.Compact(problems), "\n  "))
}

// find returns a container of a document that may not be there, or nil.
func find(doc *tree.Document, name string) *tree.Container {
	if doc == nil {
		return nil
	}
	return doc.Container(name)
}
