// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"copse/internal/plan"
)

// planned is a plan in a stream of objects.
type planned struct {
	Type string `json:"type"` // "plan"
	*plan.Plan
}

// PlanObject writes the plan alone, as `copse plan --format json` does; other formats are as Plan.
func (v *View) PlanObject(p *plan.Plan) error {
	if v.options.Format == JSON {
		return v.object(p)
	}
	return v.Plan(p)
}

// Plan renders a plan. In JSON it is an object of the stream with "type": "plan".
func (v *View) Plan(p *plan.Plan) error {
	if v.options.Format == JSON {
		return v.object(planned{Type: "plan", Plan: p})
	}
	var b strings.Builder
	widest := 0
	for i := range p.Steps {
		widest = max(widest, ansi.StringWidth(subject(&p.Steps[i])))
	}
	for i := range p.Steps {
		v.step(&b, &p.Steps[i], p.Kind, widest)
	}
	if len(p.Build) > 0 {
		b.WriteString(v.wrapped("images to build: "+strings.Join(p.Build, ", "), "  ") + "\n")
	}
	for _, note := range p.Notes {
		b.WriteString(v.theme.warn("note: ") + v.wrapped(clean(note), "      ") + "\n")
	}
	v.findings(&b, p.Findings)
	b.WriteString(v.planSummary(p) + "\n")
	return v.write(b.String())
}

// subject names what a step is about.
func subject(s *plan.Step) string { return named(s.Container, s.From) }

// step writes one step: what, to whom and why; further causes and the impact on lines of their own.
func (v *View) step(b *strings.Builder, s *plan.Step, kind plan.Kind, widest int) {
	name := subject(s)
	sign, paint := v.sign(s.Action)
	const verbs = 13 // the longest action
	head := fmt.Sprintf("%s %-*s  ", sign, verbs, s.Action)
	lines := make([]string, 0, len(s.Causes)+2)
	for _, cause := range s.Causes {
		lines = append(lines, clean(cause))
	}
	if s.Drift {
		lines = append(lines, v.theme.faint("drift: it was changed by another hand"))
	}
	if s.Impact != "" {
		lines = append(lines, v.theme.faint("impact: "+clean(s.Impact)))
	}
	lines = append(lines, v.release(s, kind)...)
	if s.Dangerous {
		lines = append(lines, v.theme.bad("data or virtual machines will be lost"))
	}
	if len(lines) == 0 {
		lines = []string{""}
	}
	margin := strings.Repeat(" ", ansi.StringWidth(head)+widest+2)
	if width := v.width(); width > 0 && len(margin) > width/2 {
		margin = "      "
		b.WriteString(v.cut(paint(head)+name) + "\n")
		for _, line := range lines {
			if line != "" {
				b.WriteString(margin + v.wrapped(line, margin) + "\n")
			}
		}
		return
	}
	padding := strings.Repeat(" ", widest-ansi.StringWidth(name)+2)
	for i, line := range lines {
		before := margin
		if i == 0 {
			before = paint(head) + name + padding
		}
		b.WriteString(strings.TrimRight(before+v.wrapped(line, margin), " ") + "\n")
	}
}

// wrapped breaks text at the screen's edge; lines after the first start with margin.
func (v *View) wrapped(s, margin string) string {
	width := v.width()
	if width == 0 {
		return s
	}
	return indent(ansi.Wrap(s, max(width-len(margin), 20), " "), margin)
}

func (v *View) sign(action plan.Action) (string, func(string) string) {
	switch action {
	case plan.Create, plan.StartOnly, plan.Run:
		return "+", v.theme.good
	case plan.Replace, plan.Recreate, plan.RestartOnly, plan.PrepareHost:
		return "~", v.theme.warn
	case plan.RemoveVolume:
		return "!", v.theme.bad
	}
	return "-", v.theme.bad
}

// planSummary counts the steps by action.
func (v *View) planSummary(p *plan.Plan) string {
	if p.Empty() {
		return v.theme.good(fmt.Sprintf("Nothing to do: %s as declared.", count(p.Unchanged, "container")))
	}
	counts := map[plan.Action]int{}
	for _, s := range p.Steps {
		counts[s.Action]++
	}
	actions := make([]string, 0, len(counts))
	for action := range counts {
		actions = append(actions, string(action))
	}
	slices.SortFunc(actions, func(a, b string) int {
		return cmp.Or(cmp.Compare(actionRank(a), actionRank(b)), cmp.Compare(a, b))
	})
	parts := make([]string, 0, len(actions)+1)
	for _, action := range actions {
		parts = append(parts, fmt.Sprintf("%d to %s", counts[plan.Action(action)], action))
	}
	parts = append(parts, fmt.Sprintf("%d unchanged", p.Unchanged))
	lines := strings.Split(v.wrapped("Plan: "+strings.Join(parts, ", ")+".", ""), "\n")
	for i := range lines {
		lines[i] = v.theme.strong(lines[i])
	}
	return strings.Join(lines, "\n")
}

// actionRank puts what makes before what removes.
func actionRank(action string) int {
	return slices.Index([]string{
		string(plan.PrepareHost), string(plan.Create), string(plan.Replace), string(plan.Recreate), string(plan.Run), string(plan.StartOnly),
		string(plan.RestartOnly), string(plan.StopOnly), string(plan.Remove), string(plan.RemoveStray), string(plan.RemoveVolume),
	}, action)
}
