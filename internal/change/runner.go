// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"copse/internal/store"
)

// Handler does and undoes tasks of one kind. The package comment has its contract.
type Handler struct {
	// Do brings about what the task is for. Its error means that nothing of it remains, unless it is
	// wrapped by [NotCleanedUp].
	Do func(ctx context.Context, t *Run) error
	// Undo takes back what Do did, all or half of it. Nil where there is nothing to take back.
	Undo func(ctx context.Context, t *Run) error
	// Cleanup, if set, is called once everything in the change has ended, well or ill, for each task whose
	// do was started; not while something is stuck, since the operator may need what would be removed. Its
	// error is logged and changes nothing. After a crash it is called again.
	Cleanup func(ctx context.Context, t *Run) error
	// OnResume says what becomes of a task that was in Doing when the program ended.
	OnResume Resume
	// Ask says whether the do of an interrupted task is done after all; if not, it is run again. Set if and
	// only if OnResume is Ask. Its error is a failure of the task, which is then undone.
	Ask func(ctx context.Context, t *Run) (done bool, err error)
}

// Resume is what becomes of a task whose do was interrupted by the end of the program. (In a lane that has
// failed, it is undone, whatever its handler says here.)
type Resume int

// The ways to resume.
const (
	Rerun Resume = iota // run do again: it is idempotent
	Ask                 // call Handler.Ask, which looks whether it is done
	Fail                // it can be neither repeated nor judged: the task fails, and is undone
)

// Options are what a runner may be told. The zero value is good.
type Options struct {
	Clock    func() time.Time // time.Now by default
	Parallel int              // most tasks that run at the same time, over all changes; 8 by default
	PerKind  map[string]int   // most tasks of a kind that run at the same time; unlimited where missing
	Priority map[string]int   // of tasks that could all start, those of the kind with the highest do; 0 where missing
	Keep     int              // how many changes that have ended are kept; 200 by default
	Log      *slog.Logger     // what no client is told; discarded by default

	// Pause waits before a write that failed (a full disk) is tried again; 5 s by default.
	Pause func(ctx context.Context)

	// Failpoint, for tests, is called at every boundary at which a crash is of interest, with its name and
	// the numbers of change and task: "before-do 1/3", "after-do-before-persist 1/3", "after-persist 1/3",
	// and the same with undo and cleanup. It may end its goroutine by runtime.Goexit, which leaves the store as a
	// crash there would; the runner is of no use afterwards but for Stop.
	Failpoint func(point string)
}

// The causes of a handler's cancelled context, to be had from context.Cause.
var (
	// ErrCancelled means that the task's lane has failed: what do did so far is to be cleaned up.
	ErrCancelled = errors.New("cancelled, since another task failed or the change was aborted")
	// ErrStopped means that the runner stops: the task is gone on with by the next one.
	ErrStopped = errors.New("the agent stops; the change goes on when it runs again")
)

// ErrEnded is returned where a change has ended, and can thus not be aborted.
var ErrEnded = errors.New("it has ended")

// ErrNotStuck is returned by Retry where there is nothing to try again.
var ErrNotStuck = errors.New("nothing of it is stuck")

// Runner runs changes. It is the only writer of changes in its store, and may be used from several
// goroutines, handlers included. None of its methods may be called from inside a transaction of the store:
// they begin their own, and each would wait for the other.
type Runner struct {
	store    *store.Store
	update   func(func(*store.Tx) error) error // store.Update; tests make it fail
	handlers map[string]Handler
	opts     Options
	log      *slog.Logger
	feed     feed

	base context.Context // ends when the runner stops
	stop context.CancelCauseFunc
	wg   sync.WaitGroup // every goroutine the runner has started

	mu       sync.Mutex // guards what follows, and the order of writes
	resumed  bool
	live     map[int]*live // changes that have not ended
	running  int           // tasks that run
	kinds    map[string]int
	retrying bool // a goroutine waits to call advance again
}

