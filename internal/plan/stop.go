// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
	"strings"

	"copse/internal/tree"
)

func (m *maker) start() {
	needed := m.closure()
	m.prepareHost(needed)
	for _, name := range m.order {
		active := m.state.Active[name]
		if !needed[name] || m.declared[name].Job != nil {
			continue
		}
		if active == nil {
			if m.selected[name] {
				m.note("%s does not exist yet: \"copse up %s\" makes it", name, name)
			}
			continue
		}
		if step, ok := m.keepRunning(&active.Container, active); ok {
			m.add(step)
		} else if m.selected[name] {
			m.plan.Unchanged++
		}
	}
	m.missingImages()
}

func (m *maker) stop() {
	m.backwards = true
	for _, name := range slices.Backward(m.order) {
		active := m.state.Active[name]
		if !m.selected[name] || m.declared[name].Job != nil || active == nil {
			continue
		}
		observed := m.state.find(active)
		if observed == nil || (!observed.Running && active.StoppedBy != 0) {
			m.plan.Unchanged++
			continue
		}
		s := stepFor(active, StopOnly, "asked for")
		s.Impact = stopImpact(active)
		m.noteOutliving(name, "stopped")
		m.add(s)
	}
	m.noteDependents("stopped")
}

func (m *maker) restart() {
	m.prepareHost(m.selected)
	for _, name := range m.order {
		active := m.state.Active[name]
		if !m.selected[name] || m.declared[name].Job != nil {
			continue
		}
		if active == nil {
			m.note("%s does not exist yet: \"copse up %s\" makes it", name, name)
			continue
		}
		if m.state.find(active) == nil {
			s := stepFor(active, Recreate, fmt.Sprintf("the engine has no container %s any more", active.Name()))
			s.Drift = true
			m.add(s)
			continue
		}
		s := stepFor(active, RestartOnly, "asked for")
		s.Impact = stopImpact(active)
		m.add(s)
	}
	m.missingImages()
}

func (m *maker) down(volumes bool) {
	m.backwards = true
	done := map[string]bool{}
	remove := func(g *tree.Generation) {
		done[g.Container.Name] = true
		if m.state.find(g) == nil && g.Container.Job != nil {
			return
		}
		s := stepFor(g, Remove, "asked for")
		s.Impact = stopImpact(g)
		// What outlives it is cut off from what else is taken down: that is asked about.
		s.Dangerous = m.noteOutliving(g.Container.Name, "taken down")
		m.add(s)
	}
	m.eachActive(func(g *tree.Generation) {
		if m.declared[g.Container.Name] == nil {
			remove(g)
		}
	})
	for _, name := range slices.Backward(m.order) {
		if g := m.state.Active[name]; g != nil && !done[name] {
			remove(g)
		}
	}
	m.removeStrays()
	if !volumes {
		return
	}
	for _, v := range m.document.Volumes {
		if v.Host != m.state.Host {
			continue
		}
		if _, exists := m.state.Volumes[v.Name]; exists {
			m.add(Step{
				Host: m.state.Host, Container: v.Name, Action: RemoveVolume, Dangerous: true,
				Causes: []string{"asked for"}, Impact: "the data in it is lost for good",
			})
		}
	}
}

// noteOutliving says what goes on running without a container, and whether there is anything.
func (m *maker) noteOutliving(name, what string) bool {
	count := map[string]int{}
	for _, program := range m.state.Outliving[name] {
		count[program]++
	}
	var programs []string
	for _, program := range tree.SortedKeys(count) {
		programs = append(programs, fmt.Sprintf("%d %s", count[program], program))
	}
	if len(programs) == 0 {
		return false
	}
	m.note("%s, started by %s, goes on running: what it has from other containers that are %s, such as its network, is away until they are back",
		strings.Join(programs, ", "), name, what)
	return true
}

// noteDependents says which running containers depend on what is being stopped and stay.
func (m *maker) noteDependents(what string) {
	stopped := map[string]bool{}
	for _, s := range m.plan.Steps {
		stopped[s.Container] = true
	}
	for _, name := range m.order {
		active := m.state.Active[name]
		if stopped[name] || active == nil || m.declared[name].Job != nil {
			continue
		}
		if o := m.state.find(active); o == nil || !o.Running {
			continue
		}
		var on []string
		for _, d := range m.declared[name].Depends {
			if stopped[d.Name] {
				on = append(on, d.Name)
			}
		}
		if len(on) > 0 {
			m.note("%s goes on running and depends on %s, which will be %s", name, strings.Join(on, ", "), what)
		}
	}
}
