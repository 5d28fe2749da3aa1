// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package api

import "time"

// SetHealth answers GET /v1/health/NAME, with status 200 where everything is healthy and 503 otherwise.
// It is what was seen last; no check is run for it, so that it may be asked for often.
type SetHealth struct {
	// Name is what was asked for: a set, a component or a container; the cloud's where nothing was.
	Name string `json:"name"`
	// State is "healthy", "unhealthy", or "stopped" where all of it is because somebody asked for that.
	State string `json:"state"`
	// Containers is how many it has.
	Containers int `json:"containers"`
	// Unhealthy are those that are not healthy.
	Unhealthy []ContainerHealth `json:"unhealthy"`
}

// ContainerHealth is a container that is not healthy, and why.
type ContainerHealth struct {
	Set  string `json:"set"`
	Name string `json:"name"`
	// Health is one of starting, unhealthy, failed, stopped.
	Health string `json:"health"`
	Why    string `json:"why"`
}

// Job is one object of GET /v1/jobs: a job that runs on a timer.
type Job struct {
	Host      string `json:"host"`
	Set       string `json:"set"`
	Name      string `json:"name"`
	Component string `json:"component"`
	// EverySeconds is the time from the beginning of one run to that of the next.
	EverySeconds float64 `json:"every_seconds"`
	// Change is that of the last run; 0: it has not run yet.
	Change int `json:"change"`
	// Kind is "scheduled", or "run" where somebody asked for the last run.
	Kind    string     `json:"kind,omitempty"`
	LastRun *time.Time `json:"last_run,omitempty"`
	// TookSeconds is how long the last run took; missing while it runs.
	TookSeconds *float64 `json:"took_seconds,omitempty"`
	// Result is the last run's: "doing", "done", "error" or "aborted"; "" where there was none.
	Result string `json:"result"`
	// Error says what failed, with the way out.
	Error       string     `json:"error,omitempty"`
	LastSuccess *time.Time `json:"last_success,omitempty"`
	NextRun     *time.Time `json:"next_run,omitempty"`
	// Waits says what keeps a run that is due.
	Waits string `json:"waits,omitempty"`
}
