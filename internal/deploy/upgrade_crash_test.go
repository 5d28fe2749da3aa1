// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"sync/atomic"
	"testing"

	"copse/internal/change"
	"copse/internal/plan"
	"copse/internal/tree"
)

// TestCrashInUpgradesAndRollbacks kills the agent at each boundary of each: the next one ends what was
// begun, so that each container is at the old or at the new release with the pin that belongs to it.
func TestCrashInUpgradesAndRollbacks(t *testing.T) {
	class := tree.RollbackUntilContract
	to := func(names ...string) Request {
		return upgrade(released(phases(class), "2026.1", ofAPI...), plan.Options{Names: names})
	}
	finalize := to(api...)
	finalize.Options.Finalize = true
	atomic := to(api...)
	atomic.Atomic = true
	restore := rollback(plan.Options{Names: api, Restore: true})
	for name, c := range map[string]struct {
		before  []Request
		request Request
		want    string // the release of what was named, once all is done
	}{
		"upgrade":          {request: to(api...), want: "2026.1"},
		"atomic upgrade":   {request: atomic, want: "2026.1"},
		"finalize":         {request: finalize, want: "2026.1"},
		"rollback":         {before: []Request{to(api...)}, request: rollback(plan.Options{Names: api}), want: "2025.1"},
		"rollback restore": {before: []Request{finalize}, request: restore, want: "2025.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for at := 1; ; at += stride {
				w := newWorld(t)
				mustEnd(t, w.do(up(phases(class))), change.Done)
				for _, r := range c.before {
					mustEnd(t, w.do(r), change.Done)
				}
				crashed := w.crash(c.request, at)
				w.check()
				for _, name := range []string{"api", "worker"} {
					if got := w.active(name).Container.Release; got != c.want {
						t.Errorf("%s is at %s; want %s", name, got, c.want)
					}
				}
				for _, pin := range w.pins() {
					if pin.Release != c.want {
						t.Errorf("pin %+v; want none but at %s", pin, c.want)
					}
				}
				w.nothingLeft(phases(class))
				if t.Failed() {
					t.Fatalf("with a crash at boundary %d", at)
				}
				if !crashed {
					if at < 20 {
						t.Errorf("there were only %d boundaries", at-1)
					}
					return
				}
			}
		})
	}
}

// crash runs a request in a life that crashes at a boundary, and another life to its end, which is a good
// one. It says whether the crash came about.
func (w *world) crash(r Request, at int) bool {
	w.t.Helper()
	l := w.begin(at)
	c, _, err := l.deployer.Submit(context.Background(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	ended, crashed := l.wait(c.ID)
	l.end()
	if crashed {
		l = w.begin(0)
		ended, _ = l.wait(c.ID)
		l.end()
	}
	if ended.Status() != change.Done {
		w.t.Errorf("the change ended %s: %v", ended.Status(), ended.Err())
	}
	return crashed
}

// TestStopInUpgrades tells the agent to stop at each call of the engine, which is cut off: the next agent
// goes on with that task, and requests go where they are to go.
func TestStopInUpgrades(t *testing.T) {
	class := tree.RollbackUntilContract
	for at := 1; ; at += stride {
		w := newWorld(t)
		mustEnd(t, w.do(up(phases(class))), change.Done)
		l := w.begin(0)
		var calls, id atomic.Int64
		w.engine.Fault = func(string, string) error {
			number := id.Load()
			if number == 0 || calls.Add(1) != int64(at) {
				return nil
			}
			go func() { _ = l.deployer.Stop(context.Background()) }() // end waits for it
			_, _ = l.deployer.Changes().Wait(context.Background(), int(number))
			// As a client whose context ends while the engine is at work.
			return context.Canceled
		}
		c, _, err := l.deployer.Submit(context.Background(), upgrade(released(phases(class), "2026.1", ofAPI...), plan.Options{Names: api}))
		if err != nil {
			t.Fatal(err)
		}
		id.Store(int64(c.ID))
		_, err = l.deployer.Changes().Wait(context.Background(), c.ID)
		l.end()
		w.engine.Fault = nil
		if err == nil {
			w.check()
			if at < 20 {
				t.Errorf("there were only %d calls", at-1)
			}
			return
		}
		l = w.begin(0)
		ended, _ := l.wait(c.ID)
		l.end()
		mustEnd(t, ended, change.Done)
		w.check()
		w.nothingLeft(phases(class))
		if t.Failed() {
			t.Fatalf("with a stop at call %d (%v)", at, err)
		}
	}
}
