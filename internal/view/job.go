// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"time"

	"copse/internal/api"
)

// Jobs renders `copse jobs`: a line for each job that has a timer.
func (v *View) Jobs(jobs []api.Job) error {
	if v.options.Format == JSON {
		return objects(v, jobs)
	}
	if len(jobs) == 0 {
		return v.Note("no jobs run on a timer: none of what is declared has x-copse.job.every")
	}
	columns := []column{
		{title: "NAME"}, {title: "EVERY", right: true, drop: 4}, {title: "LAST RUN", right: true}, {title: "CHANGE", right: true, drop: 3},
		{title: "TOOK", right: true, drop: 5}, {title: "RESULT"}, {title: "NEXT RUN", right: true}, {title: "NOTE", least: 12, drop: 1},
	}
	var cells [][]cell
	for _, j := range jobs {
		took, note := "-", j.Waits
		if j.TookSeconds != nil {
			took = Duration(time.Duration(*j.TookSeconds * float64(time.Second)))
		}
		if note == "" {
			note = firstLine(j.Error)
		}
		cells = append(cells, []cell{
			text(clean(j.Name)), text(every(j.EverySeconds)), text(v.ago(j.LastRun)), text(numberOr(j.Change, "-")), text(took),
			v.status(j.Result),
			text(v.until(j.NextRun)), text(v.brief(clean(note))),
		})
	}
	return v.write(v.list(columns, cells))
}

// every renders the time between two runs without parts that are nought.
func every(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}

// until renders when something will happen: in how long for people, the time itself otherwise.
func (v *View) until(at *time.Time) string {
	switch {
	case at == nil || at.IsZero():
		return "-"
	case v.options.Format != Human:
		return stamp(*at)
	case !at.After(v.Now()):
		return "now"
	}
	return "in " + Duration(at.Sub(v.Now()))
}