// NewRunner returns a runner that has yet to be started by Resume. handlers has one for each kind of task.
func NewRunner(s *store.Store, handlers map[string]Handler, opts Options) (*Runner, error) {
	for kind, h := range handlers {
		if h.Do == nil {
			return nil, fmt.Errorf("cannot handle tasks of kind %q: no Do is given", kind)
		}
		if (h.OnResume == Ask) != (h.Ask != nil) {
			return nil, fmt.Errorf("cannot handle tasks of kind %q: OnResume is Ask if and only if Ask is given", kind)
		}
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Parallel <= 0 {
		opts.Parallel = 8
	}
	if opts.Keep <= 0 {
		opts.Keep = 200
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Pause == nil {
		opts.Pause = pause
	}
	if opts.Failpoint == nil {
		opts.Failpoint = func(string) {}
	}
	base, stop := context.WithCancelCause(context.Background())
	return &Runner{
		store: s, update: s.Update, handlers: handlers, opts: opts, log: opts.Log,
		feed: feed{subs: map[*subscriber]bool{}},
		base: base, stop: stop,
		live: map[int]*live{}, kinds: map[string]int{},
	}, nil
}

func pause(ctx context.Context) {
	t := time.NewTimer(5 * time.Second)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Resume starts the runner, and goes on with every change that has not ended. It returns as soon as they
// run. When ctx ends, the runner stops.
func (r *Runner) Resume(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.resumed {
		return errors.New("cannot resume the changes: the runner runs already")
	}
	if r.base.Err() != nil {
		return ErrStopped
	}
	var open []*Change
	if err := r.store.View(func(tx *store.Tx) error {
		r.feed.stored(store.Sequence(tx, eventBucket))
		var err error
		open, err = unfinished(tx)
		return err
	}); err != nil {
		return err
	}
	for _, c := range open {
		l, err := newLive(c)
		if err != nil {
			return fmt.Errorf("cannot resume change %d (%s): %w", c.ID, c.Summary, err)
		}
		r.live[c.ID] = l
	}
	r.resumed = true
	context.AfterFunc(ctx, func() { r.stop(ErrStopped) })
	r.advance(0)
	return nil
}

// Stop cancels the handlers that run and waits for them, or for the end of ctx, whose error it returns
// then. What is unfinished stays stored, and is gone on with by the Resume of another runner.
func (r *Runner) Stop(ctx context.Context) error {
	r.mu.Lock()
	r.stop(ErrStopped) // under the lock: from here on no goroutine is added
	r.mu.Unlock()
	done := make(chan struct{})
	go func() { // ends with the handlers, which Stop may not outlive but must not wait for beyond ctx
		r.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cannot wait for the running tasks: %w", ctx.Err())
	}
}

// Submit stores a change with all its tasks in one transaction, and starts it. It returns the change as it
// was stored; a [*ConflictError] where one that has not ended shares a subject.
func (r *Runner) Submit(spec Spec) (*Change, error) {
	c, err := spec.build(r.now(), func(kind string) bool { _, ok := r.handlers[kind]; return ok })
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.base.Err() != nil:
		return nil, fmt.Errorf("cannot submit %q: the agent is stopping; submit it again when it runs", c.Summary)
	case !r.resumed:
		return nil, fmt.Errorf("cannot submit %q: earlier changes have not been resumed yet; submit it again in a moment", c.Summary)
	}
	if err := r.conflict(c); err != nil {
		return nil, err
	}
	if err := r.update(func(tx *store.Tx) error { return create(tx, c, spec.Commit) }); err != nil {
		return nil, err
	}
	l, err := newLive(c)
	if err != nil {
		return nil, err // build has checked the same
	}
	r.live[c.ID] = l
	r.feed.stored(c.FirstEvent)
	asStored := c.clone()
	r.advance(c.ID)
	return asStored, nil
}

// create stores a new change.
func create(tx *store.Tx, c *Change, with func(*store.Tx, int) error) error {
	n, err := store.NextSequence(tx, changeBucket)
	if err != nil {
		return err
	}
	c.ID = int(n)
	seq, err := putEvent(tx, Event{Time: c.Created, Type: ChangeCreated, Change: c.ID, Text: c.Summary})
	if err != nil {
		return err
	}
	c.FirstEvent = seq
	if err := store.Put(tx, changeBucket, changeKey(c.ID), c); err != nil {
		return err
	}
	for _, t := range c.Tasks {
		t.Change = c.ID
		if err := store.Put(tx, taskBucket, taskKey(c.ID, t.ID), t); err != nil {
			return err
		}
	}
	if with != nil {
		return with(tx, c.ID)
	}
	return nil
}

// Busy returns a [*ConflictError] where a change that has not ended shares one of the subjects: what
// Submit would say of a change about them now.
func (r *Runner) Busy(subjects []string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conflict(&Change{Subjects: subjects})
}

// conflict finds the oldest change in the way of c.
func (r *Runner) conflict(c *Change) error {
	for _, l := range r.inOrder(0) {
		if both := shared(c.Subjects, l.change.Subjects); both != nil && l.change.ID != c.ID {
			return &ConflictError{Change: l.change.ID, Summary: l.change.Summary, Subjects: both}
		}
	}
	return nil
}

// Abort stops a change on behalf of by: running tasks are cancelled, those that have not run are held, and
// what is done is undone, but for lanes that are complete. It returns at once; the change ends when all
// that is through. Aborting twice is no error. The error wraps [ErrNotFound] or [ErrEnded] where there is
// nothing to stop.
func (r *Runner) Abort(id int, by string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.live[id]
	if l == nil || l.over() {
		if _, err := r.Get(id); err != nil {
			return err
		}
		return fmt.Errorf("cannot abort change %d: %w; \"copse rollback\" takes back what it did", id, ErrEnded)
	}
	if l.change.Aborted != nil {
		return nil
	}
	return r.step(l, func(d *draft) {
		d.editChange().Aborted = &Abort{By: by, At: d.now}
		d.event(Event{Type: ChangeAborted, Text: by})
	}, nil)
}

// Retry undoes, on behalf of by, what is stuck in a change that has ended: the operator has removed what
// stood in the way. The error wraps [ErrNotFound] or [ErrNotStuck], or is a [*ConflictError].
func (r *Runner) Retry(id int, by string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.base.Err() != nil || !r.resumed {
		return fmt.Errorf("cannot retry change %d: the agent is starting or stopping; try again in a moment", id)
	}
	if l := r.live[id]; l != nil {
		return fmt.Errorf("cannot retry change %d: it has not ended yet; wait for it first: %w", id, ErrNotStuck)
	}
	c, err := r.Get(id)
	if err != nil {
		return err
	}
	if c.Status() != Stuck {
		return fmt.Errorf("cannot retry change %d: %w", id, ErrNotStuck)
	}
	if err := r.conflict(c); err != nil {
		return err
	}
	l, err := newLive(c)
	if err != nil {
		return fmt.Errorf("cannot retry change %d: %w", id, err)
	}
	return r.step(l, func(d *draft) {
		edit := d.editChange()
		edit.Ended, edit.LastEvent = time.Time{}, 0
		d.event(Event{Type: ChangeRetried, Text: by})
		for _, t := range c.Tasks {
			if t.Status == Stuck {
				d.edit(t.ID).UndoError = ""
				d.flip(t.ID, Undo, "")
			}
		}
	}, nil)
}

// Get reads a change as it is stored now; the error wraps [ErrNotFound] where it does not exist.
func (r *Runner) Get(id int) (*Change, error) {
	var c *Change
	err := r.store.View(func(tx *store.Tx) error {
		var err error
		c, err = Load(tx, id)
		return err
	})
	return c, err
}

// Wait waits until the change has ended and returns it. Its error is about waiting (ctx has ended, the
// runner stops); how the change ended is for Change.Status and Change.Err to say.
func (r *Runner) Wait(ctx context.Context, id int) (*Change, error) {
	r.mu.Lock()
	l := r.live[id]
	r.mu.Unlock()
	if l != nil {
		select {
		case <-l.ended:
		case <-ctx.Done():
			return nil, fmt.Errorf("cannot wait for change %d: %w; it goes on without being watched", id, context.Cause(ctx))
		case <-r.base.Done():
			return nil, fmt.Errorf("cannot wait for change %d: %w", id, ErrStopped)
		}
	}
	return r.Get(id)
}

func (r *Runner) now() time.Time { return r.opts.Clock().UTC().Round(0) }

// inOrder returns the live changes, oldest first, but the named one before all others.
func (r *Runner) inOrder(first int) []*live {
	all := make([]*live, 0, len(r.live))
	for _, l := range r.live {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *live) int {
		switch {
		case a.change.ID == first:
			return -1
		case b.change.ID == first:
			return 1
		}
		return a.change.ID - b.change.ID
	})
	return all
}

// advance starts what may start in all changes. Where the store cannot be written it tries again later,
// until it can.
func (r *Runner) advance(first int) {
	for _, l := range r.inOrder(first) {
		if err := r.step(l, nil, nil); err != nil {
			r.complain(l, err)
			r.later()
		}
	}
}

// later calls advance after a pause, from a goroutine of its own, unless one waits already.
func (r *Runner) later() {
	if r.retrying || r.base.Err() != nil {
		return
	}
	r.retrying = true
	r.wg.Go(func() {
		r.opts.Pause(r.base)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.retrying = false
		r.advance(0)
	})
}

// complain tells everyone that the change cannot go on for now.
func (r *Runner) complain(l *live, err error) {
	text := fmt.Sprintf("change %d waits: its state cannot be stored: %v", l.change.ID, err)
	r.log.Error(text)
	r.feed.pass(Event{Time: r.now(), Type: TaskLog, Change: l.change.ID, Text: text})
}
