// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"

	"copse/internal/tree"
)

// runJob returns the step that runs a job, if what it depends on has changed and its part in an
// upgrade has come.
func (m *maker) runJob(name string) (Step, bool) {
	c := m.declared[name]
	if c.Job.Every > 0 {
		return Step{}, false // its timer runs it, not what changes
	}
	switch c.Job.Phase {
	case tree.Dump, tree.Rehearse:
		if !m.rising[c.Component] {
			return Step{}, false
		}
		s := m.step(c, Run, fmt.Sprintf("%s goes to %s", c.Component, c.Release))
		return s, true
	case tree.Revert, tree.Restore:
		return Step{}, false
	case tree.Expand:
		if m.before(c) > c.Release {
			return Step{}, false // older code works with what newer code has expanded
		}
	case tree.Contract:
		return m.contract(c)
	}
	return m.runIfDue(name)
}

// runIfDue returns the step that runs a job which is not what it was, or whose result is gone.
func (m *maker) runIfDue(name string) (Step, bool) {
	want := m.contentOf(name)
	c := want.container
	last := m.state.Active[name]
	if last == nil {
		return m.stepTo(want, Run, "has not run yet"), true
	}
	if want.identity() != last.Identity {
		return m.stepTo(want, Run, m.causes(last, want)...), true
	}
	if why := m.resultGone(c, last); why != "" {
		s := m.stepTo(want, Run, why)
		s.Drift = true
		return s, true
	}
	return Step{}, false
}

// resultGone says why what a job has made is not there any more, "" where it is.
func (m *maker) resultGone(c *tree.Container, last *tree.Generation) string {
	for _, volume := range c.Job.Writes {
		created, exists := m.state.Volumes[volume]
		if !exists {
			return fmt.Sprintf("volume %s, which it fills, is gone", volume)
		}
		if created.After(last.Activated) {
			return fmt.Sprintf("volume %s, which it fills, is younger than its last run", volume)
		}
	}
	return ""
}

// before returns the release that a component's data is at, as far as one of its jobs is concerned:
// that of the job's last success. Where it never ran, the component's containers say; "" is a first
// installation, or data that was removed since.
func (m *maker) before(c *tree.Container) string {
	if last := m.state.Active[c.Name]; last != nil {
		if m.resultGone(c, last) != "" {
			return ""
		}
		return last.Container.Release
	}
	lowest := ""
	consider := func(g *tree.Generation) {
		if g.Container.Component == c.Component && g.Container.Job == nil && (lowest == "" || g.Container.Release < lowest) {
			lowest = g.Container.Release
		}
	}
	// What can be gone back to counts: a contract must not run for the first time behind its back.
	for _, name := range m.containersOf(c.Component) {
		for _, g := range m.state.Kept[name] {
			consider(g)
		}
	}
	m.eachActive(consider)
	return lowest
}

// rises reports whether a job is for a newer release than its component's data is at.
func (m *maker) rises(c *tree.Container) bool {
	before := m.before(c)
	return before != "" && before < c.Release
}

// findRising finds the components whose data this plan changes for a newer release: those are saved
// and rehearsed on first.
func (m *maker) findRising(needed map[string]bool) {
	m.rising = map[string]bool{}
	for _, name := range m.order {
		c := m.declared[name]
		if c.Job == nil || !m.rises(c) || !(m.selected[name] || needed[name] && m.sameComponentSelected(c)) {
			continue
		}
		_, due := m.runIfDue(name)
		if due && (c.Job.Phase == tree.Expand || c.Job.Phase == tree.Contract && m.options.Finalize) {
			m.rising[c.Component] = true
		}
	}
}

// contract returns the step that runs a contract job: where the release rises, it is the point of no
// return, and waits to be asked for.
func (m *maker) contract(c *tree.Container) (Step, bool) {
	before := m.before(c)
	switch {
	case before > c.Release:
		return Step{}, false
	case !m.rises(c):
		return m.runIfDue(c.Name)
	case !m.options.Finalize:
		if m.reached(c.Component, c.Release) {
			m.note("%s waits: until \"copse upgrade %s --finalize\" a rollback to %s is possible", c.Name, c.Component, before)
		}
		return Step{}, false
	}
	s, due := m.runIfDue(c.Name)
	s.NoReturn = true
	s.Impact = fmt.Sprintf("from then on %s goes back to %s only with its saved data, which loses what was written since, unless the job finds nothing to change", c.Component, before)
	return s, due
}

// comesLast reports whether a job is planned after everything else: contract jobs end what the
// component's old containers need, and nothing waits for them.
func (m *maker) comesLast(name string) bool {
	c := m.declared[name]
	if c.Job == nil || c.Job.Phase != tree.Contract {
		return false
	}
	for _, other := range m.declared {
		if slices.ContainsFunc(other.Depends, func(d tree.Dependency) bool { return d.Name == name }) {
			return false
		}
	}
	return true
}

// releaseAfter is the release that a container has once the steps so far are done, "" for none.
func (m *maker) releaseAfter(name string) string {
	for i := range m.plan.Steps {
		if s := &m.plan.Steps[i]; s.Container == name && (s.Action == Create || s.Action == Replace) {
			return s.Release
		}
	}
	if active := m.state.Active[name]; active != nil {
		return active.Container.Release
	}
	return ""
}

// containersOf returns the names of a component's containers that are no jobs, dependencies first.
func (m *maker) containersOf(component string) []string {
	var names []string
	for _, name := range m.order {
		if c := m.declared[name]; c.Component == component && c.Job == nil {
			names = append(names, name)
		}
	}
	return names
}

// jobsOf returns a component's declared jobs of a phase, dependencies first.
func (m *maker) jobsOf(component string, phase tree.Phase) []*tree.Container {
	var jobs []*tree.Container
	for _, name := range m.order {
		if c := m.declared[name]; c.Component == component && c.Job != nil && c.Job.Phase == phase {
			jobs = append(jobs, c)
		}
	}
	return jobs
}

// reached reports whether a container of the component is at the release once the plan is done.
func (m *maker) reached(component, release string) bool {
	return slices.ContainsFunc(m.containersOf(component), func(name string) bool { return m.releaseAfter(name) >= release })
}

// checkFinalize puts the contract jobs after their component's containers, and refuses those that would
// end what a container still needs.
func (m *maker) checkFinalize() {
	for _, s := range m.plan.Steps {
		if !s.NoReturn {
			continue
		}
		var behind []string
		for _, name := range m.containersOf(s.Component) {
			if release := m.releaseAfter(name); release != "" && release < s.Release {
				behind = append(behind, name)
			}
			m.extra[s.Container] = append(m.extra[s.Container], name)
		}
		if len(behind) > 0 {
			m.refuse("cannot finalize %s at %s: %s would stop working, still being at an older release: \"copse upgrade %s --to %s\" first",
				s.Component, s.Release, list(behind), s.Component, s.Release)
		}
	}
}
