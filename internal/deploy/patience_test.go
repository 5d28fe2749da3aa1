// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"copse/internal/change"
	"copse/internal/engine"
	"copse/internal/tree"
)

// outage makes the engine unreachable for some calls in a row.
type outage struct {
	mu           sync.Mutex
	armed        bool
	calls        int // since it was armed
	first, count int
}

func (o *outage) fault(string, string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.armed {
		return nil
	}
	o.calls++
	if o.calls >= o.first && o.calls < o.first+o.count {
		return fmt.Errorf("cannot reach the engine: %w", engine.ErrUnavailable)
	}
	return nil
}

func (o *outage) arm(armed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.armed = armed
}

// TestEngineGoesAway takes the engine away at every call of a change, for one call and for so
// long that what a step does after a failure fails as well, before and after the call has taken
// effect. The change waits and ends as if nothing had happened.
func TestEngineGoesAway(t *testing.T) {
	for _, lost := range []bool{false, true} {
		for _, count := range []int{1, 9} {
			for first := 1; ; first += stride {
				o := &outage{first: first, count: count}
				w := newWorld(t)
				if lost {
					w.engine.Lost = o.fault
				} else {
					w.engine.Fault = o.fault
				}
				changed := with("api", mode("better"))
				changed.Container("db").Spec.Environment["MODE"] = "better"
				for _, request := range []Request{up(cloud()), up(changed)} {
					l := w.begin(0)
					p, err := l.deployer.Plan(context.Background(), request)
					if err != nil {
						t.Fatal(err)
					}
					o.arm(true)
					// The images and volumes are looked at first, which may meet the outage too:
					// that is refused, and nothing has been touched.
					request.Revision = &p.Revision
					c, _, err := l.deployer.Submit(context.Background(), request)
					for err != nil {
						c, _, err = l.deployer.Submit(context.Background(), request)
					}
					c, _ = l.wait(c.ID)
					o.arm(false)
					l.end()
					if c.Status() != change.Done {
						t.Fatalf("engine away at call %d for %d calls (answers lost: %v): change ended %s: %v", first, count, lost, c.Status(), c.Err())
					}
				}
				w.check()
				if t.Failed() {
					t.Fatalf("engine away at call %d for %d calls (answers lost: %v)", first, count, lost)
				}
				if o.calls < first {
					break
				}
			}
		}
	}
}

// TestAbortWhileTheEngineIsAway aborts a change that waits for the engine: it does not wait on.
func TestAbortWhileTheEngineIsAway(t *testing.T) {
	w := newWorld(t)
	away := make(chan struct{})
	var once sync.Once
	w.engine.Fault = func(op, _ string) error {
		if op == "Create" {
			once.Do(func() { close(away) })
		}
		select {
		case <-away:
			if op == "Create" || op == "List" {
				return fmt.Errorf("cannot reach the engine: %w", engine.ErrUnavailable)
			}
		default:
		}
		return nil
	}
	l := w.begin(0)
	defer l.end()
	c, _, err := l.deployer.Submit(context.Background(), up(cloud()))
	if err != nil {
		t.Fatal(err)
	}
	<-away
	if err := l.deployer.Changes().Abort(c.ID, "a test"); err != nil {
		t.Fatal(err)
	}
	c, _ = l.wait(c.ID)
	if c.Status() == change.Done {
		t.Errorf("the aborted change ended %s; want it undone", c.Status())
	}
}

// TestGraceOnTrial: what has not proved itself has nothing to hand over, but for a proxy, which accepts
// connections from its first moment.
func TestGraceOnTrial(t *testing.T) {
	for name, c := range map[string]struct {
		declared, want time.Duration
		proxy          *tree.Proxy
	}{
		"as declared where that is short": {declared: 3 * time.Second, want: 3 * time.Second},
		"no longer than a trial's":        {declared: time.Hour, want: trialGrace},
		"all of it for a proxy":           {declared: time.Hour, want: time.Hour, proxy: &tree.Proxy{}},
	} {
		container := tree.Container{Proxy: c.proxy}
		container.Spec.StopGracePeriod = c.declared
		if grace := graceOnTrial(&container); grace != c.want {
			t.Errorf("%s: it has %s, want %s", name, grace, c.want)
		}
	}
}
