// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"copse/internal/engine/fake"
	"copse/internal/health"
	"copse/internal/store"
	"copse/internal/tree"
)

const testHost = "h"

// patience bounds the waits of these tests; they go on as soon as they can.
const patience = 30 * time.Second

// scene is a supervisor with a store and an engine in memory.
type scene struct {
	t      *testing.T
	engine *fake.Engine
	db     *store.Store

	mu    sync.Mutex
	units []Unit
	sick  map[string]bool
	order []string // of bounces
	// ready, if set, is called before a container is said to be ready.
	ready func(name string)
}

func newScene(t *testing.T, units ...Unit) *scene {
	s := &scene{t: t, engine: &fake.Engine{AnyImage: true}, units: units, sick: map[string]bool{}}
	s.engine.Description.LiveRestore = true
	var err error
	if s.db, err = store.Open(filepath.Join(t.TempDir(), "db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.db.Close() })
	for _, u := range units {
		spec := tree.Spec{Image: "i", Restart: "always", Labels: map[string]string{tree.LabelHost: testHost}}
		if _, err := s.engine.Create(t.Context(), u.Engine, spec); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func service(name string, depends ...string) Unit {
	return Unit{
		Subject: Subject{Name: name, Generation: 1, Depends: depends, Checked: true}, Engine: name + ".1",
		Check: &tree.Check{Interval: time.Millisecond, Retries: 2},
	}
}

// run supervises while test does something.
func (s *scene) run(test func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	var supervisor *Supervisor
	monitor := health.New(func(ctx context.Context, container string, _ *tree.Check) health.Said {
		c, err := s.engine.Inspect(ctx, container)
		if err != nil || c.State != "running" {
			return health.Said{Unknown: true}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return health.Said{OK: !s.sick[container], Output: "asked"}
	}, func(t health.Target, r health.Result) { supervisor.Told(t, r) }, time.Now, 4)
	supervisor = New(Options{
		Engine: s.engine, Actor: s, Store: s.db, Monitor: monitor, Host: testHost,
		Overloaded: func() bool { return false },
		Units: func() ([]Unit, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return slices.Clone(s.units), nil
		},
		Limits: Limits{Most: 8, Window: time.Hour, FirstPause: time.Millisecond, LastPause: time.Millisecond, EnginePause: time.Minute},
	})
	var group sync.WaitGroup
	group.Go(func() { supervisor.Run(ctx, []string{"/run/netns"}) })
	group.Go(func() { monitor.Run(ctx) })
	test()
	cancel()
	group.Wait()
}

// Bounce implements Actor.
func (s *scene) Bounce(ctx context.Context, name string, generation int, stop bool) error {
	s.mu.Lock()
	s.order = append(s.order, name)
	delete(s.sick, tree.GenerationName(name, generation))
	s.mu.Unlock()
	id := tree.GenerationName(name, generation)
	if stop {
		if err := s.engine.Stop(ctx, id, 0); err != nil {
			return err
		}
	}
	return s.engine.Start(ctx, id)
}

// Abandon implements Actor.
func (s *scene) Abandon(ctx context.Context, name string, generation int) error {
	id := tree.GenerationName(name, generation)
	if err := s.engine.SetRestartPolicy(ctx, id, "no"); err != nil {
		return err
	}
	return s.engine.Stop(ctx, id, 0)
}

// Ready implements Actor.
func (s *scene) Ready(_ context.Context, name string) error {
	if s.ready != nil {
		s.ready(name)
	}
	return nil
}

// until waits for an incident.
func (s *scene) until(name string, what What) Incident {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		all, err := Incidents(s.db, testHost, time.Time{})
		if err != nil {
			s.t.Fatal(err)
		}
		for _, i := range all {
			if i.Container == name && i.What == what {
				return i
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s was never %s: %+v", name, what, all)
		}
	}
}

func (s *scene) start(names ...string) {
	s.t.Helper()
	for _, name := range names {
		if err := s.engine.Start(s.t.Context(), name); err != nil {
			s.t.Fatal(err)
		}
	}
}

// TestBootInOrder: what does not run when the agent starts is started, what is needed first; what
// saw a directory before it was prepared is restarted, what runs well is left alone.
func TestBootInOrder(t *testing.T) {
	stale, stopped := service("agent", "db"), service("stopped")
	stale.Binds = []string{"/run/netns"}
	stopped.Held = true
	s := newScene(t, service("api", "bus", "db"), service("bus", "db"), service("db"), stale, service("well"), stopped)
	s.start("agent.1", "well.1")
	s.run(func() { s.until("", Booted) })
	if want := []string{"db", "bus", "api"}; !slices.Equal(slices.DeleteFunc(slices.Clone(s.order), func(n string) bool { return n == "agent" }), want) {
		t.Errorf("started in the order %v, want %v", s.order, want)
	}
	if !slices.Contains(s.order, "agent") || s.order[0] == "agent" {
		t.Errorf("started in the order %v: the agent was to be restarted after the database", s.order)
	}
	if i := s.until("agent", Restarted); !strings.Contains(i.Cause, "before the host was prepared") {
		t.Errorf("the cause is %q", i.Cause)
	}
}

// TestStoppedBehindItsBack: a container that is stopped by the engine's own means is started again.
func TestStoppedBehindItsBack(t *testing.T) {
	s := newScene(t, service("db"))
	s.start("db.1")
	s.run(func() {
		s.untilHealthy("db")
		if err := s.engine.Stop(t.Context(), "db.1", 0); err != nil {
			t.Fatal(err)
		}
		s.until("db", Started)
		s.until("db", Recovered)
	})
}

// TestUnhealthyIsRestartedAndGivenUp by the whole of it.
func TestUnhealthyIsRestartedAndGivenUp(t *testing.T) {
	s := newScene(t, service("db"))
	s.start("db.1")
	s.run(func() {
		ended := make(chan struct{})
		var group sync.WaitGroup
		group.Go(func() {
			for {
				s.mu.Lock()
				s.sick["db.1"] = true
				s.mu.Unlock()
				select {
				case <-ended:
					return
				case <-time.After(time.Millisecond):
				}
			}
		})
		s.until("db", Restarted)
		s.until("db", GaveUp)
		close(ended)
		group.Wait()
		failed, err := failures(s.db, testHost)
		if err != nil || failed["db"] != 1 {
			t.Errorf("failed %v (%v), want generation 1 of db", failed, err)
		}
	})
	// An agent that starts after that leaves it alone, until somebody starts it.
	s.order, s.sick = nil, map[string]bool{}
	s.run(func() {
		time.Sleep(50 * time.Millisecond)
		s.start("db.1")
		s.until("db", Started)
	})
	if len(s.order) != 0 {
		t.Errorf("the next agent has started %v", s.order)
	}
	if failed, err := failures(s.db, testHost); err != nil || len(failed) != 0 {
		t.Errorf("failed %v (%v), want none once it was started", failed, err)
	}
}

// TestEngineAway: while the engine is away nothing is an incident, and what happened then is seen after.
func TestEngineAway(t *testing.T) {
	s := newScene(t, service("db"), service("well"))
	s.start("db.1", "well.1")
	s.run(func() {
		s.untilHealthy("db")
		s.engine.Down()
		time.Sleep(20 * time.Millisecond)
		if all, err := Incidents(s.db, testHost, time.Time{}); err != nil || len(all) != 0 {
			t.Errorf("incidents for an engine that is away: %+v, %v", all, err)
		}
		s.engine.Boot()
		if err := s.engine.Stop(t.Context(), "db.1", 0); err != nil {
			t.Fatal(err)
		}
		s.until("db", Recovered)
	})
	all, err := Incidents(s.db, testHost, time.Time{})
	if err != nil || slices.ContainsFunc(all, func(i Incident) bool { return i.Container == "well" }) {
		t.Errorf("incidents %+v (%v), want none of the one that was well", all, err)
	}
}

// untilHealthy waits until the supervisor follows a container.
func (s *scene) untilHealthy(name string) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		n := 0
		for _, c := range s.engine.Journal() {
			if c.Op == "Inspect" && c.Object == name+".1" {
				n++
			}
		}
		if n > 5 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s is never looked at", name)
		}
	}
}

// TestReadinessReleasesWhatDepends: after a reboot, what depends on a container is started when that is
// ready, not when it runs.
func TestReadinessReleasesWhatDepends(t *testing.T) {
	s := newScene(t, service("api", "db"), service("db"))
	ready := make(chan struct{})
	s.ready = func(name string) {
		if name == "db" {
			<-ready
		}
	}
	s.run(func() {
		s.until("db", Started)
		s.mu.Lock()
		order := slices.Clone(s.order)
		s.mu.Unlock()
		if slices.Contains(order, "api") {
			t.Errorf("started before the database was ready: %v", order)
		}
		close(ready)
		s.until("api", Started)
	})
}

// TestOverloadedHostIsGivenTime: on a host that has far more to do than it can, a check may fail several
// times as often.
func TestOverloadedHostIsGivenTime(t *testing.T) {
	overloaded := true
	s := New(Options{Overloaded: func() bool { return overloaded }})
	check := &tree.Check{Retries: 3}
	if got := s.enough(check); got != 12 {
		t.Errorf("on an overloaded host %d failures are enough, want 12", got)
	}
	if got := s.enough(&tree.Check{}); got != overloadedFactor {
		t.Errorf("without retries %d failures are enough, want %d", got, overloadedFactor)
	}
	overloaded = false
	if got := s.enough(check); got != 3 {
		t.Errorf("%d failures are enough, want 3", got)
	}
}

// TestMaintenanceIsNoIncident: what the engine reports of a container from the time before a change last
// worked on it, that change has done.
func TestMaintenanceIsNoIncident(t *testing.T) {
	s := newScene(t, service("db"), service("other"))
	s.start("db.1", "other.1")
	s.run(func() {
		s.untilHealthy("db")
		s.mu.Lock()
		s.units[0].Worked = time.Now().Add(time.Hour)
		s.mu.Unlock()
		for _, name := range []string{"db.1", "other.1"} {
			if err := s.engine.Stop(t.Context(), name, 0); err != nil {
				t.Fatal(err)
			}
		}
		// Events come in order: with the second one told, the first one was.
		s.until("other", Exited)
		s.until("other", Started)
	})
	all, err := Incidents(s.db, testHost, time.Time{})
	if err != nil || slices.ContainsFunc(all, func(i Incident) bool { return i.Container == "db" }) {
		t.Errorf("incidents %+v (%v), want none of what the change has stopped", all, err)
	}
}

// TestOutputOfAnIncident: what a container wrote is kept for long, and shown to many.
func TestOutputOfAnIncident(t *testing.T) {
	long := strings.Repeat("x", 10*mostInLine)
	e := &fake.Engine{AnyImage: true, Program: func(string, tree.Spec) fake.Program {
		return fake.Program{Lines: []fake.Line{{Text: "mysql://a:hunter2@db"}, {Text: long + "hunter2"}, {Text: long[:mostInLine-3] + "hunter2"}}}
	}}
	if _, err := e.Create(t.Context(), "a.1", tree.Spec{Image: "i"}); err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), "a.1"); err != nil {
		t.Fatal(err)
	}
	s := New(Options{Engine: e, Hide: func(text string) string { return strings.ReplaceAll(text, "hunter2", "(secret)") }})
	want := strings.Join([]string{"mysql://a:(secret)@db", long[:mostInLine] + "…", long[:mostInLine-3] + "(se…"}, "\n")
	if got := s.lastLines(t.Context(), "a.1"); got != want {
		t.Errorf("%d bytes: %.80q…; want %d: %.80q…", len(got), got, len(want), want)
	}
}

