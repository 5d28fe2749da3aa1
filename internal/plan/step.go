// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"

	"copse/internal/tree"
)

// step makes a step for a declared container.
func (m *maker) step(c *tree.Container, action Action, causes ...string) Step {
	return m.stepTo(content{container: c, secrets: m.state.SecretVersions}, action, causes...)
}

// stepTo makes a step for what a container is to be made of.
func (m *maker) stepTo(want content, action Action, causes ...string) Step {
	c := want.container
	s := Step{
		Host: c.Host, Set: c.Set, Container: c.Name, Component: c.Component, Action: action,
		Causes: causes, Release: c.Release, Image: c.Spec.Image, To: want.to,
	}
	if c.Job != nil {
		s.Phase = c.Job.Phase
	}
	active := m.state.Active[c.Name]
	if active != nil && c.Job == nil {
		s.From = active.Number
	}
	if action == Replace {
		s.Strategy = Strategy(c)
		s.Impact = replaceImpact(c, s.Strategy)
		s.Window = m.usualWindow(c.Name)
		if active.Container.Release != c.Release {
			s.Rollback = rollbackClass(newer(c, &active.Container))
		}
	}
	return s
}

// newer returns the one of two declarations of a container that is of the later release.
func newer(a, b *tree.Container) *tree.Container {
	if a.Release > b.Release {
		return a
	}
	return b
}

func rollbackClass(c *tree.Container) tree.RollbackClass {
	if c.Update.Rollback == "" {
		return tree.RollbackFree
	}
	return c.Update.Rollback
}

// usualWindow is the median of the windows that were measured when generations of the container took
// over, nil where none was.
func (m *maker) usualWindow(name string) *tree.Window {
	var measured []*tree.Window
	consider := func(g *tree.Generation) {
		if g != nil && g.Window != nil && g.Window.Probes > 0 {
			measured = append(measured, g.Window)
		}
	}
	for _, g := range m.state.Kept[name] {
		consider(g)
	}
	consider(m.state.Active[name])
	if len(measured) == 0 {
		return nil
	}
	slices.SortStableFunc(measured, func(a, b *tree.Window) int {
		if a.Duration != b.Duration {
			return int(a.Duration - b.Duration)
		}
		return a.Failed - b.Failed
	})
	return measured[(len(measured)-1)/2]
}

// stepFor makes a step for a generation as it is.
func stepFor(g *tree.Generation, action Action, causes ...string) Step {
	c := &g.Container
	return Step{
		Host: c.Host, Set: c.Set, Container: c.Name, Component: c.Component, Action: action, From: g.Number,
		Causes: causes, Release: c.Release, Image: c.Spec.Image,
	}
}

// Strategy returns the order in which a container is replaced: what is declared, but
// start-first only where two generations can run at the same time, that is, where the
// container has no port of its own.
func Strategy(c *tree.Container) tree.Order {
	if c.Update.Order == tree.StartFirst && (c.Frontend != nil || len(c.Ports) == 0) {
		return tree.StartFirst
	}
	return tree.StopFirst
}

func replaceImpact(c *tree.Container, strategy tree.Order) string {
	switch {
	case strategy == tree.StartFirst && c.Frontend != nil:
		return "the old generation serves until the new one is ready: no request should fail"
	case strategy == tree.StartFirst:
		return "the new generation runs before the old one is stopped"
	default:
		return c.Name + " is away while it is replaced"
	}
}

// stopImpact is what is noticed where a generation does not run.
func stopImpact(g *tree.Generation) string {
	if f := g.Container.Frontend; f != nil {
		return fmt.Sprintf("nothing answers on port %d", f.Port)
	}
	return ""
}
