// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"

	"copse/internal/tree"
)

// link writes into each step which other steps come first: those of the containers it depends
// on, looking through containers that need nothing; backwards when things are taken down.
func (m *maker) link() {
	planned, replaced := map[string]bool{}, map[string]bool{}
	for _, s := range m.plan.Steps {
		switch s.Action {
		case RemoveStray, RemoveVolume, PrepareHost: // their names are not those of containers in use
		default:
			planned[s.Container] = true
			replaced[s.Container] = s.Action == Replace
		}
	}
	depends := m.dependencies(planned, replaced)
	after := map[string][]string{}
	for name, on := range depends {
		for _, d := range on {
			if m.backwards && !(m.jobsFirst && m.isJob(d)) {
				after[d] = append(after[d], name)
			} else {
				after[name] = append(after[name], d)
			}
		}
	}
	for name, first := range m.extra {
		for _, f := range first {
			if planned[name] && planned[f] {
				after[name] = append(after[name], f)
			}
		}
	}
	for i := range m.plan.Steps {
		s := &m.plan.Steps[i]
		switch s.Action {
		case RemoveStray, PrepareHost:
		case RemoveVolume:
			s.After = tree.SortedKeys(planned)
		default:
			s.After = after[s.Container]
			slices.Sort(s.After)
			s.After = slices.Compact(s.After)
		}
	}
}

// heldBefore returns what is replaced before the proxy is, while the proxy holds requests: a new proxy that
// starts meanwhile would let some through.
func (m *maker) heldBefore(c *tree.Container, replaced map[string]bool) []string {
	if c.Proxy == nil {
		return nil
	}
	var names []string
	for _, name := range m.order {
		other := m.declared[name]
		if replaced[name] && other.Update.Hold && other.Frontend == nil {
			names = append(names, name)
		}
	}
	return names
}

func (m *maker) isJob(name string) bool {
	c := m.declared[name]
	return c != nil && c.Job != nil
}

// dependencies returns for each planned container the planned ones that it depends on; for one that is
// replaced, those too that are to be replaced before it.
func (m *maker) dependencies(planned, replaced map[string]bool) map[string][]string {
	depends := map[string][]string{}
	for name := range planned {
		found := map[string]bool{}
		seen := map[string]bool{name: true}
		var visit func(n string)
		visit = func(n string) {
			c := m.declared[n]
			if c == nil {
				return
			}
			first := make([]string, 0, len(c.Depends))
			for _, d := range c.Depends {
				first = append(first, d.Name)
			}
			if replaced[name] {
				first = append(first, c.Update.ReplaceAfter...)
				first = append(first, m.heldBefore(c, replaced)...)
			}
			for _, f := range first {
				if seen[f] {
					continue
				}
				seen[f] = true
				if planned[f] {
					found[f] = true
				} else {
					visit(f)
				}
			}
		}
		visit(name)
		depends[name] = tree.SortedKeys(found)
	}
	return depends
}
