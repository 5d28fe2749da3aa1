// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package schedule decides when jobs that have a timer run. There is no cron in a container: what a
// service needs done again and again (keys turned, deleted rows archived) is a job of its own.
//
// A job is due a full interval after its last run began; one that has never run, after it was first
// declared. Runs that were missed while nobody looked are made up for by one. A run that failed is tried
// again sooner: see Next. Jobs run one at a time, so that a cloud that comes back after a week is not met
// by all of them at once.
package schedule

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// Interval is how often a Scheduler looks for jobs that are due.
const Interval = 10 * time.Second

// The bounds of how soon a run that failed is tried again.
const (
	soonestRetry = time.Minute
	latestRetry  = time.Hour
)

// State is what is known of a job's runs.
type State struct {
	// Since is when the job was first declared.
	Since time.Time
	// Started is when its last run began, zero where there was none.
	Started time.Time
	// Running is set while that run has not ended, Failed where it failed by itself; one that an
	// operator has aborted has not.
	Running, Failed bool
}

// Job is a job with a timer.
type Job struct {
	Name  string
	Every time.Duration
	State State
}

// Next returns when a job is due. A run that failed is tried again after a 24th of the interval, but no
// sooner than a minute and no later than an hour. A last run that lies in the future (the clock was
// wrong) says nothing: such a job is due now.
func Next(j Job, now time.Time) time.Time {
	last, wait := j.State.Started, j.Every
	if last.IsZero() {
		last = j.State.Since
	} else if j.State.Failed {
		wait = min(j.Every, max(soonestRetry, min(latestRetry, j.Every/24)))
	}
	if last.After(now.Add(Interval)) {
		return now
	}
	return last.Add(wait)
}

// Cloud is what a Scheduler asks and tells.
type Cloud interface {
	// Jobs lists the jobs that have a timer.
	Jobs(ctx context.Context) ([]Job, error)
	// Start starts a job and returns without waiting for its end. Its error says why it cannot run now;
	// it is asked again at the next look.
	Start(ctx context.Context, name string) error
}

// Scheduler starts jobs that are due. Its methods are safe for concurrent use.
type Scheduler struct {
	cloud Cloud
	now   func() time.Time
	tell  func(job string, err error)

	mu    sync.Mutex
	waits map[string]string
}

// New returns a Scheduler. It calls tell when a job that is due cannot run, once for each reason; with
// job "" where the jobs themselves cannot be listed.
func New(cloud Cloud, now func() time.Time, tell func(job string, err error)) *Scheduler {
	return &Scheduler{cloud: cloud, now: now, tell: tell, waits: map[string]string{}}
}

// Run looks for jobs that are due until ctx ends.
func (s *Scheduler) Run(ctx context.Context) {
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.Look(ctx)
		}
	}
}

// Look starts the job that is due for the longest time and can run, unless one runs.
func (s *Scheduler) Look(ctx context.Context) {
	jobs, err := s.cloud.Jobs(ctx)
	if err != nil {
		s.hold(ctx, "", err)
		return
	}
	s.release("")
	now := s.now()
	slices.SortStableFunc(jobs, func(a, b Job) int {
		return cmp.Or(Next(a, now).Compare(Next(b, now)), cmp.Compare(a.Name, b.Name))
	})
	if slices.ContainsFunc(jobs, func(j Job) bool { return j.State.Running }) {
		return
	}
	s.forget(jobs)
	for _, j := range jobs {
		if Next(j, now).After(now) {
			s.release(j.Name)
			continue
		}
		err := s.cloud.Start(ctx, j.Name)
		if err == nil {
			s.release(j.Name)
			return
		}
		s.hold(ctx, j.Name, err)
	}
}

// Waits says why a job that is due has not been started, "" where nothing keeps it.
func (s *Scheduler) Waits(job string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waits[job]
}

func (s *Scheduler) hold(ctx context.Context, job string, err error) {
	if ctx.Err() != nil {
		return // it is the agent that ends
	}
	s.mu.Lock()
	known := s.waits[job] == err.Error()
	s.waits[job] = err.Error()
	s.mu.Unlock()
	if !known {
		s.tell(job, err)
	}
}

func (s *Scheduler) release(job string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waits, job)
}

// forget drops what is known of jobs that are not declared any more.
func (s *Scheduler) forget(jobs []Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.waits {
		if !slices.ContainsFunc(jobs, func(j Job) bool { return j.Name == name }) {
			delete(s.waits, name)
		}
	}
}
