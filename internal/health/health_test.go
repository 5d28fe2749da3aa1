// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"copse/internal/tree"
)

func TestNext(t *testing.T) {
	check := &tree.Check{StartPeriod: time.Minute, Retries: 2}
	for _, c := range []struct {
		name     string
		state    string
		failures int
		ok       bool
		age      time.Duration
		want     string
		count    int
	}{
		{"first success", Starting, 0, true, time.Second, Healthy, 0},
		{"a failure while starting does not count", Starting, 0, false, time.Second, Starting, 0},
		{"a failure after the start period does", Starting, 0, false, 2 * time.Minute, Starting, 1},
		{"as many as allowed", Starting, 1, false, 2 * time.Minute, Unhealthy, 2},
		{"one failure of a healthy one", Healthy, 0, false, time.Second, Healthy, 1},
		{"the second makes it unhealthy", Healthy, 1, false, time.Second, Unhealthy, 2},
		{"it stays so", Unhealthy, 2, false, time.Hour, Unhealthy, 3},
		{"and recovers", Unhealthy, 3, true, time.Hour, Healthy, 0},
	} {
		if state, failures := next(c.state, c.failures, c.ok, c.age, check); state != c.want || failures != c.count {
			t.Errorf("%s: %s after %d failures, want %s after %d", c.name, state, failures, c.want, c.count)
		}
	}
	if state, _ := next(Healthy, defaultRetries-1, false, 0, &tree.Check{}); state != Unhealthy {
		t.Errorf("without a number of retries: %s, want the default to count", state)
	}
}

// watched is a monitor under test in a bubble of its own time.
type watched struct {
	*Monitor
	mu   sync.Mutex
	runs map[string][]time.Time
	said map[string]Said
	told []string
}

func watch(said map[string]Said) *watched {
	w := &watched{runs: map[string][]time.Time{}, said: said}
	w.Monitor = New(func(_ context.Context, container string, _ *tree.Check) Said {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.runs[container] = append(w.runs[container], time.Now())
		return w.said[container]
	}, func(t Target, r Result) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told = append(w.told, t.Name+" "+r.State)
	}, time.Now, 2)
	return w
}

func (w *watched) says(container string, said Said) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said[container] = said
}

func (w *watched) count(container string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.runs[container])
}

// run runs the monitor while test does something, in a bubble.
func (w *watched) run(test func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { w.Run(ctx); close(ended) }()
	test()
	cancel()
	<-ended
}

// TestMonitor: each container's check is run on its timer, what it says is kept and told, and
// what is no target any more is forgotten.
func TestMonitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(map[string]Said{"a.1": {OK: true, Output: "fine"}, "b.2": {Output: "broken"}})
		check := &tree.Check{Interval: time.Minute, Retries: 3}
		w.run(func() {
			a, b := Target{Name: "a.1", Check: check}, Target{Name: "b.2", Check: check}
			w.Set([]Target{a, b, {Name: "without-a-check"}})
			synctest.Wait()
			if r, known := w.Result("a.1"); !known || r.State != Healthy || r.Output != "fine" {
				t.Errorf("a.1: %+v, %t", r, known)
			}
			if _, known := w.Result("without-a-check"); known {
				t.Error("a container without a check has a result")
			}
			time.Sleep(3 * time.Minute)
			synctest.Wait()
			if r, _ := w.Result("b.2"); r.State != Unhealthy || r.Failures < 3 {
				t.Errorf("b.2: %+v, want it unhealthy", r)
			}
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if n := w.count("a.1"); n < 13 || n > 15 {
				t.Errorf("a.1 was looked at %d times in thirteen minutes with an interval of one", n)
			}
			if r := w.Check(t.Context(), Target{Name: "b.2", Check: check}); r.State != Unhealthy || r.Failures < 4 {
				t.Errorf("b.2, asked for: %+v; want it unhealthy still", r)
			}
			w.Set([]Target{a})
			if _, known := w.Result("b.2"); known {
				t.Error("b.2 is not forgotten")
			}
			if r, _ := w.Result("a.1"); r.State != Healthy {
				t.Errorf("a.1 was forgotten: %+v", r)
			}
			// Another process of the same container begins anew.
			w.says("a.1", Said{Output: "not yet"})
			a.Started = time.Now()
			a.Check = &tree.Check{Interval: time.Minute, StartPeriod: time.Hour}
			w.Set([]Target{a})
			synctest.Wait()
			if r, _ := w.Result("a.1"); r.State != Starting {
				t.Errorf("a.1, started anew: %+v", r)
			}
		})
		if !slices.Contains(w.told, "b.2 unhealthy") || !slices.Contains(w.told, "a.1 healthy") {
			t.Errorf("told %v", w.told)
		}
	})
}

// TestUnknownSaysNothing: while the engine is away, nobody becomes unhealthy, and as soon as it is
// back it is asked again.
func TestUnknownSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(map[string]Said{"a.1": {OK: true}})
		w.run(func() {
			w.Set([]Target{{Name: "a.1", Check: &tree.Check{Interval: 10 * time.Second, Retries: 1}}})
			synctest.Wait()
			w.says("a.1", Said{Unknown: true, Output: "the engine is away"})
			time.Sleep(time.Hour)
			synctest.Wait()
			if r, _ := w.Result("a.1"); r.State != Healthy || r.Failures != 0 {
				t.Errorf("%+v, want what was known before", r)
			}
			w.says("a.1", Said{Output: "really"})
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if r, _ := w.Result("a.1"); r.State != Unhealthy {
				t.Errorf("%+v, want it unhealthy soon", r)
			}
		})
	})
}

// TestChecksAreSpread: sixty checks with one interval do not run at the same time.
func TestChecksAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const containers, interval = 60, 10 * time.Second
		said := map[string]Said{}
		var targets []Target
		for i := range containers {
			name := fmt.Sprintf("service-%d.%d", i, i+1)
			said[name] = Said{OK: true}
			targets = append(targets, Target{Name: name, Check: &tree.Check{Interval: interval}})
		}
		w := watch(said)
		w.run(func() {
			w.Set(targets)
			time.Sleep(10 * interval)
			synctest.Wait()
		})
		perSecond := map[time.Time]int{}
		for _, runs := range w.runs {
			for _, at := range runs[2:] {
				perSecond[at.Truncate(time.Second)]++
			}
		}
		for at, n := range perSecond {
			if n > 3*containers/int(interval/time.Second) {
				t.Errorf("%d checks within the second of %s", n, at)
			}
		}
	})
}
