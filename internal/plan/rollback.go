// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
	"strings"

	"copse/internal/tree"
)

// Rewind says that a job's last success does not count any more, since its data was put back to what it
// was before.
type Rewind struct {
	Job string
	// From is the run that does not count, To the one before it that does again, 0 for none.
	From, To int
}

// rollback takes the named containers back to what they were made of before. Dependents go first; jobs
// come before what depends on them.
func (m *maker) rollback() error {
	m.backwards, m.jobsFirst = true, true
	m.restores = map[string]string{}
	targets, undone, err := m.targets()
	if err != nil {
		return err
	}
	m.checkTargets(targets)
	going := map[string]bool{}
	for name := range targets {
		going[name] = true
	}
	m.prepareHost(going)
	// What puts data back comes last: other jobs need what works with the data, which then ends.
	for _, restores := range []bool{false, true} {
		for _, name := range m.order {
			if job := m.declared[name].Job; job == nil || (job.Phase == tree.Restore) != restores {
				continue
			}
			if s, ok := m.rollbackJob(name, targets, undone); ok {
				m.add(s)
			}
		}
	}
	for _, name := range slices.Backward(m.order) {
		if !m.selected[name] || m.declared[name].Job != nil {
			continue
		}
		target := targets[name]
		if target == nil {
			m.plan.Unchanged++
			continue
		}
		want := content{container: &target.Container, secrets: target.SecretVersions, to: target.Number}
		cause := fmt.Sprintf("rollback to generation %d: %s", target.Number, strings.Join(m.causes(m.state.Active[name], want), ", "))
		m.add(m.stepTo(want, Replace, cause))
		m.pins[name] = m.rollbackPin(target)
	}
	m.missingImages()
	m.lowerJobs(targets)
	return nil
}

func (m *maker) rollbackPin(target *tree.Generation) *tree.Pin {
	return &tree.Pin{Host: m.state.Host, Container: target.Container.Name, Release: target.Container.Release, Generation: target.Number}
}

// targets returns the generations to go back to, by container, and whether a job's run is undone by that.
func (m *maker) targets() (targets map[string]*tree.Generation, undone func(job *tree.Generation) bool, err error) {
	var candidates []string
	for _, name := range m.order {
		if m.selected[name] && m.declared[name].Job == nil && m.state.Active[name] != nil {
			candidates = append(candidates, name)
		}
	}
	if m.options.To != 0 {
		targets, err = m.targetsAt(candidates, m.options.To)
		return targets, func(g *tree.Generation) bool { return g.Number > m.options.To }, err
	}
	last := 0
	for _, name := range candidates {
		if len(m.state.Kept[name]) > 0 {
			last = max(last, m.state.Active[name].Change)
		}
	}
	targets = map[string]*tree.Generation{}
	for _, name := range candidates {
		kept := m.state.Kept[name]
		if len(kept) == 0 || m.state.Active[name].Change != last {
			continue
		}
		if target := kept[len(kept)-1]; target.Container.Identity(target.SecretVersions) != m.state.Active[name].Identity {
			targets[name] = target
		}
	}
	if len(targets) == 0 {
		return nil, nil, fmt.Errorf("cannot roll back %s: no earlier generation is kept: \"copse history\" shows those there are", m.named())
	}
	return targets, func(g *tree.Generation) bool { return g.Change == last }, nil
}

// targetsAt returns the newest generations up to a number, which is one generation's or a set's version.
func (m *maker) targetsAt(candidates []string, number int) (map[string]*tree.Generation, error) {
	targets := map[string]*tree.Generation{}
	newest := 0
	for _, name := range candidates {
		active := m.state.Active[name]
		newest = max(newest, active.Number)
		if active.Number <= number {
			continue
		}
		var target *tree.Generation
		for _, g := range m.state.Kept[name] {
			if g.Number <= number {
				target = g
			}
		}
		switch {
		case target != nil && target.Container.Identity(target.SecretVersions) == active.Identity: // it has that content again already
		case target != nil:
			targets[name] = target
		case len(m.state.Kept[name]) == 0 && len(candidates) > 1:
			m.note("%s has no generation before %d: it stays as it is", name, active.Number)
		default:
			m.refuse("cannot roll back %s to generation %d: it is not kept; the kept generations are %s", name, number, m.keptNumbers(name))
		}
	}
	if number < 1 || number > newest {
		return nil, fmt.Errorf("cannot roll back %s to generation %d: there is none of that number yet: \"copse history\" shows those there are", m.named(), number)
	}
	return targets, nil
}

