// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"copse/internal/api"
	"copse/internal/tree"
)

// branch is the JSON form of a set: the set and its own containers.
type branch struct {
	tree.Set
	Health     string          `json:"health"`
	Containers []api.Container `json:"containers"`
}

// Tree renders `copse tree`: the sets and below them their containers. In JSON each set is one
// object, a parent before its subsets.
func (v *View) Tree(cloud string, sets []tree.Set, containers []api.Container) error {
	byPath := map[string]*branch{}
	for _, set := range sets {
		byPath[set.Path] = &branch{Set: set, Containers: []api.Container{}}
	}
	for _, c := range containers {
		for _, path := range tree.Ancestors(c.Set) {
			if byPath[path] == nil {
				byPath[path] = &branch{Set: tree.Set{Path: path}, Containers: []api.Container{}}
			}
		}
		if b := byPath[c.Set]; b != nil {
			b.Containers = append(b.Containers, c)
		}
	}
	paths := tree.SortedKeys(byPath)
	for _, path := range paths {
		var within []api.Container
		for _, c := range containers {
			if tree.InSet(c.Set, path) {
				within = append(within, c)
			}
		}
		byPath[path].Health = worst(within)
		slices.SortFunc(byPath[path].Containers, func(a, b api.Container) int {
			return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Generation, b.Generation))
		})
	}
	if v.options.Format == JSON {
		for _, path := range paths {
			if err := v.object(byPath[path]); err != nil {
				return err
			}
		}
		return nil
	}
	var b strings.Builder
	b.WriteString(v.theme.strong(clean(or(cloud, "cloud"))) + "\n")
	v.branches(&b, byPath, paths, "", "")
	return v.write(b.String())
}

// branches writes what is directly below parent: subsets, then containers.
func (v *View) branches(b *strings.Builder, byPath map[string]*branch, paths []string, parent, prefix string) {
	var subsets []string
	for _, path := range paths {
		above := tree.Ancestors(path)
		if (parent == "" && len(above) == 1) || (len(above) > 1 && above[len(above)-2] == parent) {
			subsets = append(subsets, path)
		}
	}
	var own []api.Container
	if node := byPath[parent]; node != nil {
		own = node.Containers
	}
	total := len(subsets) + len(own)
	at := 0
	next := func() (stem, below string) {
		at++
		if at == total {
			return prefix + "└── ", prefix + "    "
		}
		return prefix + "├── ", prefix + "│   "
	}
	for _, path := range subsets {
		stem, below := next()
		above := tree.Ancestors(path)
		name := strings.TrimPrefix(path, parent+"/")
		if len(above) == 1 {
			name = path
		}
		node := byPath[path]
		line := v.theme.faint(stem) + v.theme.strong(clean(name))
		if node.Health != "" {
			line += "  " + v.theme.health(node.Health, node.Health)
		}
		if node.Version > 0 {
			line += "  " + v.theme.faint(fmt.Sprintf("version %d", node.Version))
		}
		if node.Description != "" && v.options.Format == Human {
			line += "  " + v.theme.faint(clean(node.Description))
		}
		b.WriteString(v.cut(line) + "\n")
		v.branches(b, byPath, paths, path, below)
	}
	for _, c := range own {
		stem, _ := next()
		line := v.theme.faint(stem) + named(c.Name, c.Generation) + "  " + v.theme.health(c.Health, clean(c.Health))
		if c.Address != "" {
			line += "  " + v.theme.faint(clean(c.Address))
		}
		b.WriteString(v.cut(line) + "\n")
	}
}

// worst is the health of many: that of the one in the worst state.
func worst(containers []api.Container) string {
	order := []string{"failed", "unhealthy", "starting", "stopped", "healthy", "completed"}
	for _, health := range order {
		for _, c := range containers {
			if c.Health == health {
				return health
			}
		}
	}
	return ""
}
