// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"copse/internal/store"
)

// Change is an operation of many steps, as it is stored. All times are UTC; a zero time has not come yet.
type Change struct {
	ID      int    `json:"id"`             // 1, 2, 3… in the order of submission
	Kind    string `json:"kind"`           // what sort of operation: "upgrade"
	Summary string `json:"summary"`        // one line for people: "Upgrade keystone to 2026.1"
	User    string `json:"user,omitempty"` // who asked for it

	Created time.Time `json:"created,omitzero"`
	Started time.Time `json:"started,omitzero"` // when the first task started
	Ended   time.Time `json:"ended,omitzero"`   // when the last task, and cleaning up, had ended

	// Subjects are what the change is about. Two changes that share one cannot run at the same time;
	// Everything is shared with every change.
	Subjects []string `json:"subjects,omitempty"`

	Atomic  bool   `json:"atomic,omitempty"`  // all tasks are in one lane
	Aborted *Abort `json:"aborted,omitempty"` // nil unless somebody aborted it

	Data map[string]json.RawMessage `json:"data,omitempty"` // what the tasks share

	FirstEvent uint64 `json:"first_event"`          // sequence number of its first event
	LastEvent  uint64 `json:"last_event,omitempty"` // and of its last, once it has ended

	Tasks []*Task `json:"-"` // in the order of their IDs; stored each on its own
}

// Everything is the subject that conflicts with every other change.
const Everything = "*"

// Abort records who stopped a change.
type Abort struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// TaskID numbers a task within its change, from 1.
type TaskID int

// Task is one step of a change, as it is stored.
type Task struct {
	ID      TaskID   `json:"id"`
	Change  int      `json:"change"`
	Kind    string   `json:"kind"`              // names the handler
	Summary string   `json:"summary"`           // one line for people
	Subject string   `json:"subject,omitempty"` // what it is about: a container's name
	Lane    int      `json:"lane"`              // the unit of undo
	WaitFor []TaskID `json:"wait_for,omitempty"`
	Status  Status   `json:"status"`

	// Data is what the task was submitted with and what its handler saved, for its undo above all.
	Data map[string]json.RawMessage `json:"data,omitempty"`

	Log       []LogLine `json:"log,omitempty"`        // the last lines, see Run.Log
	Error     string    `json:"error,omitempty"`      // why its do failed
	UndoError string    `json:"undo_error,omitempty"` // why it is stuck

	Started  time.Time `json:"started,omitzero"` // when its do last started
	Ended    time.Time `json:"ended,omitzero"`   // when it came to its last final status
	Attempts int       `json:"attempts"`         // how often its do was started
	Cleaned  bool      `json:"cleaned,omitempty"`
}

// LogLine is a line of a task's log.
type LogLine struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// Task returns the task of that number, nil where there is none.
func (c *Change) Task(id TaskID) *Task {
	i := int(id) - 1
	if i < 0 || i >= len(c.Tasks) {
		return nil
	}
	return c.Tasks[i]
}

// Err returns why the change failed, one line for each task that did; nil where none failed.
func (c *Change) Err() error {
	var errs []error
	for _, t := range c.Tasks {
		if t.Error != "" {
			errs = append(errs, fmt.Errorf("%s: %s", t.Summary, t.Error))
		}
		if t.Status == Stuck {
			errs = append(errs, fmt.Errorf("%s: cannot undo: %s", t.Summary, t.UndoError))
		}
	}
	return errors.Join(errs...)
}

// Spec is a change to be submitted.
type Spec struct {
	Kind     string
	Summary  string
	User     string
	Subjects []string
	Atomic   bool
	Data     map[string]any // to be encoded as JSON
	Tasks    []TaskSpec     // task N is Tasks[N-1]

	// Commit, if set, is called in the transaction that stores the change: what it writes and the change
	// appear together, and its error (a revision that has moved) refuses the change. It must not use the
	// runner.
	Commit func(tx *store.Tx, id int) error
}

// TaskSpec is a task to be submitted.
type TaskSpec struct {
	Kind    string
	Summary string
	Subject string
	Lane    int
	WaitFor []TaskID
	Data    map[string]any // to be encoded as JSON
}

// Add appends a task and returns its number, for others to wait on.
func (s *Spec) Add(t TaskSpec) TaskID {
	s.Tasks = append(s.Tasks, t)
	return TaskID(len(s.Tasks))
}

// build makes the change of a spec, all tasks in status Do.
func (s *Spec) build(now time.Time, known func(kind string) bool) (*Change, error) {
	c := &Change{
		Kind: s.Kind, Summary: s.Summary, User: s.User, Created: now, Atomic: s.Atomic,
		Subjects: slices.Compact(slices.Sorted(slices.Values(s.Subjects))),
	}
	var err error
	if c.Data, err = encode(s.Data); err != nil {
		return nil, fmt.Errorf("cannot submit %q: data %w", s.Summary, err)
	}
	for i, ts := range s.Tasks {
		t := &Task{
			ID: TaskID(i + 1), Kind: ts.Kind, Summary: ts.Summary, Subject: ts.Subject, Lane: ts.Lane, Status: Do,
			WaitFor: slices.Compact(slices.Sorted(slices.Values(ts.WaitFor))),
		}
		if t.Data, err = encode(ts.Data); err != nil {
			return nil, fmt.Errorf("cannot submit %q: task %d (%s): data %w", s.Summary, t.ID, t.Summary, err)
		}
		if !known(t.Kind) {
			return nil, fmt.Errorf("cannot submit %q: task %d (%s) is of kind %q, which has no handler", s.Summary, t.ID, t.Summary, t.Kind)
		}
		c.Tasks = append(c.Tasks, t)
	}
	if _, err := newGraph(c); err != nil {
		return nil, fmt.Errorf("cannot submit %q: %w", s.Summary, err)
	}
	return c, nil
}

func encode(values map[string]any) (map[string]json.RawMessage, error) {
	if len(values) == 0 {
		return nil, nil
	}
	data := make(map[string]json.RawMessage, len(values))
	for k, v := range values {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", k, err)
		}
		data[k] = raw
	}
	return data, nil
}

// ConflictError says that a change that has not ended is about the same things.
type ConflictError struct {
	Change   int      // the one in the way
	Summary  string   // what that one does
	Subjects []string // what both are about
}

// Error implements error.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("cannot start: change %d (%s) is at work on %s; wait for it, or stop it with \"copse abort %d\"",
		e.Change, e.Summary, list(e.Subjects), e.Change)
}

func list(names []string) string {
	const most = 5
	if slices.Contains(names, Everything) {
		return "everything"
	}
	s := ""
	for i, n := range names {
		if i == most {
			return s + fmt.Sprintf(" and %d more", len(names)-most)
		}
		if i > 0 {
			s += ", "
		}
		s += n
	}
	return s
}

// shared returns the subjects that make two changes conflict.
func shared(a, b []string) []string {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	if slices.Contains(a, Everything) || slices.Contains(b, Everything) {
		return []string{Everything}
	}
	var both []string
	for _, s := range a {
		if slices.Contains(b, s) {
			both = append(both, s)
		}
	}
	return both
}
