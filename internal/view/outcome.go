// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"copse/internal/api"
	"copse/internal/plan"
)

// Outcome is what a change made of each container that it was to give a new generation.
type Outcome struct {
	Type       string        `json:"type"` // "outcome"
	Containers []Replacement `json:"containers"`
}

// Replacement is what became of one container in a change.
type Replacement struct {
	Host string `json:"host"`
	Name string `json:"name"`
	// From and FromRelease are what was there before, 0 and "" where nothing was.
	From        int    `json:"from,omitempty"`
	FromRelease string `json:"from_release,omitempty"`
	// To and ToRelease are what was made; 0 where it did not come to that.
	To        int    `json:"to,omitempty"`
	ToRelease string `json:"to_release,omitempty"`
	// Seconds is the time from the first to the last of its steps.
	Seconds float64 `json:"seconds"`
	// WindowSeconds is the time from the first to the last failed request; null: not measured.
	WindowSeconds  *float64 `json:"window_seconds"`
	FailedRequests *int     `json:"failed_requests"`
	// Probes is how many requests were made to measure that.
	Probes int `json:"probes,omitempty"`
	// Result is kept, ran (a job), undone, stuck (it could not be undone), waiting (not begun) or
	// running (not ended).
	Result string `json:"result"`
	// Why says why it was not kept.
	Why string `json:"why,omitempty"`
}

// The results of replacements.
const (
	resultKept    = "kept"
	resultRan     = "ran"
	resultUndone  = "undone"
	resultStuck   = "stuck"
	resultWaiting = "waiting"
	resultRunning = "running"
)

// Replacements works out the outcome of a change from its plan, its tasks and the generations
// there are; nil where it was to make no generation.
func Replacements(change *api.Change, generations []api.Generation) *Outcome {
	if change.Plan == nil {
		return nil
	}
	outcome := &Outcome{Type: "outcome"}
	for i := range change.Plan.Steps {
		step := &change.Plan.Steps[i]
		switch step.Action {
		case plan.Create, plan.Replace, plan.Run:
			outcome.Containers = append(outcome.Containers, replacement(change, step, generations))
		}
	}
	if len(outcome.Containers) == 0 {
		return nil
	}
	return outcome
}

func replacement(change *api.Change, step *plan.Step, generations []api.Generation) Replacement {
	one := Replacement{Host: step.Host, Name: step.Container, From: step.From}
	active := false
	for _, g := range generations {
		switch {
		case g.Name != step.Container || g.Host != step.Host:
		case g.Generation == step.From:
			one.FromRelease = g.Release
		case g.Change == change.ID && g.Generation > one.To:
			one.To, one.ToRelease, active = g.Generation, g.Release, g.State == "active" || g.State == "superseded"
			one.WindowSeconds, one.FailedRequests, one.Probes = g.WindowSeconds, g.FailedRequests, g.Probes
		}
	}
	var own []api.Task
	for _, t := range change.Tasks {
		if t.Subject == step.Container {
			own = append(own, t)
		}
	}
	one.Seconds = spent(own).Seconds()
	one.Result, one.Why = result(change, own)
	if one.Result == resultKept && step.Action == plan.Run {
		one.Result = resultRan
	}
	if active && (one.Result == resultUndone || one.Result == resultWaiting) {
		one.Result, one.Why = resultKept, "" // the rest of its steps came after it was done
	}
	return one
}

// spent is the time from the first start to the last end of tasks.
func spent(tasks []api.Task) time.Duration {
	var from, to time.Time
	for _, t := range tasks {
		if t.StartedAt != nil && (from.IsZero() || t.StartedAt.Before(from)) {
			from = *t.StartedAt
		}
		if t.EndedAt != nil && t.EndedAt.After(to) {
			to = *t.EndedAt
		}
	}
	if from.IsZero() || to.Before(from) {
		return 0
	}
	return to.Sub(from)
}

// result says what became of a container whose tasks are own, and why.
func result(change *api.Change, own []api.Task) (word, why string) {
	has := func(statuses ...string) bool {
		return slices.ContainsFunc(own, func(t api.Task) bool { return slices.Contains(statuses, t.Status) })
	}
	switch {
	case has("stuck"):
		return resultStuck, faultOf(own)
	case has("doing", "undo", "undoing"):
		return resultRunning, ""
	case has("error"):
		return resultUndone, faultOf(own)
	case has("undone"):
		return resultUndone, culprit(change)
	case has("hold"):
		return resultWaiting, culprit(change)
	case has("do") && !change.Ended():
		return resultWaiting, ""
	case has("do"):
		return resultWaiting, culprit(change)
	}
	return resultKept, ""
}

// faultOf is the first line of what went wrong in tasks.
func faultOf(tasks []api.Task) string {
	for _, t := range tasks {
		if t.Error != "" {
			return firstLine(t.Error)
		}
	}
	return ""
}

// culprit says why a container is not done that did not fail itself.
func culprit(change *api.Change) string {
	var failed []string
	for _, t := range change.Tasks {
		if t.Error != "" && t.Subject != "" && !slices.Contains(failed, t.Subject) {
			failed = append(failed, t.Subject)
		}
	}
	switch {
	case len(failed) > 0:
		return "because of " + strings.Join(failed, ", ")
	case change.Status == "aborted" || change.Status == "undone":
		return "the change was aborted"
	}
	return ""
}

// outcome renders the one table that an upgrade or a rollback ends with.
func (v *View) outcome(o *Outcome) string {
	columns := []column{
		{title: "CONTAINER"}, {title: "FROM", drop: 4}, {title: "TO", drop: 3}, {title: "TOOK", right: true, drop: 2},
		{title: "WINDOW", right: true}, {title: "FAILED", right: true}, {title: "RESULT", least: 16},
	}
	var cells [][]cell
	for _, one := range o.Containers {
		cells = append(cells, []cell{
			text(clean(one.Name)), text(numbered(one.From, one.FromRelease)), text(numbered(one.To, one.ToRelease)),
			text(seconds(one.Seconds)), v.window(one.WindowSeconds, one.FailedRequests), v.failed(one.FailedRequests, one.Probes),
			v.result(&one),
		})
	}
	return v.list(columns, cells)
}

// numbered names a generation by its number and release.
func numbered(generation int, release string) string {
	switch {
	case generation == 0:
		return "-"
	case release == "":
		return fmt.Sprint(generation)
	}
	return fmt.Sprintf("%d (%s)", generation, clean(release))
}

func (v *View) result(one *Replacement) cell {
	words := one.Result
	if one.Why != "" {
		words += ": " + clean(one.Why)
	}
	paint := v.theme.warn
	switch one.Result {
	case resultKept, resultRan:
		paint = v.theme.good
	case resultUndone, resultStuck:
		paint = v.theme.bad
	}
	return cell{text: words, paint: paint}
}
