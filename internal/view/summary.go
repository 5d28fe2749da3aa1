// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"copse/internal/api"
)

// Summary is what there is to know about a cloud that has just been brought up.
type Summary struct {
	Type string `json:"type"` // "summary"
	// Endpoints are where clients reach what the cloud offers.
	Endpoints []Endpoint `json:"endpoints"`
	// Phases are what took the time. They overlap, as what does not wait for each other is done
	// in parallel.
	Phases []Phase `json:"phases"`
	// Next are commands to go on with.
	Next []Next `json:"next"`
}

// Endpoint is one address that clients use.
type Endpoint struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

// Phase is a part of a change.
type Phase struct {
	// Name is what it was about: images, jobs or containers.
	Name string `json:"name"`
	// Count is how many there were.
	Count   int     `json:"count"`
	Seconds float64 `json:"seconds"`
	// Slowest names those that took longest, with their times in seconds.
	Slowest []Slow `json:"slowest,omitempty"`
}

// Slow is what took long.
type Slow struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// Next is a command and what it is for.
type Next struct {
	Command string `json:"command"`
	Purpose string `json:"purpose"`
}

// slowest is how many of a phase are named.
const slowest = 3

// Phases tells from a change's tasks how long its jobs ran and how long containers took to become
// ready: the time during which at least one of them did.
func Phases(change *api.Change) []Phase {
	kinds := map[string]string{"run": "jobs", "start": "containers", "ready": "containers"}
	type interval struct{ from, to time.Time }
	intervals := map[string][]interval{}
	took := map[string]map[string]float64{}
	for _, task := range change.Tasks {
		name := kinds[task.Kind]
		if name == "" || task.StartedAt == nil || task.EndedAt == nil {
			continue
		}
		intervals[name] = append(intervals[name], interval{*task.StartedAt, *task.EndedAt})
		if took[name] == nil {
			took[name] = map[string]float64{}
		}
		took[name][task.Subject] += task.EndedAt.Sub(*task.StartedAt).Seconds()
	}
	var phases []Phase
	for _, name := range []string{"jobs", "containers"} {
		all := intervals[name]
		if len(all) == 0 {
			continue
		}
		slices.SortFunc(all, func(a, b interval) int { return a.from.Compare(b.from) })
		var sum time.Duration
		end := all[0].from
		for _, i := range all {
			if i.from.After(end) {
				end = i.from
			}
			if i.to.After(end) {
				sum += i.to.Sub(end)
				end = i.to
			}
		}
		phase := Phase{Name: name, Count: len(took[name]), Seconds: sum.Round(time.Millisecond).Seconds()}
		for subject, seconds := range took[name] {
			phase.Slowest = append(phase.Slowest, Slow{subject, seconds})
		}
		slices.SortFunc(phase.Slowest, func(a, b Slow) int {
			return cmp.Or(cmp.Compare(b.Seconds, a.Seconds), cmp.Compare(a.Name, b.Name))
		})
		phase.Slowest = phase.Slowest[:min(len(phase.Slowest), slowest)]
		phases = append(phases, phase)
	}
	return phases
}

// summary renders what a new cloud offers, for people.
func (v *View) summary(s *Summary) string {
	var b strings.Builder
	columns := []column{{title: "SERVICE"}, {title: "ADDRESS"}}
	if len(s.Endpoints) > 0 {
		var cells [][]cell
		for _, e := range s.Endpoints {
			cells = append(cells, []cell{text(clean(e.Name)), {text: clean(e.URL), paint: v.theme.strong}})
		}
		b.WriteString("\n" + v.list(columns, cells))
	}
	if len(s.Phases) > 0 {
		var cells [][]cell
		for _, p := range s.Phases {
			var slow []string
			for _, one := range p.Slowest {
				slow = append(slow, clean(one.Name)+" "+seconds(one.Seconds))
			}
			cells = append(cells, []cell{
				text(count(p.Count, strings.TrimSuffix(clean(p.Name), "s"))), text(seconds(p.Seconds)),
				{text: or(strings.Join(slow, ", "), "-"), paint: v.theme.faint},
			})
		}
		b.WriteString("\n" + v.list([]column{{title: "PHASE"}, {title: "TOOK", right: true}, {title: "LONGEST", least: 16, drop: 1}}, cells))
	}
	if len(s.Next) > 0 {
		var cells [][]cell
		for _, n := range s.Next {
			cells = append(cells, []cell{{text: n.Command, paint: v.theme.strong}, text(n.Purpose)})
		}
		b.WriteString("\n" + v.list([]column{{title: "NEXT"}, {title: "TO", least: 16, drop: 1}}, cells))
	}
	return b.String()
}
