// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"copse/internal/store"
)

// live is a change that has not ended, as its store has it. Runner.mu guards it.
type live struct {
	change *Change
	graph  *graph
	active map[TaskID]context.CancelCauseFunc // tasks with a goroutine
	ended  chan struct{}                      // closed when it has ended
}

func newLive(c *Change) (*live, error) {
	g, err := newGraph(c)
	if err != nil {
		return nil, err
	}
	return &live{change: c, graph: g, active: map[TaskID]context.CancelCauseFunc{}, ended: make(chan struct{})}, nil
}

// over says whether all tasks are final: at most cleaning up is left.
func (l *live) over() bool {
	return !slices.ContainsFunc(l.change.Tasks, func(t *Task) bool { return !t.Status.Final() })
}

// clone copies what a draft may change. What a map or a log holds is never changed in place.
func (t *Task) clone() *Task {
	c := *t
	c.Data = maps.Clone(t.Data)
	c.Log = slices.Clone(t.Log)
	return &c
}

func (c *Change) clone() *Change {
	d := *c
	d.Data = maps.Clone(c.Data)
	d.Tasks = slices.Clone(c.Tasks)
	return &d
}

// draft is the next state of a change. It takes effect when it has been stored, or not at all.
type draft struct {
	live   *live
	now    time.Time
	change *Change // its Tasks are the draft's tasks
	edited map[TaskID]bool
	header bool // the change itself is edited
	events []Event
}

func (r *Runner) draft(l *live) *draft {
	return &draft{live: l, now: r.now(), change: l.change.clone(), edited: map[TaskID]bool{}}
}

func (d *draft) editChange() *Change {
	d.header = true
	return d.change
}

func (d *draft) edit(id TaskID) *Task {
	i := int(id) - 1
	if !d.edited[id] {
		d.edited[id] = true
		d.change.Tasks[i] = d.change.Tasks[i].clone()
	}
	return d.change.Tasks[i]
}

func (d *draft) event(e Event) {
	e.Time, e.Change = d.now, d.change.ID
	d.events = append(d.events, e)
}

// flip gives a task a new status.
func (d *draft) flip(id TaskID, s Status, why string) {
	t := d.edit(id)
	t.Status = s
	if s.Final() {
		t.Ended = d.now
	}
	d.event(Event{Type: TaskStatus, Task: id, Status: s, Text: why})
}

func (d *draft) statuses() []Status {
	s := make([]Status, len(d.change.Tasks))
	for i, t := range d.change.Tasks {
		s[i] = t.Status
	}
	return s
}

func (d *draft) failedLanes() map[int]int {
	return d.live.graph.failedLanes(d.statuses(), d.change.Aborted != nil)
}

// settle draws the consequences of what happened, and returns the lanes that failed.
func (d *draft) settle() map[int]int {
	failed := d.failedLanes()
	if len(failed) == 0 {
		return failed
	}
	before, after := d.statuses(), d.statuses()
	d.live.graph.settle(after, failed)
	for i, s := range after {
		if s == before[i] {
			continue
		}
		id := TaskID(i + 1)
		if s == Stuck {
			d.edit(id).UndoError = "what rests on it could not be undone, so it was kept"
			d.flip(id, s, d.change.Tasks[i].UndoError)
			continue
		}
		d.flip(id, s, d.because(failed[d.live.graph.lane[i]]))
	}
	return failed
}

// because says why a lane failed.
func (d *draft) because(cause int) string {
	if d.change.Aborted != nil {
		return "aborted by " + d.change.Aborted.By
	}
	if cause < 0 {
		return "what it belongs together with failed"
	}
	t := d.change.Tasks[cause]
	verb := "will not be done"
	if t.Status == Error || t.Status == Stuck {
		verb = "failed"
	}
	return fmt.Sprintf("task %d (%s) %s", t.ID, t.Summary, verb)
}

// stored writes the draft in a transaction.
func (d *draft) stored(tx *store.Tx, keep int) (lastEvent uint64, err error) {
	for _, e := range d.events {
		if lastEvent, err = putEvent(tx, e); err != nil {
			return 0, err
		}
		if e.Type == ChangeEnded {
			d.editChange().LastEvent = lastEvent
		}
	}
	for id := range d.edited {
		if err := store.Put(tx, taskBucket, taskKey(d.change.ID, id), d.change.Task(id)); err != nil {
			return 0, err
		}
	}
	if d.header {
		if err := store.Put(tx, changeBucket, changeKey(d.change.ID), d.change); err != nil {
			return 0, err
		}
	}
	if !d.change.Ended.IsZero() {
		if err := prune(tx, keep); err != nil {
			return 0, err
		}
	}
	return lastEvent, nil
}

func putEvent(tx *store.Tx, e Event) (uint64, error) {
	var err error
	if e.Seq, err = store.NextSequence(tx, eventBucket); err != nil {
		return 0, err
	}
	return e.Seq, store.Put(tx, eventBucket, store.Key(e.Seq), e)
}

// Unfinished returns the changes that have not ended, oldest first. They must not be changed.
func (r *Runner) Unfinished() []*Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*Change
	for _, l := range r.inOrder(0) {
		all = append(all, l.change)
	}
	return all
}
