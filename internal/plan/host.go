// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"

	"copse/internal/tree"
)

// prepareHost adds the one step that gives the host what it lacks for the sets of the
// containers that are to run. It comes first, and all that starts something waits for it.
func (m *maker) prepareHost(running map[string]bool) {
	s := Step{Host: m.state.Host, Container: m.state.Host, Action: PrepareHost}
	for _, set := range tree.SortedKeys(m.state.HostMissing) {
		missing := m.state.HostMissing[set]
		if len(missing) == 0 || !m.anyIn(set, running) {
			continue
		}
		s.Sets = append(s.Sets, set)
		for _, text := range missing {
			if !slices.Contains(s.Causes, text) { // two sets may ask the same
				s.Causes = append(s.Causes, text)
			}
		}
	}
	if len(s.Sets) > 0 {
		m.add(s)
	}
}

// anyIn reports whether one of the named containers belongs to a set or to one below it.
func (m *maker) anyIn(set string, names map[string]bool) bool {
	for name := range names {
		if c := m.declared[name]; c != nil && tree.InSet(c.Set, set) {
			return true
		}
	}
	return false
}
