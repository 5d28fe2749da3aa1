// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"cmp"
	"fmt"
	"slices"

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
	return v.write(v.table(columns, groups))
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
		v.health(c.Health),
		text(v.ago(c.StartedAt)),
		restarts,
		{text: clean(or(c.Image, "-")), paint: v.theme.faint},
	}
}
