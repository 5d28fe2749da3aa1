// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"copse/internal/api"
	"copse/internal/plan"
)

// Changes renders `copse changes`, the newest last.
func (v *View) Changes(changes []api.Change) error {
	if v.options.Format == JSON {
		return objects(v, changes)
	}
	if len(changes) == 0 {
		return v.Note("no changes yet: `copse up` makes the first")
	}
	rows := slices.Clone(changes)
	slices.SortFunc(rows, func(a, b api.Change) int { return cmp.Compare(a.ID, b.ID) })
	columns := []column{
		{title: "ID", right: true}, {title: "KIND"}, {title: "STATUS"}, {title: "WHEN", right: true, drop: 2},
		{title: "TOOK", right: true, drop: 3}, {title: "USER", least: 6, drop: 4}, {title: "SUMMARY", least: 12, drop: 1},
	}
	g := group{}
	for _, c := range rows {
		summary := c.Summary
		if c.Error != "" {
			summary = strings.TrimSpace(summary + ": " + firstLine(c.Error))
		}
		g.rows = append(g.rows, []cell{
			text(strconv.Itoa(c.ID)), text(clean(c.Kind)),
			{text: clean(c.Status), paint: func(s string) string { return v.theme.status(c.Status, s) }},
			text(v.ago(&c.CreatedAt)), text(v.took(&c.CreatedAt, c.EndedAt)), text(clean(or(c.User, "-"))), text(clean(summary)),
		})
	}
	return v.Text([]byte(v.table(columns, []group{g})))
}

// took renders the time from start to end; an end that is not there yet is now.
func (v *View) took(start, end *time.Time) string {
	switch {
	case start == nil:
		return "-"
	case end != nil:
		return Duration(end.Sub(*start))
	case v.options.Format == Human:
		return Duration(v.Now().Sub(*start)) + "…"
	}
	return "-"
}

// Change renders `copse change ID`: the change and its tasks.
func (v *View) Change(c *api.Change) error {
	if v.options.Format == JSON {
		return v.object(c)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n", v.theme.strong(fmt.Sprintf("change %d: %s", c.ID, clean(c.Summary))), v.theme.status(c.Status, clean(c.Status)))
	fmt.Fprintf(&b, "started %s by %s, took %s\n", stamp(c.CreatedAt), clean(or(c.User, "unknown")), v.took(&c.CreatedAt, c.EndedAt))
	if len(c.Tasks) > 0 {
		columns := []column{
			{title: "TASK", right: true}, {title: "SUBJECT"}, {title: "STATUS"}, {title: "TOOK", right: true, drop: 2},
			{title: "SUMMARY", least: 12, drop: 1},
		}
		g := group{}
		for _, t := range c.Tasks {
			g.rows = append(g.rows, []cell{
				text(strconv.Itoa(t.ID)), text(clean(or(t.Subject, "-"))),
				{text: clean(t.Status), paint: func(s string) string { return v.theme.status(t.Status, s) }},
				text(v.took(t.StartedAt, t.EndedAt)), text(clean(t.Summary)),
			})
		}
		b.WriteString("\n" + v.table(columns, []group{g}))
	}
	for _, t := range c.Tasks {
		if t.Error == "" {
			continue
		}
		fmt.Fprintf(&b, "\n%s\n    %s\n", v.theme.bad(fmt.Sprintf("task %d (%s) failed:", t.ID, clean(t.Subject))), indent(cleanLines(t.Error), "    "))
		for _, line := range t.Log {
			fmt.Fprintf(&b, "    %s\n", v.theme.faint(cleanLines(line)))
		}
	}
	if c.Error != "" {
		fmt.Fprintf(&b, "\n%s\n", v.theme.bad(cleanLines(c.Error)))
	}
	if !c.Ended() {
		fmt.Fprintf(&b, "\n`copse change %d -f` follows it, `copse abort %d` stops it\n", c.ID, c.ID)
	}
	return v.Text([]byte(b.String()))
}

// ended is the last object of the stream of a change.
type ended struct {
	Type   string      `json:"type"` // "change"
	Change *api.Change `json:"change"`
}

// ChangeEnded renders how a change went: what happened, how long it took and what to do next, in a
// line or, where something new has been brought up, in a summary; both may be missing. In JSON the
// change is the last object of the stream, with "type": "change".
func (v *View) ChangeEnded(c *api.Change, next string, summary *Summary) error {
	if v.options.Format == JSON {
		if summary != nil {
			if err := v.object(summary); err != nil {
				return err
			}
		}
		return v.object(ended{Type: "change", Change: c})
	}
	title := fmt.Sprintf("change %d (%s)", c.ID, clean(c.Kind))
	took := v.took(&c.CreatedAt, c.EndedAt)
	var b strings.Builder
	if c.Status == "done" {
		fmt.Fprintf(&b, "%s %s is done: %s in %s\n", v.theme.good("✔"), title, count(touched(c), "container"), took)
		if next != "" {
			fmt.Fprintf(&b, "%s\n", next)
		}
		if summary != nil {
			b.WriteString(v.summary(summary))
		}
		return v.Text([]byte(b.String()))
	}
	word := map[string]string{"error": "failed", "undone": "was undone", "aborted": "was aborted"}[c.Status]
	fmt.Fprintf(&b, "%s %s %s after %s\n", v.theme.bad("✗"), title, or(word, "ended as "+clean(c.Status)), took)
	if c.Error != "" {
		fmt.Fprintf(&b, "  %s\n", indent(cleanLines(c.Error), "  "))
	}
	var failed []string
	for _, t := range c.Tasks {
		if (t.Status == "error" || t.Status == "stuck") && !slices.Contains(failed, t.Subject) {
			failed = append(failed, t.Subject)
		}
	}
	for _, name := range failed {
		fmt.Fprintf(&b, "  see `copse logs %s` and `copse health %s`\n", clean(name), clean(name))
	}
	fmt.Fprintf(&b, "  see `copse change %d` for each step\n", c.ID)
	return v.Text([]byte(b.String()))
}

// touched counts the containers that a change is about: those of its plan, else those of its
// tasks. Volumes do not count.
func touched(c *api.Change) int {
	names := map[string]bool{}
	if c.Plan != nil {
		for _, s := range c.Plan.Steps {
			if s.Action != plan.RemoveVolume && s.Action != plan.PrepareHost {
				names[s.Host+"/"+s.Container] = true
			}
		}
		return len(names)
	}
	for _, t := range c.Tasks {
		if t.Subject != "" {
			names[t.Subject] = true
		}
	}
	return len(names)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
