// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"copse/internal/store"
)

// notCleanedUp marks an error of a do that left something behind.
type notCleanedUp struct{ err error }

func (e *notCleanedUp) Error() string { return e.err.Error() }
func (e *notCleanedUp) Unwrap() error { return e.err }

// NotCleanedUp wraps the error of a do that failed and could not clean up after itself either. The task
// becomes Stuck at once, and the change is loud about it.
func NotCleanedUp(err error) error { return &notCleanedUp{err} }

// panicked is the error of a handler that panicked.
type panicked struct {
	value any
	stack []byte
}

func (e *panicked) Error() string { return fmt.Sprintf("it panicked: %v", e.value) }

// asking is the error of a handler that could not say whether its task is done.
type asking struct{ err error }

func (e *asking) Error() string {
	return fmt.Sprintf("interrupted by a restart of the agent, and whether it took effect cannot be found out: %v", e.err)
}

// handler returns the handler of a kind. One that this version of the program does not know (any more)
// fails, and so does its undo.
func (r *Runner) handler(kind string) Handler {
	if h, ok := r.handlers[kind]; ok {
		return h
	}
	unknown := func(context.Context, *Run) error {
		return fmt.Errorf("this version of the program does not know tasks of kind %q; start the one that began the change", kind)
	}
	return Handler{Do: unknown, Undo: unknown, OnResume: Fail}
}

// execute is a task's goroutine.
func (r *Runner) execute(ctx context.Context, l *live, s start) {
	t := &Run{runner: r, live: l, change: s.change, id: s.id, phase: s.phase}
	h := r.handler(t.Task().Kind)
	switch s.phase {
	case phaseUndo:
		r.point("before-undo", s)
		var err error
		if h.Undo != nil {
			err = guard(ctx, t, h.Undo)
		}
		r.point("after-undo-before-persist", s)
		r.finish(l, t, err, func(d *draft) { d.undone(s.id, err) })
		r.point("after-undo-persist", s)
	case phaseCleanup:
		r.point("before-cleanup", s)
		err := guard(ctx, t, h.Cleanup)
		if err != nil && r.base.Err() == nil {
			t.Log("cleaning up failed: " + err.Error())
		}
		r.point("after-cleanup-before-persist", s)
		r.finish(l, t, err, func(d *draft) { d.edit(s.id).Cleaned = true })
		r.point("after-cleanup-persist", s)
	default:
		r.point("before-do", s)
		err := r.do(ctx, t, h)
		r.point("after-do-before-persist", s)
		r.finish(l, t, err, func(d *draft) { d.did(s.id, err, h) })
		r.point("after-persist", s)
	}
}

func (r *Runner) point(name string, s start) {
	r.opts.Failpoint(fmt.Sprintf("%s %d/%d", name, s.change, s.id))
}

// do runs a task's do, after asking where it was interrupted and its handler wants to be asked.
func (r *Runner) do(ctx context.Context, t *Run, h Handler) error {
	if t.phase == phaseAsk {
		var done bool
		err := guard(ctx, t, func(ctx context.Context, t *Run) (err error) {
			done, err = h.Ask(ctx, t)
			return err
		})
		if err != nil {
			return &asking{err}
		}
		if done || t.committed() {
			return nil
		}
		if err := t.write(func(d *draft) { d.attempt(t.id) }); err != nil {
			return &asking{err}
		}
	}
	return guard(ctx, t, h.Do)
}

// guard calls a handler, and turns its panic into an error. runtime.Goexit passes through.
func guard(ctx context.Context, t *Run, fn func(context.Context, *Run) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			e := &panicked{value: p, stack: debug.Stack()}
			task := t.Task()
			t.runner.log.Error("a handler panicked", "kind", task.Kind, "change", task.Change, "task", task.ID,
				"panic", fmt.Sprint(p), "stack", string(e.stack))
			err = e
		}
	}()
	return fn(ctx, t)
}

// finish stores how a handler ended, and frees its place. While the store cannot be written (a full disk)
// it keeps the outcome and tries again, until it can or the runner stops.
func (r *Runner) finish(l *live, t *Run, err error, edit func(*draft)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	cancel := l.active[t.id]
	kind := l.change.Task(t.id).Kind
	if t.done {
		if err != nil {
			r.log.Warn("a handler failed after its Commit, which stands", "change", l.change.ID, "task", t.id, "error", err)
		}
		edit = nil
	}
	if err != nil && r.base.Err() != nil {
		edit = nil // interrupted: the task stays as it is, for the next runner
	}
	for {
		delete(l.active, t.id)
		r.occupy(kind, -1)
		werr := r.step(l, edit, nil)
		if werr == nil {
			break
		}
		l.active[t.id] = cancel
		r.occupy(kind, 1)
		r.complain(l, werr)
		if r.base.Err() != nil {
			return
		}
		r.mu.Unlock()
		r.opts.Pause(r.base)
		r.mu.Lock()
	}
	if r.base.Err() == nil {
		r.advance(0)
	}
}

// did records how a do ended.
func (d *draft) did(id TaskID, err error, h Handler) {
	if err == nil {
		d.flip(id, Done, "")
		return
	}
	_, cancelled := d.failedLanes()[d.live.graph.lane[int(id)-1]]
	t := d.edit(id)
	var left *notCleanedUp
	var panicked *panicked
	var asking *asking
	switch {
	case errors.As(err, &left):
		t.Error, t.UndoError = err.Error(), "it failed, and could not clean up after itself"
		d.flip(id, Stuck, t.Error)
	case errors.As(err, &panicked), errors.As(err, &asking):
		d.fail(id, h, err.Error())
	case cancelled:
		t.log(d.now, "cancelled: "+err.Error())
		d.flip(id, Undone, "cancelled")
	default:
		t.Error = err.Error()
		d.flip(id, Error, t.Error)
	}
}

// undone records how an undo ended.
func (d *draft) undone(id TaskID, err error) {
	if err == nil {
		d.flip(id, Undone, "")
		return
	}
	t := d.edit(id)
	t.UndoError = err.Error()
	t.log(d.now, "undo failed: "+err.Error())
	d.flip(id, Stuck, t.UndoError)
}

// commit stores what fn writes together with the task's final status.
func (r *Runner) commit(t *Run, fn func(*store.Tx) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.done {
		return errors.New("cannot commit: the task has committed already")
	}
	h := r.handler(t.live.change.Task(t.id).Kind)
	edit := func(d *draft) { d.did(t.id, nil, h) }
	switch t.phase {
	case phaseUndo:
		edit = func(d *draft) { d.undone(t.id, nil) }
	case phaseCleanup:
		edit = func(d *draft) { d.edit(t.id).Cleaned = true }
	}
	if err := r.step(t.live, edit, fn); err != nil {
		return err
	}
	t.done = true
	return nil
}
