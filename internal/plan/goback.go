// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"time"

	"copse/internal/tree"
)

// checkTargets refuses what cannot go back to an older release without loss, unless that was asked for.
func (m *maker) checkTargets(targets map[string]*tree.Generation) {
	for _, name := range m.order {
		if target := targets[name]; target != nil {
			m.checkRelease(m.state.Active[name], target.Container.Release)
		}
	}
	for _, component := range tree.SortedKeys(m.restores) {
		release, _ := m.lowest(component, targets)
		for _, name := range m.containersOf(component) {
			active := m.state.Active[name]
			if active != nil && targets[name] == nil && active.Container.Release > release {
				m.refuse("cannot put the data of %s back: %s would go on running at %s with it: name it too", component, name, active.Container.Release)
			}
		}
	}
}

// checkRelease refuses to take a generation to an older release where that one cannot work with the data,
// and notes where saved data is to be put back. Each component has its say once.
func (m *maker) checkRelease(active *tree.Generation, to string) {
	from, component := active.Container.Release, active.Container.Component
	if to >= from || m.refused[component] {
		return
	}
	say := func(format string, args ...any) {
		m.refused[component] = true
		m.refuse("cannot take %s from %s back to %s: %s", component, from, to, fmt.Sprintf(format, args...))
	}
	var why string
	switch rollbackClass(&active.Container) {
	case tree.RollbackFree:
	case tree.RollbackUntilContract:
		if contract := m.contracted(component, to); contract != nil {
			why = fmt.Sprintf("%s ran for %s on %s by change %d, and %s cannot work with what it left",
				contract.Container.Name, contract.ContractedFor(), moment(contract.Activated), contract.Change, to)
		}
	case tree.RollbackByRestore:
		why = fmt.Sprintf("it cannot work with data that %s has written", from)
	}
	if why == "" {
		if m.kind != Rollback && len(m.jobsOf(component, tree.Revert)) > 0 {
			say("its data must be reverted first: \"copse rollback %s\" does that", component)
		}
		return
	}
	lost, ok := m.loss(component)
	switch {
	case !ok:
		say("%s, and none of it was saved: there is no way back but a backup of your own", why)
	case !m.options.Restore:
		say("%s: \"copse rollback %s --restore\" puts back what was saved, and loses %s", why, component, lost)
	default:
		m.restores[component] = lost
	}
}

// contracted returns the last success of a contract job of the component where one has changed data for a
// newer release, or nil.
func (m *maker) contracted(component, release string) *tree.Generation {
	for _, job := range m.jobsOf(component, tree.Contract) {
		if last := m.state.Active[job.Name]; last != nil && last.ContractedFor() > release {
			return last
		}
	}
	return nil
}

// saved returns the last dump of the component's data; declared says whether it has a job for that.
func (m *maker) saved(component string) (last *tree.Generation, declared bool) {
	for _, job := range m.jobsOf(component, tree.Dump) {
		declared = true
		if g := m.state.Active[job.Name]; g != nil && (last == nil || g.Activated.After(last.Activated)) {
			last = g
		}
	}
	return last, declared
}

// loss says what is lost when the component's saved data is put back, and whether that can be done.
func (m *maker) loss(component string) (string, bool) {
	if len(m.jobsOf(component, tree.Restore)) == 0 {
		return "", false
	}
	last, declared := m.saved(component)
	switch {
	case !declared:
		return "everything that " + component + " holds", true
	case last == nil:
		return "", false
	}
	return fmt.Sprintf("everything written to %s since %s", component, moment(last.Activated)), true
}

// rewound returns the runs of the component's jobs that its saved data knows nothing of.
func (m *maker) rewound(component string) []Rewind {
	var since time.Time
	if last, _ := m.saved(component); last != nil {
		since = last.Activated
	}
	var rewinds []Rewind
	for _, phase := range []tree.Phase{tree.Expand, tree.Contract} {
		for _, job := range m.jobsOf(component, phase) {
			active := m.state.Active[job.Name]
			if active == nil || !active.Activated.After(since) {
				continue
			}
			r := Rewind{Job: job.Name, From: active.Number}
			for _, g := range m.state.Kept[job.Name] {
				if !g.Activated.After(since) {
					r.To = g.Number
				}
			}
			rewinds = append(rewinds, r)
		}
	}
	return rewinds
}

// moment writes a time for people who compare it with their logs.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
