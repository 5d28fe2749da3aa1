// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"copse/internal/store"
)

func openStore(t testing.TB, path string) *store.Store {
	t.Helper()
	s, err := store.Open(path, store.WithoutSync())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newRunner(t testing.TB, s *store.Store, handlers map[string]Handler, opts Options) *Runner {
	t.Helper()
	if opts.Clock == nil {
		opts.Clock = testClock()
	}
	r, err := NewRunner(s, handlers, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// startRunner returns a runner on a store of its own.
func startRunner(t testing.TB, handlers map[string]Handler, opts Options) *Runner {
	t.Helper()
	r := newRunner(t, openStore(t, filepath.Join(t.TempDir(), "db")), handlers, opts)
	if err := r.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

func submit(t testing.TB, r *Runner, spec Spec) *Change {
	t.Helper()
	c, err := r.Submit(spec)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wait(t testing.TB, r *Runner, id int) *Change {
	t.Helper()
	c, err := r.Wait(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func nop(context.Context, *Run) error { return nil }

func one(kind string, subjects ...string) Spec {
	return Spec{Kind: "test", Summary: "one " + kind, Subjects: subjects, Tasks: []TaskSpec{{Kind: kind, Summary: "the " + kind}}}
}

// gate is a handler that waits until it is opened.
func gate() (Handler, func()) {
	open := make(chan struct{})
	return Handler{Do: func(ctx context.Context, _ *Run) error {
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}, sync.OnceFunc(func() { close(open) })
}

func TestConflicts(t *testing.T) {
	h, open := gate()
	r := startRunner(t, map[string]Handler{"gate": h, "nop": {Do: nop}}, Options{})
	first := submit(t, r, one("gate", "nova", "keystone"))

	for _, tc := range []struct {
		subjects []string
		want     []string // nil: no conflict
	}{
		{[]string{"glance", "keystone"}, []string{"keystone"}},
		{[]string{"nova", "keystone"}, []string{"keystone", "nova"}},
		{[]string{Everything}, []string{Everything}},
		{[]string{"glance"}, nil},
		{nil, nil},
	} {
		c, err := r.Submit(one("nop", tc.subjects...))
		var conflict *ConflictError
		switch {
		case tc.want == nil:
			if err != nil {
				t.Errorf("subjects %v: %v", tc.subjects, err)
			} else {
				wait(t, r, c.ID)
			}
		case !errors.As(err, &conflict):
			t.Errorf("subjects %v: got %v, want a conflict", tc.subjects, err)
		case conflict.Change != first.ID || !cmp.Equal(conflict.Subjects, tc.want):
			t.Errorf("subjects %v: conflict with %d about %v, want %d about %v", tc.subjects, conflict.Change, conflict.Subjects, first.ID, tc.want)
		case !strings.Contains(err.Error(), "copse abort 1"):
			t.Errorf("the error shows no way out: %v", err)
		}
	}
	open()
	wait(t, r, first.ID)
	wait(t, r, submit(t, r, one("nop", "nova")).ID)
}

func TestEverythingConflictsWithAll(t *testing.T) {
	h, open := gate()
	defer open()
	r := startRunner(t, map[string]Handler{"gate": h}, Options{})
	submit(t, r, one("gate", Everything))
	var conflict *ConflictError
	if _, err := r.Submit(one("gate", "nova")); !errors.As(err, &conflict) {
		t.Errorf("got %v, want a conflict", err)
	}
}

func TestSubmitRefuses(t *testing.T) {
	r := startRunner(t, map[string]Handler{"nop": {Do: nop}}, Options{})
	for name, tc := range map[string]struct {
		spec Spec
		want string
	}{
		"unknown kind": {one("other"), `is of kind "other", which has no handler`},
		"missing task": {Spec{Tasks: []TaskSpec{{Kind: "nop", WaitFor: []TaskID{2}}}}, "waits on task 2, which does not exist"},
		"circle": {Spec{Tasks: []TaskSpec{{Kind: "nop"}, {Kind: "nop", WaitFor: []TaskID{3}}, {Kind: "nop", WaitFor: []TaskID{2}}}},
			"waits on itself through others"},
		"itself":   {Spec{Tasks: []TaskSpec{{Kind: "nop", WaitFor: []TaskID{1}}}}, "waits on itself"},
		"bad data": {Spec{Tasks: []TaskSpec{{Kind: "nop", Data: map[string]any{"f": func() {}}}}}, `data "f"`},
		"commit":   {Spec{Commit: func(*store.Tx, int) error { return errors.New("the plan is stale") }}, "the plan is stale"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := r.Submit(tc.spec); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	if c := submit(t, r, one("nop")); c.ID != 1 {
		t.Errorf("refused changes used up numbers: the first is %d", c.ID)
	}
}

func TestSubmitBeforeResumeAndAfterStop(t *testing.T) {
	r := newRunner(t, openStore(t, filepath.Join(t.TempDir(), "db")), map[string]Handler{"nop": {Do: nop}}, Options{})
	if _, err := r.Submit(one("nop")); err == nil {
		t.Error("a runner that has not resumed takes changes, and would miss conflicts")
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := r.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.Resume(ctx); err == nil {
		t.Error("a runner resumes twice")
	}
	cancel()
	<-r.base.Done()
	if _, err := r.Submit(one("nop")); err == nil {
		t.Error("a runner that is stopping takes changes")
	}
	if _, open := <-r.Subscribe(t.Context(), 0, 0); open {
		t.Error("a runner that is stopping sends events")
	}
}

func TestHandlersAreChecked(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "db"))
	ask := func(context.Context, *Run) (bool, error) { return true, nil }
	for name, h := range map[string]Handler{
		"no do": {}, "ask without Ask": {Do: nop, OnResume: Ask}, "Ask without ask": {Do: nop, Ask: ask},
	} {
		if _, err := NewRunner(s, map[string]Handler{"k": h}, Options{}); err == nil || !strings.Contains(err.Error(), `"k"`) {
			t.Errorf("%s: got %v, want an error that names the kind", name, err)
		}
	}
}

// TestLimits holds the number of handlers that run at once against both limits, over two changes.
func TestLimits(t *testing.T) {
	var now, most, nowSlow, mostSlow atomic.Int32
	count := func(now, most *atomic.Int32) func() {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		return func() { now.Add(-1) }
	}
	meet := make(chan struct{}) // two meet here, or none gets on
	r := startRunner(t, map[string]Handler{
		"fast": {Do: func(ctx context.Context, _ *Run) error {
			defer count(&now, &most)()
			select {
			case meet <- struct{}{}:
			case <-meet:
			case <-ctx.Done():
				return ctx.Err()
			}
			return nil
		}},
		"slow": {Do: func(context.Context, *Run) error {
			defer count(&now, &most)()
			defer count(&nowSlow, &mostSlow)()
			return nil
		}},
	}, Options{Parallel: 3, PerKind: map[string]int{"slow": 1}})
	var ids []int
	for range 2 {
		spec := Spec{Kind: "test"}
		for i := range 20 {
			spec.Add(TaskSpec{Kind: []string{"fast", "slow"}[i%2], Lane: i})
		}
		ids = append(ids, submit(t, r, spec).ID)
	}
	for _, id := range ids {
		if c := wait(t, r, id); c.Status() != Done {
			t.Errorf("change %d is %s: %v", id, c.Status(), c.Err())
		}
	}
	if most.Load() > 3 || most.Load() < 2 {
		t.Errorf("%d tasks ran at once, want 2 or 3", most.Load())
	}
	if mostSlow.Load() != 1 {
		t.Errorf("%d tasks of the limited kind ran at once, want 1", mostSlow.Load())
	}
}

func TestRetention(t *testing.T) {
	r := startRunner(t, map[string]Handler{"nop": {Do: nop}}, Options{Keep: 3})
	for range 8 {
		wait(t, r, submit(t, r, one("nop")).ID)
	}
	var ids []int
	count := map[string]int{}
	if err := r.store.View(func(tx *store.Tx) error {
		all, err := List(tx, 0)
		for _, c := range all {
			ids = append(ids, c.ID)
		}
		for _, bucket := range []string{taskBucket, eventBucket} {
			keys, err := store.Keys(tx, bucket, "")
			if err != nil {
				return err
			}
			count[bucket] = len(keys)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if want := []int{8, 7, 6}; !cmp.Equal(ids, want) {
		t.Errorf("changes %v are kept, want %v", ids, want)
	}
	// created, doing, done, ended
	if want := map[string]int{taskBucket: 3, eventBucket: 3 * 4}; !cmp.Equal(count, want) {
		t.Errorf("documents kept: %v, want %v", count, want)
	}
	if _, err := r.Get(1); !errors.Is(err, ErrNotFound) {
		t.Errorf("a change that was dropped gives %v, want ErrNotFound", err)
	}
	for range r.Subscribe(t.Context(), 1, 0) {
		t.Error("a change that was dropped has events")
	}
	if err := r.Abort(1, "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("abort gives %v, want ErrNotFound", err)
	}
	if err := r.Abort(8, "x"); !errors.Is(err, ErrEnded) {
		t.Errorf("abort gives %v, want ErrEnded", err)
	}
	if err := r.Retry(8, "x"); !errors.Is(err, ErrNotStuck) {
		t.Errorf("retry gives %v, want ErrNotStuck", err)
	}
	if err := r.store.View(func(tx *store.Tx) error {
		some, err := List(tx, 1)
		if err == nil && (len(some) != 1 || some[0].ID != 8 || len(some[0].Tasks) != 1) {
			t.Errorf("the newest change is %+v", some)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestDataPassesBetweenTasksAndSurvives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	type port struct{ Port int }
	s := openStore(t, path)
	r := newRunner(t, s, map[string]Handler{
		"choose": {Do: func(_ context.Context, t *Run) error {
			return errors.Join(t.Set("port", port{8774}), t.SetChangeData("chosen", t.Task().Subject))
		}},
		"use": {Do: func(_ context.Context, r *Run) error {
			var p port
			var chosen, given string
			found, err := r.Of(1, "port", &p)
			if err != nil || !found || p.Port != 8774 {
				t.Errorf("data of task 1: %v, %t, %v", p, found, err)
			}
			if found, err := r.ChangeData("chosen", &chosen); err != nil || !found || chosen != "nova" {
				t.Errorf("data of the change: %q, %t, %v", chosen, found, err)
			}
			if found, err := r.Get("given", &given); err != nil || !found || given != "x" {
				t.Errorf("data it was submitted with: %q, %t, %v", given, found, err)
			}
			if found, err := r.Get("missing", &given); err != nil || found {
				t.Errorf("missing data: %t, %v", found, err)
			}
			if _, err := r.Get("given", &p); err == nil {
				t.Error("data of another type is read without an error")
			}
			if _, err := r.Of(9, "given", &p); err == nil {
				t.Error("data of a missing task is read without an error")
			}
			for i := range mostLines + 5 {
				r.Logf("line %d %s", i, strings.Repeat("é", mostInLine))
			}
			return nil
		}},
	}, Options{})
	if err := r.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	spec := Spec{Kind: "test"}
	first := spec.Add(TaskSpec{Kind: "choose", Subject: "nova"})
	spec.Add(TaskSpec{Kind: "use", WaitFor: []TaskID{first}, Data: map[string]any{"given": "x"}})
	c := wait(t, r, submit(t, r, spec).ID)
	if got := string(c.Task(1).Data["port"]); got != `{"Port":8774}` {
		t.Errorf("stored data is %s", got)
	}
	log := c.Task(2).Log
	if len(log) != mostLines || !strings.HasPrefix(log[mostLines-1].Text, "line 104 é") || len(log[0].Text) > mostInLine+len("…") {
		t.Errorf("%d lines are kept, the last %.10q of %d bytes", len(log), log[len(log)-1].Text, len(log[0].Text))
	}
}

func TestCommit(t *testing.T) {
	var again error
	r := startRunner(t, map[string]Handler{
		"twice": {Do: func(_ context.Context, r *Run) error {
			if err := r.Commit(func(tx *store.Tx) error { return store.Put(tx, "marks", "a", 1) }); err != nil {
				return err
			}
			again = r.Commit(func(tx *store.Tx) error { return store.Put(tx, "marks", "b", 1) })
			return errors.New("too late to matter")
		}},
		"refused": {Do: func(_ context.Context, r *Run) error {
			return r.Commit(func(tx *store.Tx) error {
				return errors.Join(store.Put(tx, "marks", "c", 1), errors.New("not like this"))
			})
		}},
	}, Options{})
	if c := wait(t, r, submit(t, r, one("twice")).ID); c.Status() != Done {
		t.Errorf("a change whose task committed is %s: %v", c.Status(), c.Err())
	}
	if again == nil {
		t.Error("a task may commit twice")
	}
	c := wait(t, r, submit(t, r, one("refused")).ID)
	if c.Status() != Error || !strings.Contains(c.Err().Error(), "not like this") {
		t.Errorf("a change whose task could not commit is %s: %v", c.Status(), c.Err())
	}
	if err := r.store.View(func(tx *store.Tx) error {
		keys, err := store.Keys(tx, "marks", "")
		if want := []string{"a"}; !cmp.Equal(keys, want) {
			t.Errorf("%v were written, want %v", keys, want)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestFullDisk has writes fail for a while: the change waits, says so, and goes on where it was.
func TestFullDisk(t *testing.T) {
	var full atomic.Bool
	var did, paused atomic.Int32
	s := openStore(t, filepath.Join(t.TempDir(), "db"))
	r := newRunner(t, s, map[string]Handler{"k": {Do: func(context.Context, *Run) error {
		full.Store(did.Add(1) == 1) // it fills when the first task has done its work
		return nil
	}}}, Options{Pause: func(context.Context) {
		if paused.Add(1) == 3 {
			full.Store(false)
		}
	}})
	r.update = func(fn func(*store.Tx) error) error {
		if full.Load() {
			return fmt.Errorf("cannot write: %w", syscall.ENOSPC)
		}
		return s.Update(fn)
	}
	if err := r.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	events := r.Subscribe(t.Context(), 0, 0)
	spec := Spec{Kind: "test"}
	spec.Add(TaskSpec{Kind: "k", WaitFor: []TaskID{}})
	spec.Add(TaskSpec{Kind: "k", WaitFor: []TaskID{1}})
	c := submit(t, r, spec)
	if c = wait(t, r, c.ID); c.Status() != Done {
		t.Errorf("the change is %s: %v", c.Status(), c.Err())
	}
	if did.Load() != 2 || c.Task(1).Attempts != 1 {
		t.Errorf("2 tasks were done %d times, the first was tried %d times; want 2 and 1", did.Load(), c.Task(1).Attempts)
	}
	told := false
	for e := range events {
		if e.Type == ChangeEnded {
			break
		}
		told = told || e.Type == TaskLog && strings.Contains(e.Text, "no space left")
	}
	if !told {
		t.Error("nobody was told why the change waits")
	}
}

// TestFullDiskAtTheStart has the write fail that starts the first task.
func TestFullDiskAtTheStart(t *testing.T) {
	var writes atomic.Int32
	s := openStore(t, filepath.Join(t.TempDir(), "db"))
	r := newRunner(t, s, map[string]Handler{"nop": {Do: nop}}, Options{Pause: func(context.Context) {}})
	r.update = func(fn func(*store.Tx) error) error {
		if n := writes.Add(1); n >= 2 && n < 5 {
			return syscall.ENOSPC
		}
		return s.Update(fn)
	}
	if err := r.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := wait(t, r, submit(t, r, one("nop")).ID); c.Status() != Done {
		t.Errorf("the change is %s", c.Status())
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	h, open := gate()
	r := startRunner(t, map[string]Handler{"gate": h}, Options{})
	c := submit(t, r, one("gate"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Wait(ctx, c.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that waiting was cancelled", err)
	}
	if _, err := r.Wait(t.Context(), 99); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	open()
	wait(t, r, c.ID)
}

// TestUnknownKind resumes a change with tasks that this version of the program does not know.
func TestUnknownKind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	s := openStore(t, path)
	h, open := gate()
	defer open()
	old := newRunner(t, s, map[string]Handler{"nop": {Do: nop}, "gate": h}, Options{Parallel: 1})
	if err := old.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	spec := Spec{Kind: "test"}
	spec.Add(TaskSpec{Kind: "nop", Lane: 1})
	spec.Add(TaskSpec{Kind: "gate", Lane: 1, WaitFor: []TaskID{1}})
	spec.Add(TaskSpec{Kind: "gate", Lane: 2})
	c := submit(t, old, spec)
	for e := range old.Subscribe(t.Context(), c.ID, 0) {
		if e.Task == 2 && e.Status == Doing {
			break
		}
	}
	if err := old.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := newRunner(t, s, map[string]Handler{"nop": {Do: nop}}, Options{})
	if err := r.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	c = wait(t, r, c.ID)
	if got, want := outcome(c), "t1:stuck t2:stuck t3:error = stuck"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !strings.Contains(c.Err().Error(), `does not know tasks of kind "gate"`) {
		t.Errorf("the error is %v", c.Err())
	}
}

// What has begun is ended before more is begun.
func TestPriority(t *testing.T) {
	var mu sync.Mutex
	var order []string
	note := func(_ context.Context, run *Run) error {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, run.Task().Summary)
		return nil
	}
	r := startRunner(t, map[string]Handler{"make": {Do: note}, "stop": {Do: note}, "start": {Do: note}}, Options{
		Parallel: 1, Priority: map[string]int{"stop": -1, "start": 1},
	})
	spec := Spec{Kind: "test", Summary: "replace three", Subjects: []string{"a", "b", "c"}}
	for lane, name := range spec.Subjects {
		add := func(kind string, wait ...TaskID) TaskID {
			return spec.Add(TaskSpec{Kind: kind, Summary: kind + " " + name, Subject: name, Lane: lane, WaitFor: wait})
		}
		add("start", add("stop", add("make")))
	}
	if c := wait(t, r, submit(t, r, spec).ID); c.Status() != Done {
		t.Fatalf("the change has ended as %s", c.Status())
	}
	want := []string{"make a", "make b", "make c", "stop a", "start a", "stop b", "start b", "stop c", "start c"}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("the order of the tasks (-want +got):\n%s", diff)
	}
}
