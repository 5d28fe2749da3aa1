// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"copse/internal/store"
)

// The mini-language of the tests. A set-up is a list of words; ";" starts a new group, and lane:N holds for
// the tasks of its group:
//
//	t3<t1,t2      task 3 waits on tasks 1 and 2
//	atomic        the change is atomic
//	parallel:4    up to four tasks run at once (1 unless given)
//	t2:WORD       how task 2 behaves:
//	  do-error      its do fails, and cleans up after itself
//	  do-left       its do fails, and so does its clean-up
//	  do-panic      its do panics when it is half done
//	  do-wait       its do waits to be cancelled, cleans up, and fails
//	  do-deaf       its do waits to be cancelled, and ends well all the same
//	  do-abort      its do has the change aborted, and goes on
//	  undo-error    its undo fails until the operator mends it
//	  undo-abort    its undo has the change aborted, and goes on
//	  ask, fail     what its kind declares for a resume (rerun unless given)
//	  after:tM      its do first waits until task M is final
//
// With "commit" handlers end by writing to the store, and that by Run.Commit.
// With "unordered" the order of the calls is left open. A result is what was called, in order ("!" marks a failure), then "|", the statuses of the tasks that are
// not done, "=", and the status of the change.
type setup struct {
	spec     Spec
	parallel int
	behave   map[TaskID][]string

	unordered bool
	commits   bool
}

func (s setup) does(id TaskID, word string) bool { return slices.Contains(s.behave[id], word) }

func taskID(t testing.TB, s string) TaskID {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimPrefix(s, "t"))
	if err != nil || n < 1 {
		t.Fatalf("no task number: %q", s)
	}
	return TaskID(n)
}

func parse(t testing.TB, text string) setup {
	t.Helper()
	s := setup{parallel: 1, behave: map[TaskID][]string{}, spec: Spec{Kind: "test", Summary: text, User: "tester"}}
	for group := range strings.SplitSeq(text, ";") {
		lane, first := 0, len(s.spec.Tasks)
		for word := range strings.FieldsSeq(group) {
			name, arg, colon := strings.Cut(word, ":")
			switch {
			case word == "atomic":
				s.spec.Atomic = true
			case word == "unordered":
				s.unordered = true
			case word == "commit":
				s.commits = true
			case colon && name == "lane":
				lane, _ = strconv.Atoi(arg)
			case colon && name == "parallel":
				s.parallel, _ = strconv.Atoi(arg)
			case colon:
				id := taskID(t, name)
				s.behave[id] = append(s.behave[id], arg)
			default:
				name, deps, _ := strings.Cut(word, "<")
				ts := TaskSpec{Kind: "rerun", Summary: name, Subject: name}
				for dep := range strings.SplitSeq(deps, ",") {
					if dep != "" {
						ts.WaitFor = append(ts.WaitFor, taskID(t, dep))
					}
				}
				if id := s.spec.Add(ts); id != taskID(t, name) {
					t.Fatalf("%q: tasks are given in order, and %s is not number %d", text, name, id)
				}
			}
		}
		for i := first; i < len(s.spec.Tasks); i++ {
			s.spec.Tasks[i].Lane = lane
		}
	}
	for id := range s.behave {
		for _, kind := range []string{"ask", "fail"} {
			if s.does(id, kind) {
				s.spec.Tasks[id-1].Kind = kind
			}
		}
	}
	return s
}

// world is what the handlers act on. It outlives the crashes of the program.
type world struct {
	setup setup

	mu      sync.Mutex
	made    map[TaskID]int // 1: half done, 2: done
	journal []string
	mended  bool // undo-error is over
}

func newWorld(s setup) *world {
	return &world{setup: s, made: map[TaskID]int{}}
}

// life is one life of the program: a store, a runner, and the moment it crashes.
type life struct {
	t       testing.TB
	world   *world
	store   *store.Store
	runner  *Runner
	crashAt int // the boundary at which it crashes, from 1; 0 for never
	abortAt int // the boundary at which the change is aborted; 0 for never

	mu      sync.Mutex
	passed  int // boundaries so far
	dead    bool
	crashed chan struct{}
}

