// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"slices"
	"time"

	"copse/internal/api"
)

// tracker follows what happens to each subject (a container, an image) of a change or build.
// It is pure: events in, state out.
//
//	waiting → active → done | failed | held | undone
//	                     └── active again while it is undone
type tracker struct {
	tasks    map[int]*trackedTask
	subjects map[string]*tracked
	order    []string // subjects as they became active
}

type trackedTask struct{ subject, status string }

type tracked struct {
	name    string
	summary string // of the current task
	detail  string // the last progress
	started time.Time
	ended   time.Time
	outcome outcome
	told    outcome // the outcome that was told last
	err     string
}

type outcome int

const (
	waiting outcome = iota
	active
	succeeded
	failed
	held
	undone
)

func newTracker() *tracker {
	return &tracker{tasks: map[int]*trackedTask{}, subjects: map[string]*tracked{}}
}

// plan makes the tasks known that have not started, so that a container is told as finished
// only with its last task.
func (t *tracker) plan(tasks []api.Task) {
	for _, task := range tasks {
		t.tasks[task.ID] = &trackedTask{subject: task.Subject, status: task.Status}
		s := t.subject(task.Subject)
		if task.StartedAt != nil && (s.started.IsZero() || task.StartedAt.Before(s.started)) {
			s.started = *task.StartedAt
		}
		if task.EndedAt != nil && task.EndedAt.After(s.ended) {
			s.ended = *task.EndedAt
		}
		if task.Status == "doing" || task.Status == "undoing" {
			s.summary = task.Summary
		}
		if task.Error != "" {
			s.err = task.Error
		}
	}
	for name, s := range t.subjects {
		s.outcome = t.derive(name)
		if s.outcome != waiting && s.outcome != active {
			s.told = s.outcome
		}
		t.note(s)
	}
}

func (t *tracker) subject(name string) *tracked {
	if t.subjects[name] == nil {
		t.subjects[name] = &tracked{name: name}
	}
	return t.subjects[name]
}

// note keeps the order in which subjects became active.
func (t *tracker) note(s *tracked) {
	if s.outcome == active && !slices.Contains(t.order, s.name) {
		t.order = append(t.order, s.name)
	}
}

// event takes one event in. It returns the subject when its outcome is news to tell, else nil.
func (t *tracker) event(e api.Event) *tracked {
	if e.Type == "ended" {
		return nil
	}
	name := e.Subject
	if task := t.tasks[e.Task]; name == "" && task != nil {
		name = task.subject
	}
	if name == "" {
		return nil
	}
	s := t.subject(name)
	switch e.Type {
	case "progress", "log":
		s.detail = e.Text
		return nil
	case "task":
	default:
		return nil
	}
	if t.tasks[e.Task] == nil {
		t.tasks[e.Task] = &trackedTask{subject: name}
	}
	t.tasks[e.Task].status = e.Status
	switch e.Status {
	case "doing", "undoing":
		s.summary, s.detail = e.Summary, ""
		if s.started.IsZero() {
			s.started = e.Time
		}
	case "error", "stuck", "hold":
		s.err = e.Text
	}
	s.outcome = t.derive(name)
	s.ended = e.Time
	t.note(s)
	if s.outcome == waiting || s.outcome == active || s.outcome == s.told {
		return nil
	}
	s.told = s.outcome
	return s
}

// derive computes the outcome of a subject from the statuses of its tasks.
func (t *tracker) derive(subject string) outcome {
	counts := map[string]int{}
	for _, task := range t.tasks {
		if task.subject == subject {
			counts[task.status]++
		}
	}
	switch {
	case counts["doing"]+counts["undoing"]+counts["undo"] > 0:
		return active
	case counts["error"]+counts["stuck"] > 0:
		return failed
	case counts["undone"] > 0:
		return undone
	case counts["hold"] > 0:
		return held
	case counts["do"] > 0:
		if counts["done"] > 0 {
			return active
		}
		return waiting
	}
	return succeeded
}

// active lists what is being worked on, in the order in which it began.
func (t *tracker) active() []*tracked {
	var subjects []*tracked
	for _, name := range t.order {
		if s := t.subjects[name]; s.outcome == active {
			subjects = append(subjects, s)
		}
	}
	return subjects
}

// finished counts the subjects that nothing more happens to, and all there are.
func (t *tracker) finished() (ended, all int) {
	for _, s := range t.subjects {
		if s.outcome != waiting && s.outcome != active {
			ended++
		}
	}
	return ended, len(t.subjects)
}
