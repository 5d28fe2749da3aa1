// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package health runs the containers' checks on their timers and keeps the results.
//
//	Starting ──► Healthy ◄──► Unhealthy
//
// A container is starting until its first success or the end of its start period, and
// unhealthy after as many failures in a row as its check allows.
package health

import (
	"context"
	"sync"
	"time"

	"copse/internal/tree"
)

// The states of a container that runs.
const (
	Starting  = "starting"
	Healthy   = "healthy"
	Unhealthy = "unhealthy"
)

// Defaults for checks that do not say; Compose's.
const (
	defaultInterval = 30 * time.Second
	defaultRetries  = 3
	// firstInterval is how soon a container that is starting is looked at again.
	firstInterval = time.Second
)

// Target is one generation whose check is run.
type Target struct {
	// Name is the engine's name of the container, e.g. "keystone.3".
	Name    string
	Check   *tree.Check
	Started time.Time
}

// Result is what a check said last.
type Result struct {
	State    string
	Output   string
	At       time.Time
	Took     time.Duration
	Failures int // in a row
}

// Runner runs a check once inside a container.
type Runner func(ctx context.Context, container string, check *tree.Check) (ok bool, output string)

// Monitor runs checks. Its methods are safe for concurrent use.
type Monitor struct {
	run     Runner
	targets func(ctx context.Context) ([]Target, error)
	now     func() time.Time
	limit   chan struct{}
	wake    chan struct{}

	mu      sync.Mutex
	results map[string]*state
}

type state struct {
	Result
	due     time.Time
	running bool
}

// New returns a monitor of the containers that targets lists. At most parallel checks run at
// the same time.
func New(run Runner, targets func(ctx context.Context) ([]Target, error), now func() time.Time, parallel int) *Monitor {
	return &Monitor{
		run: run, targets: targets, now: now,
		limit: make(chan struct{}, parallel), wake: make(chan struct{}, 1), results: map[string]*state{},
	}
}

// Kick has the monitor look for new targets at once.
func (m *Monitor) Kick() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Result returns what the check of a container said last, and whether it was ever run.
func (m *Monitor) Result(name string) (Result, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.results[name]
	if !ok {
		return Result{}, false
	}
	return s.Result, true
}

// Run runs checks until ctx ends, and returns when the last has ended.
func (m *Monitor) Run(ctx context.Context, log func(error)) {
	var running sync.WaitGroup
	defer running.Wait()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		targets, err := m.targets(ctx)
		if err != nil && ctx.Err() == nil {
			log(err)
		}
		if err == nil {
			m.forgetOthers(targets)
			for _, t := range targets {
				if t.Check == nil || !m.due(t) {
					continue
				}
				running.Go(func() {
					select {
					case m.limit <- struct{}{}:
					case <-ctx.Done():
						return
					}
					defer func() { <-m.limit }()
					m.Check(ctx, t)
				})
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-m.wake:
		}
	}
}

// due says whether a target's check is to be run now, and if so takes its turn.
func (m *Monitor) due(t Target) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.results[t.Name]
	if s == nil {
		s = &state{Result: Result{State: Starting}}
		m.results[t.Name] = s
	}
	if s.running || m.now().Before(s.due) {
		return false
	}
	s.running = true
	return true
}

// Check runs a target's check now and records the result.
func (m *Monitor) Check(ctx context.Context, t Target) Result {
	began := m.now()
	ok, output := m.run(ctx, t.Name, t.Check)
	now := m.now()

	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.results[t.Name]
	if s == nil {
		s = &state{Result: Result{State: Starting}}
		m.results[t.Name] = s
	}
	s.running = false
	if ctx.Err() != nil {
		return s.Result
	}
	s.Output, s.At, s.Took = output, now, now.Sub(began)
	s.State, s.Failures = next(s.State, s.Failures, ok, now.Sub(t.Started), t.Check)
	interval := t.Check.Interval
	if interval <= 0 {
		interval = defaultInterval
	}
	if s.State == Starting {
		interval = min(interval, firstInterval)
	}
	s.due = began.Add(interval)
	return s.Result
}

// next is the state after one more result of a check, for a container of the given age.
func next(state string, failures int, ok bool, age time.Duration, check *tree.Check) (string, int) {
	if ok {
		return Healthy, 0
	}
	if state == Starting && age < check.StartPeriod {
		return Starting, 0
	}
	failures++
	retries := check.Retries
	if retries <= 0 {
		retries = defaultRetries
	}
	if failures >= retries {
		return Unhealthy, failures
	}
	return state, failures
}

func (m *Monitor) forgetOthers(targets []Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keep := make(map[string]bool, len(targets))
	for _, t := range targets {
		keep[t.Name] = true
	}
	for name := range m.results {
		if !keep[name] {
			delete(m.results, name)
		}
	}
}
