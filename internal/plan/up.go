// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"

	"copse/internal/tree"
)

// anotherIdentity is the cause where two identities differ and what they are made of does not.
const anotherIdentity = "this version of Copse tells generations apart in another way"

// up brings what is selected to what is declared; an upgrade is the same with other pins.
func (m *maker) up() {
	needed := m.closure()
	m.prepareHost(needed)
	m.findRising(needed)
	var last []string
	for _, name := range m.order {
		if m.comesLast(name) {
			last = append(last, name)
			continue
		}
		m.bring(name, needed)
	}
	for _, name := range last {
		m.bring(name, needed)
	}
	m.checkFinalize()
	m.removeUndeclared()
	m.removeStrays()
	m.missingImages()
	m.keepPins()
}

// bring plans one container of an up.
func (m *maker) bring(name string, needed map[string]bool) {
	switch {
	case m.selected[name]:
		if step, ok := m.bringUp(name); ok {
			m.add(step)
		} else {
			m.plan.Unchanged++
		}
	case needed[name]:
		// What was not named is only helped to run, never changed.
		if step, ok := m.help(name); ok {
			m.add(step)
		}
	}
}

// closure returns everything that the selected containers depend on, directly or not.
func (m *maker) closure() map[string]bool {
	needed := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		c := m.declared[name]
		if c == nil || needed[name] {
			return
		}
		needed[name] = true
		for _, d := range c.Depends {
			visit(d.Name)
		}
	}
	for name := range m.selected {
		visit(name)
	}
	return needed
}

// bringUp returns the step that makes a container what is declared, or what a pin holds it at.
func (m *maker) bringUp(name string) (Step, bool) {
	if m.declared[name].Job != nil {
		return m.runJob(name)
	}
	want := m.contentOf(name)
	active := m.state.Active[name]
	if active == nil {
		return m.stepTo(want, Create, "not created yet"), true
	}
	if want.identity() != active.Identity {
		m.checkRelease(active, want.container.Release)
		return m.stepTo(want, Replace, m.causes(active, want)...), true
	}
	return m.keepRunning(want.container, active)
}

// causes say why a generation is not what is wanted.
func (m *maker) causes(g *tree.Generation, want content) []string {
	causes := tree.Differences(&g.Container, want.container, g.SecretVersions, want.secrets)
	if len(causes) == 0 {
		causes = []string{anotherIdentity}
	}
	return causes
}

// keepRunning mends what the engine lacks of a generation that is as declared.
func (m *maker) keepRunning(c *tree.Container, active *tree.Generation) (Step, bool) {
	observed := m.state.find(active)
	switch {
	case observed == nil:
		s := m.step(c, Recreate, fmt.Sprintf("the engine has no container %s any more", active.Name()))
		s.Drift = true
		return s, true
	case observed.Identity != active.Identity:
		s := m.step(c, Recreate, fmt.Sprintf("container %s in the engine is not the one that Copse made", active.Name()))
		s.Drift = true
		return s, true
	case !observed.Running && active.StoppedBy != 0:
		return m.step(c, StartOnly, fmt.Sprintf("stopped by change %d", active.StoppedBy)), true
	case !observed.Running:
		s := m.step(c, StartOnly, "it is "+observed.State)
		s.Drift = true
		return s, true
	}
	return Step{}, false
}

// help returns the step by which a container that others need, but that was not named, runs.
func (m *maker) help(name string) (Step, bool) {
	active := m.state.Active[name]
	if active == nil {
		return m.bringUp(name)
	}
	c := m.declared[name]
	if c.Job != nil {
		if m.sameComponentSelected(c) {
			return m.runJob(name)
		}
		return Step{}, false
	}
	if m.contentOf(name).identity() != active.Identity {
		m.note("%s has changes too, and was not named: it stays as it is", name)
	}
	return m.keepRunning(&active.Container, active)
}

func (m *maker) sameComponentSelected(c *tree.Container) bool {
	for name := range m.selected {
		if other := m.declared[name]; other != nil && other.Component == c.Component {
			return true
		}
	}
	return false
}

// removeUndeclared removes what was made and is not declared any more; only where the whole
// cloud is meant.
func (m *maker) removeUndeclared() {
	if !m.whole {
		return
	}
	m.eachActive(func(g *tree.Generation) {
		if m.declared[g.Container.Name] != nil {
			return
		}
		if g.Container.Job != nil && m.state.find(g) == nil {
			return // it is gone already, and that it has succeeded is no harm
		}
		m.add(stepFor(g, Remove, "no longer declared"))
	})
}

// removeStrays removes containers that carry the cloud's labels and that nothing accounts for.
func (m *maker) removeStrays() {
	if !m.whole {
		return
	}
	for _, o := range m.state.Observed {
		active := m.state.Active[o.Container]
		if active != nil && active.Number == o.Generation {
			continue
		}
		m.add(Step{
			Host: m.state.Host, Container: o.Container, Action: RemoveStray, EngineID: o.ID, From: o.Generation, Drift: true,
			Causes: []string{fmt.Sprintf("container %s belongs to no generation in use", o.Name)},
		})
	}
}

// missingImages names the images that the plan's steps need and the engine lacks. What an earlier
// generation ran from cannot be built again from today's catalogue, and is refused.
func (m *maker) missingImages() {
	for _, s := range m.plan.Steps {
		switch s.Action {
		case Create, Replace, Recreate, Run:
		default:
			continue
		}
		switch {
		case m.state.Images[s.Image]:
		case s.To != 0:
			m.refuse("cannot go back to generation %d of %s: its image %s is not on this host any more: bring it back with \"docker load\", or name another with --to; the kept generations are %s",
				s.To, s.Container, s.Image, m.keptNumbers(s.Container))
		case !slices.Contains(m.plan.Build, s.Image):
			m.plan.Build = append(m.plan.Build, s.Image)
		}
	}
	slices.Sort(m.plan.Build)
}
