// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"errors"
	"fmt"

	"copse/internal/tree"
)

// Decision is a plan with what goes with it and is nothing that a person looks at.
type Decision struct {
	Plan *Plan
	// Host is the one that it is about.
	Host string
	// Pins has the containers whose pin becomes another one, nil for none. The change that makes it
	// is for the caller to fill in where it is 0.
	Pins map[string]*tree.Pin
	// Rewinds says by restore job which jobs have not run any more once it has put older data back.
	Rewinds map[string][]Rewind
}

// Decide computes the plan of a change of the given kind, and what follows from it. The document
// is what is to be declared; only containers of the state's host are planned for. It fails on names
// that the document does not have, on dependencies in a circle and on what cannot be done without
// loss that nobody has asked for, and touches nothing.
func Decide(kind Kind, document *tree.Document, state *State, options Options) (*Decision, error) {
	m := &maker{
		kind: kind, document: document, state: state, options: options,
		plan:     &Plan{Kind: kind, Revision: state.Revision, Steps: []Step{}},
		declared: map[string]*tree.Container{}, pins: map[string]*tree.Pin{},
		rewinds: map[string][]Rewind{}, extra: map[string][]string{}, refused: map[string]bool{},
	}
	var here []tree.Container
	for _, c := range document.Containers {
		if c.Host == state.Host {
			here = append(here, c)
		}
	}
	order, err := tree.InOrder(here)
	if err != nil {
		return nil, err
	}
	m.order = order
	for i := range here {
		m.declared[here[i].Name] = &here[i]
	}
	if m.selected, err = Selected(kind, document, options.Names); err != nil {
		return nil, err
	}
	m.whole = len(options.Names) == 0
	if err := m.make(); err != nil {
		return nil, err
	}
	if err := errors.Join(m.problems...); err != nil {
		return nil, err
	}
	m.link()
	return &Decision{Plan: m.plan, Host: state.Host, Pins: m.pins, Rewinds: m.rewinds}, nil
}

// Selected returns the containers that a change of the given kind changes: those that the names stand
// for, and in an upgrade the jobs that are part of it.
func Selected(kind Kind, document *tree.Document, names []string) (map[string]bool, error) {
	list, err := document.Select(names)
	if err != nil {
		return nil, err
	}
	selected := map[string]bool{}
	components := map[string]bool{}
	for _, name := range list {
		selected[name] = true
		components[document.Container(name).Component] = true
	}
	if kind != Upgrade {
		return selected, nil
	}
	for i := range document.Containers {
		if c := &document.Containers[i]; c.Job != nil && c.Job.Phase != "" && components[c.Component] {
			selected[c.Name] = true
		}
	}
	return selected, nil
}

func (m *maker) make() error {
	if err := m.checkOptions(); err != nil {
		return err
	}
	switch m.kind {
	case Up, Upgrade:
		m.up()
	case Rollback:
		return m.rollback()
	case Start:
		m.start()
	case Stop:
		m.stop()
	case Restart:
		m.restart()
	case Down:
		m.down(m.options.Volumes)
	case RunNow, Scheduled:
		return m.runJobs(m.kind)
	default:
		return fmt.Errorf("cannot plan %q: no such kind of change", m.kind)
	}
	return nil
}

// checkOptions refuses what a kind of change does not know: it must not be passed over in silence.
func (m *maker) checkOptions() error {
	for _, o := range []struct {
		given bool
		kind  Kind
		name  string
	}{
		{m.options.To != 0, Rollback, "to"}, {m.options.Restore, Rollback, "restore"},
		{m.options.Finalize, Upgrade, "finalize"}, {m.options.Unpin, Up, "unpin"},
	} {
		if o.given && m.kind != o.kind {
			return fmt.Errorf("cannot plan %q with %s: that belongs to %q", m.kind, o.name, o.kind)
		}
	}
	return nil
}

type maker struct {
	kind     Kind
	options  Options
	document *tree.Document
	state    *State
	plan     *Plan
	declared map[string]*tree.Container // those of this host
	order    []string                   // of the declared, dependencies first
	selected map[string]bool
	whole    bool
	// backwards is set where dependents come before what they depend on; jobsFirst is for a
	// rollback, where jobs nevertheless come before what depends on them.
	backwards, jobsFirst bool
	// extra are names that come first besides those that a container depends on.
	extra map[string][]string
	pins  map[string]*tree.Pin
	// rising are the components whose data is to be changed for a newer release.
	rising map[string]bool
	// restores are the components whose saved data is put back, with the words for what is lost.
	restores map[string]string
	rewinds  map[string][]Rewind
	problems []error
	refused  map[string]bool // the components that have had their say in problems
}

func (m *maker) refuse(format string, args ...any) {
	m.problems = append(m.problems, fmt.Errorf(format, args...))
}

func (m *maker) eachActive(do func(g *tree.Generation)) {
	for _, name := range tree.SortedKeys(m.state.Active) {
		do(m.state.Active[name])
	}
}

func (m *maker) add(s Step) { m.plan.Steps = append(m.plan.Steps, s) }

func (m *maker) note(format string, args ...any) {
	m.plan.Notes = append(m.plan.Notes, fmt.Sprintf(format, args...))
}
