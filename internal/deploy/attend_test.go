// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"copse/internal/change"
	"copse/internal/engine"
	"copse/internal/plan"
	"copse/internal/tree"
)

// attended says whether supervision may act on the active generation of a container.
func (l *life) attended(t *testing.T, name string) bool {
	t.Helper()
	active, err := l.deployer.Active()
	if err != nil || active[name] == nil {
		t.Fatalf("%s is not active: %v", name, err)
	}
	acted := false
	err = l.deployer.Attend(context.Background(), name, active[name].Number, func(_ context.Context, g *tree.Generation) error {
		acted = g.Number == active[name].Number
		return nil
	})
	if acted == errors.Is(err, ErrAtWork) || err != nil && !errors.Is(err, ErrAtWork) {
		t.Errorf("attending to %s: acted %t, error %v", name, acted, err)
	}
	return acted
}

// TestAttend: supervision keeps its hands off what an operator has stopped, and what is not the active
// generation (any more).
func TestAttend(t *testing.T) {
	w := newWorld(t)
	mustEnd(t, w.do(up(cloud())), change.Done)
	mustEnd(t, w.do(Request{Kind: plan.Stop, Options: plan.Options{Names: []string{"worker"}}}), change.Done)
	number := w.active("api").Number
	l := w.begin(0)
	defer l.end()
	if !l.attended(t, "api") {
		t.Error("nobody may attend to what runs by itself")
	}
	if l.attended(t, "worker") {
		t.Error("what an operator has stopped is attended to")
	}
	for name, generation := range map[string]int{"api": number + 100, "unknown": 1} {
		err := l.deployer.Attend(context.Background(), name, generation, func(context.Context, *tree.Generation) error {
			t.Errorf("generation %d of %s is attended to", generation, name)
			return nil
		})
		if !errors.Is(err, ErrAtWork) {
			t.Errorf("generation %d of %s: %v", generation, name, err)
		}
	}
}

// paused runs a request up to a call of the engine, looks, and lets it go on to its end.
func (w *world) paused(t *testing.T, r Request, op, object string, look func(*life)) {
	t.Helper()
	reached, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.engine.Fault = func(did, on string) error {
		if did == op && strings.HasPrefix(on, object) {
			once.Do(func() {
				close(reached)
				<-goOn
			})
		}
		return nil
	}
	l := w.begin(0)
	defer l.end()
	c, _, err := l.deployer.Submit(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	<-reached
	look(l)
	close(goOn)
	ended, _ := l.wait(c.ID)
	mustEnd(t, ended, change.Done)
}

// TestAttendDuringTasks: while a task works on a container nobody else does, though the change has not
// begun to replace it; others are free.
func TestAttendDuringTasks(t *testing.T) {
	w := newWorld(t)
	mustEnd(t, w.do(up(cloud())), change.Done)
	w.paused(t, up(with("worker", mode("better"))), "Create", "worker.", func(l *life) {
		if l.attended(t, "worker") {
			t.Error("two work on one container at the same time")
		}
		if !l.attended(t, "db") {
			t.Error("what the change is not about is not attended to")
		}
	})
}

// TestAttendBetweenTasks: what a change has stopped and not started again is its own, also while it works
// on something else.
func TestAttendBetweenTasks(t *testing.T) {
	w := newWorld(t)
	class := tree.RollbackByRestore
	mustEnd(t, w.do(up(phases(class))), change.Done)
	mustEnd(t, w.do(upgrade(released(phases(class), "2026.1", ofAPI...), plan.Options{Names: api})), change.Done)
	w.paused(t, rollback(plan.Options{Names: api, Restore: true}), "Start", "api-restore.", func(l *life) {
		for _, name := range []string{"api", "worker"} {
			if l.attended(t, name) {
				t.Errorf("%s, which is stopped for the restore, would be started in the middle of it", name)
			}
		}
		if !l.attended(t, "db") {
			t.Error("what the change is not about is not attended to")
		}
	})
}

// TestAloneInItsPlace: another generation of a container that can run only once is stopped before it is
// started, whoever has left that running: two of them would write one volume.
func TestAloneInItsPlace(t *testing.T) {
	for name, request := range map[string]Request{
		"started again": {Kind: plan.Start, Options: plan.Options{Names: []string{"db"}}},
		"replaced":      up(with("db", mode("better")), "db"),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			mustEnd(t, w.do(up(cloud())), change.Done)
			mustEnd(t, w.do(Request{Kind: plan.Stop, Options: plan.Options{Names: []string{"db"}}}), change.Done)
			left := *w.active("db")
			left.Number = 90
			spec := left.Container.Spec
			spec.Labels = map[string]string{tree.LabelHost: testHost, tree.LabelContainer: "db", tree.LabelGeneration: "90"}
			if _, err := w.engine.Create(context.Background(), left.Name(), spec); err != nil {
				t.Fatal(err)
			}
			if err := w.engine.Start(context.Background(), left.Name()); err != nil {
				t.Fatal(err)
			}
			mustEnd(t, w.do(request), change.Done)
			mustServe(t, w, w.active("api").Name(), w.active("db").Name(), w.active("proxy").Name(), w.active("worker").Name())
			if v := w.engine.Violations(); len(v) > 0 {
				t.Errorf("violations %q", v)
			}
		})
	}
}

// TestBounce: what the supervisor starts again stands alone too, and has its restart policy.
func TestBounce(t *testing.T) {
	w := newWorld(t)
	mustEnd(t, w.do(up(cloud())), change.Done)
	g := w.active("db")
	w.engine.Restart() // and everything has ended
	l := w.begin(0)
	defer l.end()
	for _, stop := range []bool{true, false} {
		if err := l.deployer.Abandon(context.Background(), g); err != nil {
			t.Fatal(err)
		}
		if c, err := w.engine.Inspect(context.Background(), g.Name()); err != nil || c.State == engine.Running || c.RestartPolicy != "no" {
			t.Errorf("given up, it is %s with the restart policy %q, %v", c.State, c.RestartPolicy, err)
		}
		if err := l.deployer.Bounce(context.Background(), g, stop); err != nil {
			t.Fatal(err)
		}
		if c, err := w.engine.Inspect(context.Background(), g.Name()); err != nil || c.State != engine.Running || c.RestartPolicy != "always" {
			t.Errorf("started again, it is %s with the restart policy %q, %v", c.State, c.RestartPolicy, err)
		}
	}
}
