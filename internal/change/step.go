// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"context"
	"slices"

	"copse/internal/store"
)

// phase is what a task's goroutine does.
type phase int

const (
	phaseDo phase = iota
	phaseAsk
	phaseUndo
	phaseCleanup
)

// start is a goroutine to be started once the draft is stored.
type start struct {
	change int
	id     TaskID
	phase  phase
}

// step is the only way in which a live change goes on: edit (may be nil) says what happened, the
// consequences are drawn, what may start is started, and all of it, with what with (may be nil) writes, is
// one transaction. On an error nothing has happened. The caller holds r.mu.
func (r *Runner) step(l *live, edit func(*draft), with func(*store.Tx) error) error {
	d := r.draft(l)
	if edit != nil {
		edit(d)
	}
	stopping := r.base.Err() != nil
	if !stopping {
		r.reclaim(d)
	}
	failed := d.settle()
	var starts []start
	if !stopping {
		starts = r.choose(d, failed)
		r.end(d, starts)
	}
	if err := r.write(d, with); err != nil {
		return err
	}

	for id, cancel := range l.active {
		i := int(id) - 1
		if _, bad := failed[l.graph.lane[i]]; bad && l.change.Tasks[i].Status == Doing {
			cancel(ErrCancelled)
		}
	}
	if !l.change.Ended.IsZero() {
		delete(r.live, l.change.ID)
		close(l.ended)
		return nil
	}
	r.live[l.change.ID] = l
	for _, s := range starts {
		r.launch(l, s)
	}
	return nil
}

// write stores a draft, and makes it the state of its change.
func (r *Runner) write(d *draft, with func(*store.Tx) error) error {
	if len(d.edited) == 0 && !d.header && with == nil {
		return nil
	}
	var last uint64
	if err := r.update(func(tx *store.Tx) error {
		if with != nil {
			if err := with(tx); err != nil {
				return err
			}
		}
		var err error
		last, err = d.stored(tx, r.opts.Keep)
		return err
	}); err != nil {
		return err
	}
	d.live.change = d.change
	if last != 0 {
		r.feed.stored(last)
	}
	return nil
}

// reclaim decides about tasks whose do was interrupted by the end of the program and cannot be gone on
// with: their lane has failed, or their handler says so. They may have got half the way, so they are
// undone.
func (r *Runner) reclaim(d *draft) {
	interrupted := func(t *Task) bool { return t.Status == Doing && d.live.active[t.ID] == nil }
	for _, t := range d.change.Tasks {
		if h := r.handler(t.Kind); interrupted(t) && h.OnResume == Fail {
			d.fail(t.ID, h, "interrupted by a restart of the agent; whether it took effect is not known")
		}
	}
	failed := d.failedLanes()
	for i, t := range d.change.Tasks {
		if cause, bad := failed[d.live.graph.lane[i]]; bad && interrupted(t) {
			d.flip(t.ID, Undo, "interrupted; "+d.because(cause))
		}
	}
}

// fail records that a task's do failed without a chance to clean up after itself.
func (d *draft) fail(id TaskID, h Handler, why string) {
	d.edit(id).Error = why
	if h.Undo == nil {
		d.flip(id, Error, why)
	} else {
		d.flip(id, Undo, why)
	}
}

// choose picks what starts now, within the limits, and gives it its status.
func (r *Runner) choose(d *draft, failed map[int]int) []start {
	free := r.opts.Parallel - r.running
	kinds := map[string]int{}
	var starts []start
	begin := func(t *Task, p phase) bool {
		if d.live.active[t.ID] != nil || free == 0 {
			return false
		}
		if most, limited := r.opts.PerKind[t.Kind]; limited && r.kinds[t.Kind]+kinds[t.Kind] >= most {
			return false
		}
		free--
		kinds[t.Kind]++
		starts = append(starts, start{d.change.ID, t.ID, p})
		return true
	}

	over := true
	for _, t := range d.change.Tasks { // what an earlier run of the program left behind
		over = over && t.Status.Final()
		switch {
		case t.Status == Undoing:
			begin(t, phaseUndo)
		case t.Status == Doing && r.handler(t.Kind).OnResume == Ask:
			begin(t, phaseAsk)
		case t.Status == Doing && begin(t, phaseDo):
			d.attempt(t.ID)
		}
	}
	for _, t := range r.inTurn(d) {
		switch {
		case t.Status == Undo && begin(t, phaseUndo):
			d.flip(t.ID, Undoing, "")
		case t.Status == Do && begin(t, phaseDo):
			d.flip(t.ID, Doing, "")
			d.attempt(t.ID)
		}
	}
	if over && d.change.Status() != Stuck {
		for _, t := range d.change.Tasks {
			if r.wantsCleanup(t) {
				begin(t, phaseCleanup)
			}
		}
	}
	return starts
}

// inTurn returns the tasks that could start: what is taken back first, for it brings back what served
// before, then by the priorities of their kinds.
func (r *Runner) inTurn(d *draft) []*Task {
	var tasks []*Task
	for _, i := range d.live.graph.ready(d.statuses()) {
		tasks = append(tasks, d.change.Tasks[i])
	}
	slices.SortStableFunc(tasks, func(a, b *Task) int {
		if undo := (a.Status == Undo); undo != (b.Status == Undo) {
			if undo {
				return -1
			}
			return 1
		}
		return r.opts.Priority[b.Kind] - r.opts.Priority[a.Kind]
	})
	return tasks
}

// attempt records the start of a do.
func (d *draft) attempt(id TaskID) {
	t := d.edit(id)
	t.Attempts++
	t.Started = d.now
	if d.change.Started.IsZero() {
		d.editChange().Started = d.now
	}
}

func (r *Runner) wantsCleanup(t *Task) bool {
	return t.Attempts > 0 && !t.Cleaned && r.handler(t.Kind).Cleanup != nil
}

// end ends the change if nothing is left to do.
func (r *Runner) end(d *draft, starts []start) {
	if len(starts) > 0 || len(d.live.active) > 0 || !d.change.Ended.IsZero() {
		return
	}
	status := d.change.Status()
	for _, t := range d.change.Tasks {
		if !t.Status.Final() || status != Stuck && r.wantsCleanup(t) {
			return // it waits for a free place
		}
	}
	d.editChange().Ended = d.now
	d.event(Event{Type: ChangeEnded, Status: status})
}

// launch starts a task's goroutine.
func (r *Runner) launch(l *live, s start) {
	ctx, cancel := context.WithCancelCause(r.base)
	l.active[s.id] = cancel
	kind := l.change.Task(s.id).Kind
	r.occupy(kind, 1)
	r.wg.Go(func() {
		defer cancel(nil)
		r.execute(ctx, l, s)
	})
}

func (r *Runner) occupy(kind string, n int) {
	r.running += n
	r.kinds[kind] += n
}
