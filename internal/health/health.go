// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package health runs the containers' checks on their timers and keeps the results.
//
//	Starting ──► Healthy ◄──► Unhealthy
//
// A container is starting until its first success or the end of its start period, and
// unhealthy after as many failures in a row as its check allows. The checks of many containers
// are spread over their intervals, so that they do not run all at once.
package health

import (
	"context"
	"hash/fnv"
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
	// startInterval is how soon a container that is starting is looked at again.
	startInterval = time.Second
)

// Target is one generation whose check is run.
type Target struct {
	// Name is the engine's name of the container, e.g. "keystone.3".
	Name  string
	Check *tree.Check
	// Started is when its process started: another time is another process, whose results
	// begin anew.
	Started time.Time
}

// Said is what one run of a check said.
type Said struct {
	OK     bool
	Output string
	// Unknown: the check could not be run, for a reason that is not the container's, such as
	// an engine that does not answer. It says nothing about the container.
	Unknown bool
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
type Runner func(ctx context.Context, container string, check *tree.Check) Said

// Monitor runs checks. Its methods are safe for concurrent use.
type Monitor struct {
	run   Runner
	told  func(Target, Result)
	now   func() time.Time
	limit chan struct{}
	wake  chan struct{}

	mu      sync.Mutex
	targets map[string]*state
}

type state struct {
	Result
	target  Target
	known   bool // it was run
	due     time.Time
	running bool
}

// New returns a monitor that has no targets yet. At most parallel checks run at the same time;
// told, which may be nil, is called after each that says something.
func New(run Runner, told func(Target, Result), now func() time.Time, parallel int) *Monitor {
	if told == nil {
		told = func(Target, Result) {}
	}
	return &Monitor{
		run: run, told: told, now: now,
		limit: make(chan struct{}, parallel), wake: make(chan struct{}, 1), targets: map[string]*state{},
	}
}

// Set replaces the targets. Results of those that stay are kept, others are forgotten.
func (m *Monitor) Set(targets []Target) {
	m.mu.Lock()
	keep := make(map[string]bool, len(targets))
	for _, t := range targets {
		if t.Check == nil {
			continue
		}
		keep[t.Name] = true
		s := m.targets[t.Name]
		if s == nil || !s.target.Started.Equal(t.Started) {
			s = &state{Result: Result{State: Starting}, due: m.now()}
			m.targets[t.Name] = s
		}
		s.target = t
	}
	for name := range m.targets {
		if !keep[name] {
			delete(m.targets, name)
		}
	}
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Result returns what the check of a container said last, and whether it was ever run.
func (m *Monitor) Result(name string) (Result, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.targets[name]
	if !ok || !s.known {
		return Result{}, false
	}
	return s.Result, true
}

// Run runs checks until ctx ends, and returns when the last has ended.
func (m *Monitor) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-m.wake:
		}
		due, next := m.due()
		for _, t := range due {
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
		timer.Reset(next)
	}
}

// due takes the targets whose check is to be run now, and says how long it is to the next.
func (m *Monitor) due() (due []Target, next time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	next = time.Hour
	for _, s := range m.targets {
		if s.running {
			continue // its end wakes the loop
		}
		if wait := s.due.Sub(now); wait > 0 {
			next = min(next, wait)
			continue
		}
		s.running = true
		due = append(due, s.target)
	}
	return due, next
}

// Check runs a target's check now and records the result. Without a time of its start it is the
// target of that name, where there is one.
func (m *Monitor) Check(ctx context.Context, t Target) Result {
	if t.Started.IsZero() {
		m.mu.Lock()
		if s := m.targets[t.Name]; s != nil {
			t = s.target
		}
		m.mu.Unlock()
	}
	began := m.now()
	said := m.run(ctx, t.Name, t.Check)
	result, news := m.record(ctx, t, began, said)
	if news {
		m.told(t, result)
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
	return result
}

func (m *Monitor) record(ctx context.Context, t Target, began time.Time, said Said) (Result, bool) {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.targets[t.Name]
	if s == nil || !s.target.Started.Equal(t.Started) {
		// It is no target, or no more: what was said is for the caller alone.
		one := Result{State: Starting, Output: said.Output, At: now, Took: now.Sub(began)}
		if !said.Unknown {
			one.State, one.Failures = next(Starting, 0, said.OK, now.Sub(t.Started), t.Check)
		}
		return one, false
	}
	s.running = false
	if ctx.Err() != nil {
		return s.Result, false
	}
	interval := t.Check.Interval
	if interval <= 0 {
		interval = defaultInterval
	}
	if said.Unknown {
		s.due = now.Add(min(interval, startInterval))
		return s.Result, false
	}
	before := s.State
	s.known = true
	s.Output, s.At, s.Took = said.Output, now, now.Sub(began)
	s.State, s.Failures = next(s.State, s.Failures, said.OK, now.Sub(t.Started), t.Check)
	switch {
	case s.State == Starting:
		s.due = began.Add(min(interval, startInterval))
	case before == Starting:
		s.due = began.Add(spread(t.Name, interval))
	default:
		s.due = began.Add(interval)
	}
	return s.Result, true
}

// spread is a container's own share of an interval, more than none of it.
func spread(name string, interval time.Duration) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // it never fails
	const parts = 1000
	return interval * time.Duration(h.Sum32()%parts+1) / parts
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
