// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package metrics puts what an agent knows into the form that Prometheus reads. It asks for one snapshot
// at each scrape and keeps nothing in between, so that what is shown is what is, and what has gone has no
// series any more. monitoring/alerts.yaml and monitoring/dashboard.json are made for these metrics, and a
// test holds them to it.
package metrics

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Snapshot is what an agent knows at one moment. Zero times and nil numbers are left out.
type Snapshot struct {
	Version, Build string
	// EngineUp is whether the container engine answers. Where it does not, nothing is known of containers
	// and images.
	EngineUp   bool
	Containers []Container
	Sets       []Set
	Changes    []Change
	Jobs       []Job
	// ImagesDeclared and ImagesMissing count images of the declared cloud.
	ImagesDeclared, ImagesMissing int
	// Transitions counts those of sets since the agent started, HookRuns and HookFailures the programs that were told.
	Transitions, HookRuns, HookFailures int
}

// Container is one container that is no job.
type Container struct {
	Host, Set, Name, Component, Release string
	// Health is one of Healths.
	Health  string
	Running bool
	// Restarts counts those of the present generation.
	Restarts   int
	Generation int
	Activated  time.Time
	Started    time.Time
	// Check is its last result, nil where there is none.
	Check *Check
	// Window is the last one that was measured, nil where none was.
	Window *Window
}

// Check is the last result of a container's check.
type Check struct {
	At       time.Time
	Took     time.Duration
	Failures int // in a row
}

// Window is the time in which requests failed while a container was replaced.
type Window struct {
	Seconds float64
	Failed  int
}

// Set is a set with its subsets.
type Set struct {
	Path    string
	Healthy bool
}

// Change is one change that is kept.
type Change struct {
	Kind, Status string
	Created      time.Time
	Ended        time.Time // zero while it goes on
}

// Job is a job that has a timer.
type Job struct {
	Host, Set, Name string
	Every           time.Duration
	// Result is the last run's: "doing", "done", "error", "aborted" or "".
	Result    string
	LastRun   time.Time
	Took      *float64 // seconds
	Succeeded time.Time
	Next      time.Time
	Waiting   bool
}

// Healths are the words for a container's health.
func Healths() []string {
	return []string{"healthy", "starting", "unhealthy", "failed", "stopped"}
}

// Source gives a snapshot. Its error fails the scrape.
type Source func(ctx context.Context) (Snapshot, error)

// Handler answers GET /metrics: the cloud as the source shows it, and the agent's own process. A scrape
// may take as long as limit.
func Handler(source Source, limit time.Duration, log *slog.Logger) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collector{source: source, limit: limit},
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            complaints{log},
		ErrorHandling:       promhttp.HTTPErrorOnError,
		MaxRequestsInFlight: 4,
	})
}

// complaints is a log for promhttp.
type complaints struct{ log *slog.Logger }

// Println implements promhttp.Logger.
func (c complaints) Println(v ...any) { c.log.Warn("cannot answer a scrape", "error", v) }

// collector makes metrics of snapshots.
type collector struct {
	source Source
	limit  time.Duration
}

// Describe sends nothing: what there is depends on the cloud.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), c.limit)
	defer cancel()
	s, err := c.source(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
		return
	}
	s.write(out)
}
