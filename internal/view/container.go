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

// shownContainer is a container in `copse ps --format json`, with its pin where it has one.
type shownContainer struct {
	api.Container
	Pin *tree.Pin `json:"pin,omitempty"`
}

// Containers renders `copse ps`, with the pins that hold containers at something else than the
// cloud file says.
func (v *View) Containers(containers []api.Container, pins []tree.Pin) error {
	rows := make([]shownContainer, 0, len(containers))
	pinned := false
	for _, c := range containers {
		row := shownContainer{Container: c}
		for i := range pins {
			if pins[i].Host == c.Host && pins[i].Container == c.Name {
				row.Pin, pinned = &pins[i], true
			}
		}
		rows = append(rows, row)
	}
	if v.options.Format == JSON {
		return objects(v, rows)
	}
	if len(rows) == 0 {
		return v.Note("no containers: `copse up` brings the cloud into being")
	}
	slices.SortStableFunc(rows, func(a, b shownContainer) int {
		return cmp.Or(cmp.Compare(a.Set, b.Set), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Generation, b.Generation))
	})
	columns := []column{
		{title: "NAME"},
		{title: "GENERATION", right: true, drop: 4},
		{title: "COMPONENT", least: 6, drop: 5},
		{title: "RELEASE", drop: 2},
		{title: pinnedTitle, drop: 3},
		{title: "STATE", drop: 3},
		{title: "HEALTH"},
		{title: "SINCE", right: true, drop: 1},
		{title: "RESTARTS", right: true, drop: 4},
		{title: "IMAGE", least: 16, drop: 6},
	}
	if v.options.Format == Plain {
		columns = append([]column{{title: "SET"}}, columns...)
	}
	at := slices.IndexFunc(columns, func(c column) bool { return c.title == pinnedTitle })
	if !pinned {
		columns = slices.Delete(columns, at, at+1)
	}
	var groups []group
	for _, c := range rows {
		row := v.containerRow(&c.Container, c.Pin)
		heading := clean(or(c.Set, "(no set)"))
		if v.options.Format == Plain {
			row, heading = append([]cell{text(heading)}, row...), ""
		}
		if !pinned {
			row = slices.Delete(row, at, at+1)
		}
		if len(groups) == 0 || groups[len(groups)-1].heading != heading {
			groups = append(groups, group{heading: heading})
		}
		last := &groups[len(groups)-1]
		last.rows = append(last.rows, row)
	}
	return v.Text([]byte(v.table(columns, groups)))
}

// pinnedTitle is the column that is there only where something is pinned.
const pinnedTitle = "PINNED"

// pinWords says what holds a container: the change, and the generation that it went back to.
func pinWords(p *tree.Pin) string {
	switch {
	case p == nil:
		return "-"
	case p.Generation > 0:
		return fmt.Sprintf("to %d by change %d", p.Generation, p.Change)
	}
	return fmt.Sprintf("by change %d", p.Change)
}

func (v *View) containerRow(c *api.Container, pin *tree.Pin) []cell {
	restarts := cell{text: fmt.Sprint(c.Restarts)}
	if c.Restarts > 0 {
		restarts.paint = v.theme.warn
	}
	return []cell{
		text(clean(c.Name)),
		text(numberOr(c.Generation, "-")),
		text(clean(or(c.Component, "-"))),
		text(clean(or(c.Release, "-"))),
		text(pinWords(pin)),
		text(clean(c.State)),
		{text: clean(c.Health), paint: func(s string) string { return v.theme.health(c.Health, s) }},
		text(v.ago(c.StartedAt)),
		restarts,
		{text: clean(or(c.Image, "-")), paint: v.theme.faint},
	}
}

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
	return v.Text([]byte(b.String()))
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
		name := c.Name
		if c.Generation > 0 {
			name = tree.GenerationName(c.Name, c.Generation)
		}
		line := v.theme.faint(stem) + clean(name) + "  " + v.theme.health(c.Health, clean(c.Health))
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