// TestIncidentsAreBounded: the oldest are forgotten.
func TestIncidentsAreBounded(t *testing.T) {
	s := newScene(t)
	began := time.Now()
	many := make([]Incident, keptIncidents+3)
	for i := range many {
		many[i] = Incident{At: began.Add(time.Duration(i)), Container: "db", Generation: i, What: Exited}
	}
	for _, part := range [][]Incident{many[:keptIncidents], many[keptIncidents:]} {
		if err := record(s.db, testHost, part); err != nil {
			t.Fatal(err)
		}
	}
	all, err := Incidents(s.db, testHost, time.Time{})
	if err != nil || len(all) != keptIncidents || all[0].Generation != 3 || all[len(all)-1].Generation != len(many)-1 {
		t.Errorf("%d incidents are kept (%v), want the last %d", len(all), err, keptIncidents)
	}
}

// TestNothingIsDoneWithoutTheEngine: what is due waits until the engine is there.
func TestNothingIsDoneWithoutTheEngine(t *testing.T) {
	s := New(Options{})
	s.machine.Sync([]Subject{{Name: "db", Generation: 1}})
	now := time.Now()
	s.machine.Running(now, "db", now)
	s.machine.Ended(now, now, "db", Exit{Code: 1})
	if actions := s.due(); len(actions) != 0 {
		t.Errorf("without an engine there is done %v", actions)
	}
	s.connected = true
	if actions := s.due(); len(actions) != 1 {
		t.Errorf("with the engine there is done %v, want one thing", actions)
	}
}
