// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"copse/internal/standing"
)

// outside is a host with one program, which takes a while.
type outside struct {
	mu     sync.Mutex
	states map[string]standing.State
	told   map[string]standing.State
	takes  time.Duration
	fail   error
	broken error
	none   bool
	events []string
	active map[string]int
}

func (o *outside) Sets(context.Context) ([]standing.Set, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var sets []standing.Set
	for path, state := range o.states {
		set := standing.Set{Path: path, State: state}
		if state != standing.Healthy {
			set.Unwell = []standing.Container{{Name: "c", Health: "failed", Why: "gone"}}
		}
		sets = append(sets, set)
	}
	return sets, o.broken
}

func (o *outside) Programs(context.Context) ([]string, time.Duration, error) {
	if o.none {
		return nil, time.Second, nil
	}
	return []string{"/hook"}, 30 * time.Second, nil
}

func (o *outside) Run(ctx context.Context, path string, e Event) error {
	o.mu.Lock()
	o.active[e.Set]++
	if o.active[e.Set] > 1 {
		o.events = append(o.events, "OVERLAP")
	}
	o.mu.Unlock()
	var err error
	select {
	case <-time.After(o.takes):
		err = o.fail
	case <-ctx.Done():
		err = errors.New("signal: killed")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.active[e.Set]--
	o.events = append(o.events, fmt.Sprintf("%s %s %s→%s %s", path, e.Set, e.Old, e.New, e.Cause))
	return err
}

func (o *outside) Told() (map[string]standing.State, error) {
	told := map[string]standing.State{}
	for set, state := range o.told {
		told[set] = state
	}
	return told, nil
}

func (o *outside) Remember(set string, state standing.State) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told[set] = state
	return nil
}

func (o *outside) set(path string, state standing.State) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.states[path] = state
}

func (o *outside) seen() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.events)
}

func newOutside() *outside {
	return &outside{states: map[string]standing.State{}, told: map[string]standing.State{}, active: map[string]int{}}
}

func watch(t *testing.T, o *outside, test func(w *Watcher, log *bytes.Buffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var log bytes.Buffer
		w := New(o, time.Second, time.Now, slog.New(slog.NewTextHandler(&log, nil)))
		done := make(chan struct{})
		go func() { defer close(done); w.Run(ctx) }()
		test(w, &log)
		cancel()
		<-done
	})
}

func rest(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestTransitions(t *testing.T) {
	o := newOutside()
	watch(t, o, func(w *Watcher, _ *bytes.Buffer) {
		// While it is brought up for the first time there is nothing to tell.
		o.set("api", standing.Unhealthy)
		rest(time.Minute)
		for _, state := range []standing.State{standing.Healthy, standing.Unhealthy, standing.Stopped, standing.Healthy} {
			o.set("api", state)
			rest(time.Minute)
		}
		want := []string{
			"/hook api unknown→healthy ", "/hook api healthy→unhealthy c is failed: gone",
			"/hook api unhealthy→stopped c is failed: gone", "/hook api stopped→healthy ",
		}
		if got := o.seen(); !slices.Equal(got, want) {
			t.Errorf("told %q; want %q", got, want)
		}
		if s := w.Stats(); s != (Stats{Transitions: 4, Runs: 4}) {
			t.Errorf("counted %+v", s)
		}
	})
}

// A slow program holds up its own set alone, and hears of what came meanwhile once.
func TestNoOverlapPerSet(t *testing.T) {
	o := newOutside()
	o.takes = 10 * time.Second
	o.told = map[string]standing.State{"api": standing.Healthy, "db": standing.Healthy}
	watch(t, o, func(*Watcher, *bytes.Buffer) {
		o.set("api", standing.Unhealthy)
		o.set("db", standing.Healthy)
		rest(2 * time.Second)
		o.set("api", standing.Healthy)
		o.set("db", standing.Unhealthy)
		rest(2 * time.Second)
		o.set("api", standing.Stopped)
		rest(time.Minute)
		want := []string{
			"/hook api healthy→unhealthy c is failed: gone", "/hook db healthy→unhealthy c is failed: gone",
			"/hook api unhealthy→stopped c is failed: gone",
		}
		if got := o.seen(); !slices.Equal(got, want) {
			t.Errorf("told %q; want %q", got, want)
		}
	})
}

func TestTimeLimitAndFailures(t *testing.T) {
	o := newOutside()
	o.takes = time.Hour
	watch(t, o, func(w *Watcher, log *bytes.Buffer) {
		o.set("api", standing.Healthy)
		rest(time.Minute)
		if !strings.Contains(log.String(), "it did not end within 30s and was killed") {
			t.Errorf("the log does not say that the program was killed:\n%s", log)
		}
		o.takes, o.fail = 0, errors.New("exit status 3")
		o.set("api", standing.Unhealthy)
		rest(time.Minute)
		if s := w.Stats(); s != (Stats{Transitions: 2, Runs: 2, Failures: 2}) {
			t.Errorf("counted %+v", s)
		}
		if o.told["api"] != standing.Unhealthy {
			t.Errorf("a program that fails is told again and again: told %s", o.told["api"])
		}
	})
}

// A new agent tells what changed while there was none, and nothing else.
func TestRemembers(t *testing.T) {
	o := newOutside()
	o.told = map[string]standing.State{"api": standing.Healthy, "db": standing.Healthy}
	o.states = map[string]standing.State{"api": standing.Healthy, "db": standing.Unhealthy}
	watch(t, o, func(*Watcher, *bytes.Buffer) {
		rest(time.Minute)
		if got := o.seen(); len(got) != 1 || !strings.HasPrefix(got[0], "/hook db healthy→unhealthy") {
			t.Errorf("told %q; want the one that changed", got)
		}
	})
}

func TestWithoutProgramsStatesAreKept(t *testing.T) {
	o := newOutside()
	o.none = true
	o.set("api", standing.Healthy)
	watch(t, o, func(w *Watcher, log *bytes.Buffer) {
		rest(time.Minute)
		if o.told["api"] != standing.Healthy || w.Stats() != (Stats{Transitions: 1}) {
			t.Errorf("told %v, counted %+v", o.told, w.Stats())
		}
		o.mu.Lock()
		o.broken = errors.New("the engine does not answer")
		o.mu.Unlock()
		rest(time.Minute)
		if n := strings.Count(log.String(), "the engine does not answer"); n != 1 {
			t.Errorf("an engine that does not answer is told of %d times:\n%s", n, log)
		}
	})
}

func TestEnvironment(t *testing.T) {
	e := Event{Set: "a/b", Old: Unknown, New: standing.Healthy, At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	want := []string{"COPSE_SET=a/b", "COPSE_OLD_STATE=unknown", "COPSE_NEW_STATE=healthy", "COPSE_CAUSE=", "COPSE_TIME=2026-01-02T03:04:05Z"}
	if got := e.Environment(); !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
}
