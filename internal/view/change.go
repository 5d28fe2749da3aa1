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

// listed is a change in `copse changes --format json`, with what was measured in it.
type listed struct {
	api.Change
	WindowSeconds  *float64 `json:"window_seconds"`
	FailedRequests *int     `json:"failed_requests"`
}

// Changes renders `copse changes`, the newest last: each with the longest window and the failed
// requests of the generations that it made.
func (v *View) Changes(changes []api.Change, generations []api.Generation) error {
	rows := make([]listed, 0, len(changes))
	for _, c := range changes {
		row := listed{Change: c}
		for _, g := range generations {
			if g.Change == c.ID {
				row.WindowSeconds, row.FailedRequests = worse(row.WindowSeconds, g.WindowSeconds), sum(row.FailedRequests, g.FailedRequests)
			}
		}
		rows = append(rows, row)
	}
	if v.options.Format == JSON {
		return objects(v, rows)
	}
	if len(rows) == 0 {
		return v.Note("no changes yet: `copse up` makes the first")
	}
	slices.SortFunc(rows, func(a, b listed) int { return cmp.Compare(a.ID, b.ID) })
	columns := []column{
		{title: "ID", right: true}, {title: "KIND"}, {title: "STATUS"}, {title: "WHEN", right: true, drop: 2},
		{title: "TOOK", right: true, drop: 3}, {title: "WINDOW", right: true, drop: 4}, {title: "FAILED", right: true, drop: 5},
		{title: "USER", least: 6, drop: 6}, {title: "SUMMARY", least: 12, drop: 1},
	}
	var cells [][]cell
	for _, c := range rows {
		summary := c.Summary
		if c.Error != "" {
			summary = strings.TrimSpace(summary + ": " + firstLine(c.Error))
		}
		cells = append(cells, []cell{
			text(strconv.Itoa(c.ID)), text(clean(c.Kind)),
			v.status(c.Status),
			text(v.ago(&c.CreatedAt)), text(v.took(&c.CreatedAt, c.EndedAt)),
			v.window(c.WindowSeconds, c.FailedRequests), v.failed(c.FailedRequests, 0),
			text(clean(or(c.User, "-"))), text(clean(summary)),
		})
	}
	return v.write(v.list(columns, cells))
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

// detailed is a change in `copse change ID --format json`, with what became of each container.
type detailed struct {
	*api.Change
	Outcome []Replacement `json:"outcome,omitempty"`
}

// Change renders `copse change ID`: the change, its tasks and, where it is there, its outcome.
func (v *View) Change(c *api.Change, o *Outcome) error {
	if v.options.Format == JSON {
		if o == nil {
			o = &Outcome{}
		}
		return v.object(detailed{Change: c, Outcome: o.Containers})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n", v.theme.strong(fmt.Sprintf("change %d: %s", c.ID, clean(c.Summary))), v.theme.status(c.Status, clean(c.Status)))
	fmt.Fprintf(&b, "started %s by %s, took %s\n", stamp(c.CreatedAt), clean(or(c.User, "unknown")), v.took(&c.CreatedAt, c.EndedAt))
	if len(c.Tasks) > 0 {
		columns := []column{
			{title: "TASK", right: true}, {title: "SUBJECT"}, {title: "STATUS"}, {title: "TOOK", right: true, drop: 2},
			{title: "SUMMARY", least: 12, drop: 1},
		}
		var cells [][]cell
		for _, t := range c.Tasks {
			cells = append(cells, []cell{
				text(strconv.Itoa(t.ID)), text(clean(or(t.Subject, "-"))),
				v.status(t.Status),
				text(v.took(t.StartedAt, t.EndedAt)), text(clean(t.Summary)),
			})
		}
		b.WriteString("\n" + v.list(columns, cells))
	}
	if o != nil {
		b.WriteString("\n" + v.outcome(o))
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
	if stuck(c) {
		fmt.Fprintf(&b, "\nsomething could not be undone: once the cause is gone, `copse retry %d` goes on with it\n", c.ID)
	}
	return v.write(b.String())
}

// Ending is what there is to say at the end of a change beside how it went; all of it may be missing.
type Ending struct {
	// Next says in a line what to do after success.
	Next string
	// Summary is for where something new has been brought up.
	Summary *Summary
	// Outcome is for where containers have been replaced.
	Outcome *Outcome
}

// ended is the last object of the stream of a change.
type ended struct {
	Type   string      `json:"type"` // "change"
	Change *api.Change `json:"change"`
}

// ChangeEnded renders how a change went: what happened, how long it took, what became of each
// container and what to do next. In JSON the change is the last object of the stream, with
// "type": "change".
func (v *View) ChangeEnded(c *api.Change, e Ending) error {
	if v.options.Format == JSON {
		if e.Summary != nil {
			if err := v.object(e.Summary); err != nil {
				return err
			}
		}
		if e.Outcome != nil {
			if err := v.object(e.Outcome); err != nil {
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
		if e.Next != "" {
			fmt.Fprintf(&b, "%s\n", e.Next)
		}
		if e.Summary != nil {
			b.WriteString(v.summary(e.Summary))
		}
	} else {
		v.wrong(&b, c, title, took)
	}
	if e.Outcome != nil {
		b.WriteString("\n" + v.outcome(e.Outcome))
	}
	return v.write(b.String())
}

// wrong says of a change that is not done why, and where to look.
func (v *View) wrong(b *strings.Builder, c *api.Change, title, took string) {
	word := map[string]string{
		"error": "failed", "undone": "was undone", "aborted": "was aborted", "stuck": "could not be undone",
	}[c.Status]
	fmt.Fprintf(b, "%s %s %s after %s\n", v.theme.bad("✗"), title, or(word, "ended as "+clean(c.Status)), took)
	if c.Error != "" {
		fmt.Fprintf(b, "  %s\n", indent(cleanLines(c.Error), "  "))
	}
	var failed []string
	for _, t := range c.Tasks {
		if (t.Status == "error" || t.Status == "stuck") && !slices.Contains(failed, t.Subject) {
			failed = append(failed, t.Subject)
		}
	}
	for _, name := range failed {
		fmt.Fprintf(b, "  see `copse logs %s` and `copse health %s`\n", clean(name), clean(name))
	}
	if stuck(c) {
		fmt.Fprintf(b, "  something could not be undone: once the cause is gone, `copse retry %d` goes on with it\n", c.ID)
	}
	fmt.Fprintf(b, "  see `copse change %d` for each step\n", c.ID)
}

// stuck reports whether a change has ended with something that could not be undone.
func stuck(c *api.Change) bool {
	return c.Ended() && slices.ContainsFunc(c.Tasks, func(t api.Task) bool { return t.Status == "stuck" })
}

// Retried renders the end of `copse retry`: what was stuck is undone now. In JSON it is as ChangeEnded.
func (v *View) Retried(c *api.Change) error {
	if v.options.Format == JSON || stuck(c) {
		return v.ChangeEnded(c, Ending{})
	}
	return v.printf("%s what was stuck in change %d is undone: `copse plan` says what is left to do", v.theme.good("✔"), c.ID)
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