func testClock() func() time.Time {
	var mu sync.Mutex
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Second)
		return now
	}
}

func begin(t testing.TB, w *world, path string, crashAt, abortAt int) *life {
	t.Helper()
	s, err := store.Open(path, store.WithoutSync())
	if err != nil {
		t.Fatal(err)
	}
	l := &life{t: t, world: w, store: s, crashAt: crashAt, abortAt: abortAt, crashed: make(chan struct{})}
	h := Handler{Do: l.do, Undo: l.undo, Cleanup: l.cleanup}
	ask, fail := h, h
	ask.OnResume, ask.Ask = Ask, l.ask
	fail.OnResume = Fail
	l.runner, err = NewRunner(s, map[string]Handler{"rerun": h, "ask": ask, "fail": fail}, Options{
		Clock: testClock(), Parallel: w.setup.parallel, Failpoint: l.boundary,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.runner.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

// end lets the life go: what was not stored is lost.
func (l *life) end() {
	l.t.Helper()
	if err := l.runner.Stop(context.Background()); err != nil {
		l.t.Fatal(err)
	}
	if l.world.setup.commits {
		l.checkMarks()
	}
	if err := l.store.Close(); err != nil {
		l.t.Fatal(err)
	}
}

func mark(id TaskID) string { return fmt.Sprint(id) }

// checkMarks looks, after a crash or at the end, for what handlers committed: it is there with a task that
// is done, and not with one of which nothing remains.
func (l *life) checkMarks() {
	l.t.Helper()
	if err := l.store.View(func(tx *store.Tx) error {
		c, err := Load(tx, 1)
		if err != nil {
			return err
		}
		for _, t := range c.Tasks {
			var id TaskID
			found, err := store.Get(tx, "marks", mark(t.ID), &id)
			if err != nil {
				return err
			}
			if found && t.Status != Done && (t.Status == Doing || !t.Status.busy()) || !found && t.Status == Done {
				l.t.Errorf("task %d is %s, and what it commits is there: %t", t.ID, t.Status, found)
			}
		}
		return nil
	}); err != nil {
		l.t.Fatal(err)
	}
}

// wait waits for the end of change 1 or a crash, and says which.
func (l *life) wait() (c *Change, crashed bool) {
	l.t.Helper()
	ctx, cancel := context.WithCancel(l.t.Context())
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-l.crashed:
			cancel()
		case <-stop:
		}
	}()
	c, err := l.runner.Wait(ctx, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return nil, true
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return c, false
}

// boundary is where the program may crash: nothing it does after that has an effect.
func (l *life) boundary(string) {
	l.mu.Lock()
	if !l.dead {
		l.passed++
		if l.passed == l.crashAt {
			l.dead = true
			close(l.crashed)
		}
	}
	dead, abort := l.dead, l.passed == l.abortAt
	l.mu.Unlock()
	if dead {
		runtime.Goexit()
	}
	if abort {
		l.abort()
	}
}

func (l *life) abort() {
	if err := l.runner.Abort(1, "tester"); err != nil && !errors.Is(err, ErrEnded) {
		l.t.Error(err)
	}
}

// act does something in the world, unless the program is dead.
func (l *life) act(fn func(w *world)) {
	l.mu.Lock()
	if l.dead {
		l.mu.Unlock()
		runtime.Goexit()
	}
	defer l.mu.Unlock()
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	fn(l.world)
}

func (l *life) write(id TaskID, what string) {
	l.act(func(w *world) { w.journal = append(w.journal, fmt.Sprintf("t%d:%s", id, what)) })
}

func (l *life) make(id TaskID, state int) {
	l.act(func(w *world) {
		if state == 0 {
			delete(w.made, id)
		} else {
			w.made[id] = max(w.made[id], state)
		}
	})
}

func (l *life) do(ctx context.Context, t *Run) error {
	id, s := t.Task().ID, l.world.setup
	l.act(func(w *world) {
		for _, dep := range t.Task().WaitFor {
			if w.made[dep] != 2 {
				l.t.Errorf("task %d runs without task %d, which it waits on", id, dep)
			}
		}
	})
	for _, word := range s.behave[id] {
		if other, ok := strings.CutPrefix(word, "after:"); ok {
			l.await(ctx, taskID(l.t, other))
		}
	}
	if err := t.Set("wanted", int(id)); err != nil {
		return err
	}
	l.make(id, 1)
	l.boundary("half")
	if s.does(id, "do-abort") {
		l.abort()
	}
	switch {
	case s.does(id, "do-error"):
		l.make(id, 0)
		l.write(id, "do!")
		return errors.New("as told")
	case s.does(id, "do-left"):
		l.write(id, "do!")
		return NotCleanedUp(errors.New("as told"))
	case s.does(id, "do-panic"):
		l.write(id, "do!")
		panic("as told")
	case s.does(id, "do-wait"):
		<-ctx.Done()
		if context.Cause(ctx) == ErrCancelled {
			l.make(id, 0)
			l.write(id, "do!")
		}
		return ctx.Err()
	case s.does(id, "do-deaf"):
		<-ctx.Done()
		if context.Cause(ctx) != ErrCancelled {
			return ctx.Err()
		}
	}
	l.make(id, 2)
	l.write(id, "do")
	if s.commits {
		return t.Commit(func(tx *store.Tx) error { return store.Put(tx, "marks", mark(id), id) })
	}
	return nil
}

// await waits until another task is final or being undone.
func (l *life) await(ctx context.Context, id TaskID) {
	for e := range l.runner.Subscribe(ctx, 1, 0) {
		if e.Type == TaskStatus && e.Task == id && e.Status.Final() {
			return
		}
	}
}

func (l *life) undo(_ context.Context, t *Run) error {
	id, s := t.Task().ID, l.world.setup
	if s.does(id, "undo-abort") {
		l.abort()
	}
	if s.does(id, "undo-error") && !l.world.isMended() {
		l.write(id, "undo!")
		return errors.New("as told")
	}
	var wanted int
	if found, err := t.Get("wanted", &wanted); err != nil || found && wanted != int(id) {
		l.t.Errorf("task %d is undone with wanted = %d, %v", id, wanted, err)
	}
	l.act(func(w *world) {
		if w.made[id] == 2 {
			w.made[id] = 1
		}
	})
	l.boundary("half")
	l.make(id, 0)
	l.write(id, "undo")
	if s.commits {
		return t.Commit(func(tx *store.Tx) error { return store.Delete(tx, "marks", mark(id)) })
	}
	return nil
}

func (l *life) ask(_ context.Context, t *Run) (done bool, err error) {
	l.act(func(w *world) { done = w.made[t.Task().ID] == 2 })
	l.boundary("asked")
	return done, nil
}

func (l *life) cleanup(_ context.Context, t *Run) error {
	for _, other := range t.Change().Tasks {
		if !other.Status.Final() {
			l.t.Errorf("task %d is cleaned up while task %d is %s", t.Task().ID, other.ID, other.Status)
		}
	}
	return nil
}

func (w *world) isMended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mended
}

// rest returns the tasks that wait on id, directly or not.
func (w *world) rest(id TaskID) []TaskID {
	var all []TaskID
	for i, t := range w.setup.spec.Tasks {
		d := TaskID(i + 1)
		if slices.Contains(t.WaitFor, id) && !slices.Contains(all, d) {
			all = append(all, d)
			for _, e := range w.rest(d) {
				if !slices.Contains(all, e) {
					all = append(all, e)
				}
			}
		}
	}
	return all
}

// check holds the end of a change against what is promised.
func (w *world) check(t testing.TB, c *Change) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	lanes := map[int]map[Status]int{}
	for _, task := range c.Tasks {
		lane := task.Lane
		if c.Atomic {
			lane = 0
		}
		if lanes[lane] == nil {
			lanes[lane] = map[Status]int{}
		}
		lanes[lane][task.Status]++
		if !task.Status.Final() {
			t.Errorf("the change has ended, and task %d is %s", task.ID, task.Status)
		}
		switch made := w.made[task.ID]; {
		case task.Status == Done && made != 2, task.Status != Done && task.Status != Stuck && made != 0:
			t.Errorf("task %d is %s, and in the world %d (0 nothing, 1 half, 2 all)", task.ID, task.Status, made)
		}
		// Whoever asks does not do again what is done; what can be neither asked nor repeated runs once.
		did := 0
		for _, entry := range w.journal {
			if entry == fmt.Sprintf("t%d:do", task.ID) {
				did++
			}
		}
		if task.Kind == "ask" && did > 1 || task.Kind == "fail" && task.Attempts > 1 {
			t.Errorf("task %d, of kind %s, was done %d times in %d attempts", task.ID, task.Kind, did, task.Attempts)
		}
		if want := c.Status() != Stuck && task.Attempts > 0; task.Cleaned != want {
			t.Errorf("task %d was cleaned up: %t, want %t", task.ID, task.Cleaned, want)
		}
	}
	for lane, count := range lanes {
		if n := count[Done]; n > 0 && len(count) > 1 {
			t.Errorf("lane %d is half done: %v", lane, count)
		}
	}
	if c.Ended.IsZero() || c.LastEvent == 0 {
		t.Errorf("the change has ended without a time or a last event: %+v", c)
	}
}

