// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
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

// TestMonitor: each container's check is run, the results are kept, and those of containers
// that have gone are forgotten.
func TestMonitor(t *testing.T) {
	var mu sync.Mutex
	present := []string{"a.1", "b.2"}
	ran := make(chan string, 100)
	run := func(_ context.Context, container string, _ *tree.Check) (bool, string) {
		ran <- container
		return container == "a.1", "said " + container
	}
	targets := func(context.Context) ([]Target, error) {
		mu.Lock()
		defer mu.Unlock()
		if len(present) == 0 {
			return nil, errors.New("the engine does not answer")
		}
		var all []Target
		for _, name := range present {
			all = append(all, Target{Name: name, Check: &tree.Check{Interval: time.Hour, Retries: 1}})
		}
		return append(all, Target{Name: "without-a-check"}), nil
	}
	m := New(run, targets, time.Now, 2)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	logged := make(chan error, 100)
	go func() { m.Run(ctx, func(err error) { logged <- err }); close(ended) }()

	seen := []string{<-ran, <-ran}
	slices.Sort(seen)
	if !slices.Equal(seen, []string{"a.1", "b.2"}) {
		t.Errorf("ran %v", seen)
	}
	wait := func(name, state string) {
		t.Helper()
		for {
			if r, ok := m.Result(name); ok && r.State == state {
				if r.Output != "said "+name {
					t.Errorf("%s: output %q", name, r.Output)
				}
				return
			}
			m.Kick()
			time.Sleep(time.Millisecond)
		}
	}
	wait("a.1", Healthy)
	wait("b.2", Unhealthy)

	mu.Lock()
	present = []string{"a.1"}
	mu.Unlock()
	for {
		if _, ok := m.Result("b.2"); !ok {
			break
		}
		m.Kick()
		time.Sleep(time.Millisecond)
	}
	if _, ok := m.Result("without-a-check"); ok {
		t.Error("a container without a check has a result")
	}
	mu.Lock()
	present = nil
	mu.Unlock()
	m.Kick()
	<-logged
	if _, ok := m.Result("a.1"); !ok {
		t.Error("results were forgotten because the engine did not answer")
	}
	cancel()
	<-ended
}
