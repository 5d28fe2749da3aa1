// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"strings"

	"copse/internal/tree"
)

// content is what a container is to be made of.
type content struct {
	container *tree.Container
	secrets   map[string]int // versions
	// to is the kept generation that it is taken from, 0 where it is what is declared.
	to int
}

func (c content) identity() string { return c.container.Identity(c.secrets) }

func (m *maker) declaredContent(name string) content {
	return content{container: m.declared[name], secrets: m.state.SecretVersions}
}

// contentOf returns what is declared for a container or, where a rollback holds it at an earlier
// generation, what that was made of.
func (m *maker) contentOf(name string) content {
	want := m.declaredContent(name)
	pin := m.pin(name)
	if pin == nil || pin.Generation == 0 {
		return want
	}
	kept := m.state.KeptGeneration(name, pin.Generation)
	if kept == nil {
		return want
	}
	held := content{container: &kept.Container, secrets: kept.SecretVersions, to: pin.Generation}
	if held.identity() == want.identity() {
		return want
	}
	return held
}

// pin returns the pin that holds a container in this plan, nil for none: an upgrade brings its own,
// and what is unpinned has none.
func (m *maker) pin(name string) *tree.Pin {
	switch {
	case m.kind == Upgrade && m.selected[name]:
		return m.documentPin(name)
	case m.options.Unpin && m.selected[name]:
		return nil
	}
	if pin, found := m.state.Pins[name]; found {
		return &pin
	}
	return nil
}

// documentPin returns the pin that the document was made with, nil for none.
func (m *maker) documentPin(name string) *tree.Pin {
	for i := range m.document.Pins {
		if p := &m.document.Pins[i]; p.Container == name && p.Host == m.state.Host {
			return p
		}
	}
	return nil
}

// keepPins says what becomes of the pins of what is selected, and where one of them holds against the
// cloud file.
func (m *maker) keepPins() {
	groups := map[string][]string{}
	var said []string
	for _, name := range m.order {
		if !m.selected[name] {
			continue
		}
		pin := m.settled(name)
		m.setPin(name, pin)
		if pin == nil || m.declared[name].Job != nil {
			continue
		}
		if pin.Generation != 0 {
			m.noteHeld(name, pin)
			continue
		}
		document := m.documentPin(name)
		if m.kind == Upgrade || document == nil || document.Declared == "" {
			continue
		}
		key := fmt.Sprintf("at %s by change %d; the cloud file says %s", pin.Release, pin.Change, document.Declared)
		if groups[key] == nil {
			said = append(said, key)
		}
		groups[key] = append(groups[key], name)
	}
	for _, key := range said {
		names, is := groups[key], "is"
		if len(names) > 1 {
			is = "are"
		}
		first := m.documentPin(names[0])
		m.note("%s %s %s: that upgrade is kept; \"copse upgrade %s --to %s\" or \"copse up %s --unpin\" changes it",
			list(names), is, key, names[0], first.Declared, names[0])
	}
	if m.whole && m.kind == Up {
		for _, name := range tree.SortedKeys(m.state.Pins) {
			if m.declared[name] == nil {
				m.setPin(name, nil)
			}
		}
	}
}

// settled returns the pin that a selected container has after the change, nil for none: one that
// says what the cloud file says is not kept.
func (m *maker) settled(name string) *tree.Pin {
	pin := m.pin(name)
	if pin == nil {
		return nil
	}
	document := m.documentPin(name)
	after := tree.Pin{Host: m.state.Host, Container: name, Release: pin.Release, Generation: pin.Generation}
	if m.kind == Up {
		after.Change = pin.Change
	}
	if after.Generation != 0 && m.contentOf(name).to == 0 {
		if m.state.KeptGeneration(name, after.Generation) == nil {
			m.note("%s was held at generation %d's content by change %d, which is not kept any more: it follows the cloud file", name, pin.Generation, pin.Change)
		}
		after.Generation = 0
		if document != nil && document.Declared == after.Release {
			return nil
		}
	}
	if document == nil {
		return nil
	}
	return &after
}

// setPin records what the pin of a container becomes, where that is something else than it is.
func (m *maker) setPin(name string, pin *tree.Pin) {
	before, had := m.state.Pins[name]
	switch {
	case pin == nil && had:
		m.pins[name] = nil
	case pin != nil && (!had || before.Release != pin.Release || before.Generation != pin.Generation):
		m.pins[name] = pin
	}
}

// noteHeld says that a rollback holds against the cloud file.
func (m *maker) noteHeld(name string, pin *tree.Pin) {
	kept := m.state.KeptGeneration(name, pin.Generation)
	m.note("%s is held at generation %d's content by change %d (rollback); the cloud file says otherwise: %s: \"copse up %s --unpin\" follows the cloud file",
		name, pin.Generation, pin.Change, strings.Join(m.causes(kept, m.declaredContent(name)), ", "), name)
}

// list writes names so that a line stays one.
func list(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most-1], ", "), len(names)-most+1)
	}
	return strings.Join(names, ", ")
}
