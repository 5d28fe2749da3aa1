// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"

	"copse/internal/plan"
	"copse/internal/store"
	"copse/internal/tree"
)

// basis is what a plan was made from, and what follows from it.
type basis struct {
	document *tree.Document
	state    *plan.State
	decision *plan.Decision
}

// unmoved refuses a plan of which another change, that has ended since, has taken the ground: it commits
// generations and pins without moving the revision, so that plans of other containers stay good.
func (d *Deployer) unmoved(tx *store.Tx, r Request, on *basis) error {
	active, err := allActive(tx, d.HostName)
	if err != nil {
		return err
	}
	about := map[string]bool{} // the containers that the plan has looked at
	for _, s := range on.decision.Plan.Steps {
		about[s.Container] = true
	}
	if len(r.Options.Names) == 0 {
		for _, generations := range []map[string]*tree.Generation{active, on.state.Active} {
			for name := range generations {
				about[name] = true
			}
		}
	}
	number := func(g *tree.Generation) int {
		if g == nil {
			return 0
		}
		return g.Number
	}
	moved := map[string]bool{}
	for name := range about {
		moved[name] = number(active[name]) != number(on.state.Active[name])
	}
	pins, err := pinsByName(tx, d.HostName)
	if err != nil {
		return err
	}
	for name := range on.decision.Pins {
		moved[name] = moved[name] || pins[name] != on.state.Pins[name]
	}
	for _, name := range tree.SortedKeys(moved) {
		if moved[name] {
			return fmt.Errorf("%w: %s has changed since: look at the plan again", ErrStale, name)
		}
	}
	return nil
}
