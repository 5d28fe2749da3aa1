// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package hook tells programs of the operator's when a set goes from one state to another, e.g. to move
// an address away from a host whose proxy is unhealthy.
//
// A set is watched from the moment it is first healthy. For each set one transition is told at a time;
// what changes while a program runs is told afterwards, as one transition from the state told last to the
// one it is in then. What was told is remembered, so that an agent that starts again tells only news; one
// that ends while programs run tells the same transition once more.
package hook

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"copse/internal/standing"
)

// Unknown is the state before the first one that was told.
const Unknown standing.State = "unknown"

// Event is a transition of a set.
type Event struct {
	Set      string
	Old, New standing.State
	// Cause says in one line what is wrong, "" for a set that is healthy again.
	Cause string
	At    time.Time
	// Unwell are the containers that are not healthy.
	Unwell []standing.Container
}

// Environment is what a program finds in its environment.
func (e Event) Environment() []string {
	return []string{
		"COPSE_SET=" + e.Set, "COPSE_OLD_STATE=" + string(e.Old), "COPSE_NEW_STATE=" + string(e.New),
		"COPSE_CAUSE=" + e.Cause, "COPSE_TIME=" + e.At.UTC().Format(time.RFC3339),
	}
}

// Outside is what a Watcher asks and tells. All methods may be called from several goroutines.
type Outside interface {
	// Sets says how the sets stand now.
	Sets(ctx context.Context) ([]standing.Set, error)
	// Programs lists the programs to run, in their order, and how long each may take.
	Programs(ctx context.Context) (paths []string, limit time.Duration, err error)
	// Run runs one, until its end or that of ctx.
	Run(ctx context.Context, path string, e Event) error
	// Told loads what was told last, by set.
	Told() (map[string]standing.State, error)
	// Remember stores what has been told of a set.
	Remember(set string, state standing.State) error
}

// Stats counts what a Watcher has done.
type Stats struct {
	// Transitions is how many there were, told to somebody or not.
	Transitions int
	// Runs and Failures are of programs.
	Runs, Failures int
}

// Watcher watches sets. Its methods are safe for concurrent use.
type Watcher struct {
	outside  Outside
	interval time.Duration
	now      func() time.Time
	log      *slog.Logger
	running  sync.WaitGroup

	mu      sync.Mutex
	told    map[string]standing.State
	telling map[string]bool
	stats   Stats
}

// New returns a Watcher that looks at the sets once an interval.
func New(outside Outside, interval time.Duration, now func() time.Time, log *slog.Logger) *Watcher {
	return &Watcher{outside: outside, interval: interval, now: now, log: log, telling: map[string]bool{}}
}

// Stats returns what has been done so far.
func (w *Watcher) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

// Run watches until ctx ends, and returns when the last program has ended.
func (w *Watcher) Run(ctx context.Context) {
	defer w.running.Wait()
	tick := time.NewTicker(w.interval)
	defer tick.Stop()
	last := ""
	for {
		err := w.look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			last = ""
		case err.Error() != last:
			last = err.Error()
			w.log.Warn("cannot tell how the sets stand", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look compares how the sets stand with what was told, and tells what is new.
func (w *Watcher) look(ctx context.Context) error {
	sets, err := w.outside.Sets(ctx)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told == nil {
		if w.told, err = w.outside.Told(); err != nil {
			return err
		}
	}
	for _, set := range sets {
		old, known := w.told[set.Path]
		if w.telling[set.Path] || (known && old == set.State) || (!known && set.State != standing.Healthy) {
			continue
		}
		if !known {
			old = Unknown
		}
		e := Event{Set: set.Path, Old: old, New: set.State, Cause: set.Cause(), At: w.now(), Unwell: set.Unwell}
		w.telling[set.Path] = true
		w.stats.Transitions++
		w.running.Go(func() { w.tell(ctx, e) })
	}
	return nil
}

// tell runs the programs for a transition, one after the other.
func (w *Watcher) tell(ctx context.Context, e Event) {
	level := slog.LevelInfo
	if e.New == standing.Unhealthy {
		level = slog.LevelWarn
	}
	w.log.Log(ctx, level, "a set has changed its state", "set", e.Set, "old", e.Old, "new", e.New, "cause", e.Cause)
	paths, limit, err := w.outside.Programs(ctx)
	if err != nil {
		w.log.Error("cannot look for the programs to tell", "set", e.Set, "error", err)
		w.count(0, 1)
	}
	for _, path := range paths {
		if err := w.run(ctx, path, limit, e); err != nil {
			w.log.Error("a program that was told of a set has failed", "program", path, "set", e.Set, "new", e.New, "error", err)
			w.count(1, 1)
			continue
		}
		w.count(1, 0)
	}
	if ctx.Err() != nil {
		return // the next agent tells it again
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.telling[e.Set] = false
	w.told[e.Set] = e.New
	if err := w.outside.Remember(e.Set, e.New); err != nil {
		w.log.Error("cannot remember what was told of a set", "set", e.Set, "error", err)
	}
}

func (w *Watcher) run(ctx context.Context, path string, limit time.Duration, e Event) error {
	limited, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it did not end within %s and was killed", limit))
	defer cancel()
	err := w.outside.Run(limited, path, e)
	if err != nil && limited.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(limited), err)
	}
	return err
}

func (w *Watcher) count(runs, failures int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Runs += runs
	w.stats.Failures += failures
}
