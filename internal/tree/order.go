// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"slices"
	"strings"
)

// CycleError says that containers wait for each other in a circle.
type CycleError struct {
	// Path starts and ends with the same name.
	Path []string
}

// Error names the containers of the circle in the order in which they depend on each other.
func (e *CycleError) Error() string {
	return fmt.Sprintf("containers wait for each other: %s: remove one depends_on of these", strings.Join(e.Path, " → "))
}

// InOrder returns the names of the containers so that each comes after all that it depends on,
// by name where there is a choice. Dependencies outside containers are ignored.
func InOrder(containers []Container) ([]string, error) {
	byName := make(map[string]*Container, len(containers))
	names := make([]string, 0, len(containers))
	for i := range containers {
		byName[containers[i].Name] = &containers[i]
		names = append(names, containers[i].Name)
	}
	slices.Sort(names)

	const (
		visiting = 1
		done     = 2
	)
	state := make(map[string]int, len(names))
	order := make([]string, 0, len(names))
	var stack []string
	var visit func(name string) error
	visit = func(name string) error {
		switch state[name] {
		case done:
			return nil
		case visiting:
			at := 0
			for i, s := range stack {
				if s == name {
					at = i
				}
			}
			return &CycleError{Path: append(append([]string{}, stack[at:]...), name)}
		}
		state[name] = visiting
		stack = append(stack, name)
		deps := make([]string, 0, len(byName[name].Depends))
		for _, dep := range byName[name].Depends {
			if byName[dep.Name] != nil {
				deps = append(deps, dep.Name)
			}
		}
		slices.Sort(deps)
		for _, dep := range deps {
			if err := visit(dep); err != nil {
				return err
			}
		}
		stack = stack[:len(stack)-1]
		state[name] = done
		order = append(order, name)
		return nil
	}
	for _, name := range names {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}