// steps are the flips of status there may be, as the package comment draws them.
var steps = map[Status][]Status{
	Do:      {Doing, Hold},
	Doing:   {Done, Error, Undone, Undo, Stuck},
	Done:    {Undo, Stuck},
	Undo:    {Undoing, Stuck},
	Undoing: {Undone, Stuck},
	Stuck:   {Undo},
}

// replay holds the stored events against the rules: which flips there are, and what must be so at each.
func (l *life) replay(c *Change) {
	l.t.Helper()
	at := map[TaskID]Status{}
	for _, t := range c.Tasks {
		at[t.ID] = Do
	}
	var types []EventType
	last := uint64(0)
	for e := range l.runner.Subscribe(l.t.Context(), c.ID, 0) {
		if e.Seq <= last {
			l.t.Errorf("event %d comes after event %d", e.Seq, last)
		}
		last = e.Seq
		if e.Type != TaskStatus {
			types = append(types, e.Type)
			continue
		}
		if !slices.Contains(steps[at[e.Task]], e.Status) {
			l.t.Errorf("task %d went from %s to %s", e.Task, at[e.Task], e.Status)
		}
		at[e.Task] = e.Status
		switch e.Status {
		case Doing:
			for _, w := range c.Task(e.Task).WaitFor {
				if at[w] != Done {
					l.t.Errorf("task %d started while task %d, which it waits on, was %s", e.Task, w, at[w])
				}
			}
		case Undoing:
			for _, d := range l.world.rest(e.Task) {
				if at[d].busy() || at[d] == Stuck {
					l.t.Errorf("task %d was undone while task %d, which rests on it, was %s", e.Task, d, at[d])
				}
			}
		}
	}
	for _, t := range c.Tasks {
		if at[t.ID] != t.Status {
			l.t.Errorf("by its events task %d is %s, as it is stored %s", t.ID, at[t.ID], t.Status)
		}
	}
	if types[0] != ChangeCreated || types[len(types)-1] != ChangeEnded || last != c.LastEvent {
		l.t.Errorf("the change's own events are %v, the last of all %d; want the first to create it and number %d to end it", types, last, c.LastEvent)
	}
}

// outcome is the second half of a result.
func outcome(c *Change) string {
	var words []string
	for _, t := range c.Tasks {
		if t.Status != Done {
			words = append(words, fmt.Sprintf("t%d:%s", t.ID, t.Status))
		}
	}
	return strings.TrimSpace(strings.Join(words, " ") + " = " + string(c.Status()))
}
