// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// column is a column of a table.
type column struct {
	title string
	right bool // aligned to the right
	// least is the width to which the column may be cut where the screen is narrow; 0: never cut.
	least int
	// drop orders the columns that are left out where cutting was not enough, highest first; 0: never.
	drop int
}

// cell is the text of a cell and how it is painted; a nil paint leaves it as it is.
type cell struct {
	text  string
	paint func(string) string
}

// text makes a cell without colour.
func text(s string) cell { return cell{text: s} }

// group is rows below a heading; an empty heading is not shown.
type group struct {
	heading string
	rows    [][]cell
}

const (
	gap    = "  "
	least0 = 3 // no column is cut below this
)

// table renders groups under one set of widths, cut to width columns (0: any).
func (v *View) table(columns []column, groups []group) string {
	limit := v.width()
	indented := ""
	for _, g := range groups {
		if g.heading != "" {
			indented = gap
		}
	}
	widths := naturalWidths(columns, groups)
	shown := fit(columns, widths, limit-len(indented), limit > 0)

	var b strings.Builder
	titles := make([]cell, len(columns))
	for i, c := range columns {
		titles[i] = cell{text: c.title, paint: v.theme.faint}
	}
	writeRow(&b, indented, columns, widths, shown, titles)
	for _, g := range groups {
		if g.heading != "" {
			heading := g.heading
			if limit > 0 {
				heading = ansi.Truncate(heading, limit, "…")
			}
			b.WriteString(v.theme.strong(heading) + "\n")
		}
		for _, row := range g.rows {
			writeRow(&b, indented, columns, widths, shown, row)
		}
	}
	return b.String()
}

// list renders rows without headings.
func (v *View) list(columns []column, rows [][]cell) string {
	return v.table(columns, []group{{rows: rows}})
}

// status is the cell of the status of a change or task, or of a job's result.
func (v *View) status(status string) cell {
	return cell{text: or(clean(status), "-"), paint: func(s string) string { return v.theme.status(status, s) }}
}

// health is the cell of a container's health.
func (v *View) health(health string) cell {
	return cell{text: clean(health), paint: func(s string) string { return v.theme.health(health, s) }}
}

func naturalWidths(columns []column, groups []group) []int {
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = ansi.StringWidth(c.title)
	}
	for _, g := range groups {
		for _, row := range g.rows {
			for i := range columns {
				widths[i] = max(widths[i], ansi.StringWidth(row[i].text))
			}
		}
	}
	return widths
}

// fit cuts widths in place so that a row has at most limit columns, and says which columns are shown.
func fit(columns []column, widths []int, limit int, limited bool) []bool {
	shown := make([]bool, len(columns))
	for i := range shown {
		shown[i] = true
	}
	if !limited {
		return shown
	}
	total := func() int {
		sum, n := 0, 0
		for i, w := range widths {
			if shown[i] {
				sum += w
				n++
			}
		}
		return sum + max(n-1, 0)*len(gap)
	}
	for {
		over := total() - limit
		if over <= 0 {
			return shown
		}
		// The widest column that may be cut gives way first.
		widest := -1
		for i, c := range columns {
			if shown[i] && c.least > 0 && widths[i] > max(c.least, least0) && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest >= 0 {
			widths[widest]--
			continue
		}
		dropped := -1
		for i, c := range columns {
			if shown[i] && c.drop > 0 && (dropped < 0 || c.drop > columns[dropped].drop) {
				dropped = i
			}
		}
		if dropped < 0 {
			return shown
		}
		shown[dropped] = false
	}
}

func writeRow(b *strings.Builder, indented string, columns []column, widths []int, shown []bool, row []cell) {
	last := 0
	for i := range columns {
		if shown[i] {
			last = i
		}
	}
	var line strings.Builder
	line.WriteString(indented)
	for i, c := range columns {
		if !shown[i] {
			continue
		}
		content := ansi.Truncate(row[i].text, widths[i], "…")
		padding := strings.Repeat(" ", widths[i]-ansi.StringWidth(content))
		if row[i].paint != nil {
			content = row[i].paint(content)
		}
		switch {
		case c.right:
			content = padding + content
		case i != last:
			content += padding
		}
		line.WriteString(content)
		if i != last {
			line.WriteString(gap)
		}
	}
	b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}
