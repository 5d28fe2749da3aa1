// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"copse/internal/nearest"
)

// UnknownNameError says that nothing of the cloud has that name.
type UnknownNameError struct {
	Name string
	// Nearest is the name that was most likely meant, "" for none.
	Nearest string
}

// Error names what was asked for and the nearest that exists.
func (e *UnknownNameError) Error() string {
	if e.Nearest != "" {
		return fmt.Sprintf("there is no container, set or component %q; did you mean %q? \"copse tree\" shows all", e.Name, e.Nearest)
	}
	return fmt.Sprintf("there is no container, set or component %q; \"copse tree\" shows all", e.Name)
}

// The prefixes that force what a name means.
const (
	setPrefix       = "set/"
	componentPrefix = "component/"
)

// Select returns the names of the containers that the operator's names stand for, sorted.
// A plain name is a container, else a set (its path or its last element), else a component;
// "set/NAME" and "component/NAME" say which. No names select everything.
func (d *Document) Select(names []string) ([]string, error) {
	var selected []string
	if len(names) == 0 {
		for i := range d.Containers {
			selected = append(selected, d.Containers[i].Name)
		}
	}
	for _, name := range names {
		matches := d.match(name)
		if len(matches) == 0 {
			return nil, &UnknownNameError{Name: name, Nearest: nearest.Of(name, d.Names())}
		}
		selected = append(selected, matches...)
	}
	slices.Sort(selected)
	return slices.Compact(selected), nil
}

func (d *Document) match(name string) []string {
	if set, ok := strings.CutPrefix(name, setPrefix); ok {
		return d.inSet(set)
	}
	if component, ok := strings.CutPrefix(name, componentPrefix); ok {
		return d.ofComponent(component)
	}
	if d.Container(name) != nil {
		return []string{name}
	}
	if matches := d.inSet(name); len(matches) > 0 {
		return matches
	}
	return d.ofComponent(name)
}

func (d *Document) inSet(set string) []string {
	var matches []string
	for i := range d.Containers {
		c := &d.Containers[i]
		for _, p := range Ancestors(c.Set) {
			if p == set || path.Base(p) == set {
				matches = append(matches, c.Name)
				break
			}
		}
	}
	return matches
}

func (d *Document) ofComponent(component string) []string {
	var matches []string
	for i := range d.Containers {
		if d.Containers[i].Component == component {
			matches = append(matches, d.Containers[i].Name)
		}
	}
	return matches
}

// Names returns all names that Select understands without a prefix, sorted.
func (d *Document) Names() []string {
	seen := map[string]bool{}
	for i := range d.Containers {
		c := &d.Containers[i]
		seen[c.Name], seen[c.Component] = true, true
		for _, p := range Ancestors(c.Set) {
			seen[p] = true
		}
	}
	delete(seen, "")
	return SortedKeys(seen)
}