func (m *maker) named() string {
	if m.whole {
		return "the cloud"
	}
	return strings.Join(m.options.Names, ", ")
}

// keptNumbers writes which generations of a container there are.
func (m *maker) keptNumbers(name string) string {
	var numbers []string
	for _, g := range m.state.Kept[name] {
		numbers = append(numbers, fmt.Sprint(g.Number))
	}
	if active := m.state.Active[name]; active != nil {
		numbers = append(numbers, fmt.Sprintf("%d (active)", active.Number))
	}
	if len(numbers) == 0 {
		return "none"
	}
	return strings.Join(numbers, ", ")
}

// rollbackJob returns the step of a job that is part of a rollback: one that takes data back, or one that
// ran for what is undone and has an earlier content too.
func (m *maker) rollbackJob(name string, targets map[string]*tree.Generation, undone func(*tree.Generation) bool) (Step, bool) {
	c := m.declared[name]
	release, lower := m.lowest(c.Component, targets)
	switch c.Job.Phase {
	case tree.Revert:
		if _, restored := m.restores[c.Component]; !lower || restored {
			return Step{}, false // what is put back is of the older release as it is
		}
		m.comesBefore(c, targets)
		return m.step(c, Run, fmt.Sprintf("%s goes back to %s", c.Component, release)), true
	case tree.Restore:
		lost, asked := m.restores[c.Component]
		if !asked {
			return Step{}, false
		}
		m.comesBefore(c, targets)
		m.rewinds[name] = m.rewound(c.Component)
		s := m.step(c, Run, fmt.Sprintf("%s goes back to %s, which cannot work with its data", c.Component, release))
		s.Dangerous = true
		s.Impact = lost + " is lost for good; " + c.Component + " is away meanwhile"
		return s, true
	case "":
		active, kept := m.state.Active[name], m.state.Kept[name]
		if c.Job.Every > 0 || active == nil || !undone(active) || !m.ofTargets(c.Component, targets) {
			return Step{}, false
		}
		var target *tree.Generation
		for _, g := range kept {
			if g.Number < active.Number && !undone(g) {
				target = g
			}
		}
		if target == nil || target.Container.Identity(target.SecretVersions) == active.Identity {
			return Step{}, false
		}
		want := content{container: &target.Container, secrets: target.SecretVersions, to: target.Number}
		m.pins[name] = m.rollbackPin(target)
		return m.stepTo(want, Run, fmt.Sprintf("rollback to generation %d: %s", target.Number, strings.Join(m.causes(active, want), ", "))), true
	}
	return Step{}, false
}

// comesBefore has a job run before its component's containers are replaced.
func (m *maker) comesBefore(job *tree.Container, targets map[string]*tree.Generation) {
	for name := range targets {
		if m.declared[name].Component == job.Component {
			m.extra[name] = append(m.extra[name], job.Name)
		}
	}
}

// ofTargets reports whether a container of the component is rolled back.
func (m *maker) ofTargets(component string, targets map[string]*tree.Generation) bool {
	for name := range targets {
		if m.declared[name].Component == component {
			return true
		}
	}
	return false
}

// lowest returns the lowest release that containers of a component go back to, and whether that is an
// older one than they have.
func (m *maker) lowest(component string, targets map[string]*tree.Generation) (release string, lower bool) {
	for name, target := range targets {
		if m.declared[name].Component != component {
			continue
		}
		if to := target.Container.Release; to < m.state.Active[name].Container.Release && (release == "" || to < release) {
			release, lower = to, true
		}
	}
	return release, lower
}

// lowerJobs has the pins of a component's jobs follow its containers, once none of these is at the newer
// release any more: what a later up declares for the jobs is then of the release that runs.
func (m *maker) lowerJobs(targets map[string]*tree.Generation) {
	for _, name := range m.order {
		c := m.declared[name]
		pin, pinned := m.state.Pins[name]
		if c.Job == nil || c.Job.Phase == "" || !pinned {
			continue
		}
		release, lower := m.lowest(c.Component, targets)
		if lower && release < pin.Release && !m.reached(c.Component, pin.Release) {
			m.pins[name] = &tree.Pin{Host: m.state.Host, Container: name, Release: release}
		}
	}
}
