// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metric is one metric of the cloud: what there is, in one place.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
}

// about are the labels of what is said of a container.
func about(more ...string) []string {
	return append([]string{"host", "set", "container"}, more...)
}

func metrics() map[string]metric {
	all := map[string]metric{}
	add := func(kind prometheus.ValueType, name, help string, labels ...string) {
		all[name] = metric{name: name, help: help, kind: kind, labels: labels}
	}
	gauge := func(name, help string, labels ...string) { add(prometheus.GaugeValue, name, help, labels...) }
	counter := func(name, help string, labels ...string) { add(prometheus.CounterValue, name, help, labels...) }

	gauge("copse_agent_info", "The agent's version, always 1.", "version", "build")
	gauge("copse_engine_up", "Whether the container engine answers. Where it does not, nothing is known of containers and images.")
	gauge("copse_container_info", "A container and what it belongs to, always 1.", about("component", "release")...)
	gauge("copse_container_health", "1 for the health that a container has, 0 for each other.", about("health")...)
	gauge("copse_container_running", "Whether a container runs.", about()...)
	counter("copse_container_restarts_total", "How often the present generation of a container was restarted after it had ended.", about()...)
	gauge("copse_container_generation", "The number of a container's generation, of one sequence for the whole cloud.", about()...)
	gauge("copse_container_generation_activated_timestamp_seconds", "When the present generation took over.", about()...)
	gauge("copse_container_started_timestamp_seconds", "When a container was last started.", about()...)
	gauge("copse_container_check_failures", "How often in a row a container's check has failed.", about()...)
	gauge("copse_container_check_duration_seconds", "How long a container's check took the last time.", about()...)
	gauge("copse_container_check_timestamp_seconds", "When a container's check last ran.", about()...)
	gauge("copse_container_window_seconds", "The time from the first to the last failed request when a container was last replaced.", about()...)
	gauge("copse_container_window_failed_requests", "How many requests failed when a container was last replaced.", about()...)
	gauge("copse_set_healthy", "Whether a set is healthy, with all that lies below it.", "set")
	counter("copse_set_transitions_total", "How many transitions of sets the agent has seen since it started.")
	counter("copse_hook_runs_total", "How many programs were told of transitions since the agent started.")
	counter("copse_hook_failures_total", "How many of them failed.")
	gauge("copse_changes", "The changes that are kept, by kind and status.", "kind", "status")
	gauge("copse_change_last_end_timestamp_seconds", "When the last change of a kind ended that way.", "kind", "status")
	gauge("copse_change_last_duration_seconds", "How long the last change of a kind took that ended that way.", "kind", "status")
	gauge("copse_change_oldest_open_timestamp_seconds", "When the oldest change began that has not ended.")
	gauge("copse_job_every_seconds", "The time from one run of a job on a timer to the next.", about()...)
	gauge("copse_job_failed", "Whether the last run of a job failed.", about()...)
	gauge("copse_job_waiting", "Whether a job is due and kept from running.", about()...)
	gauge("copse_job_last_run_timestamp_seconds", "When the last run of a job began.", about()...)
	gauge("copse_job_last_success_timestamp_seconds", "When a job last ended well.", about()...)
	gauge("copse_job_last_duration_seconds", "How long the last run of a job took.", about()...)
	gauge("copse_job_next_run_timestamp_seconds", "When a job is due.", about()...)
	gauge("copse_images_declared", "How many images the declared cloud uses.")
	gauge("copse_images_missing", "How many of them are not on this host.")
	return all
}

// Names lists the metrics of the cloud; those of the process are client_golang's.
func Names() []string { return slices.Sorted(maps.Keys(metrics())) }

// write sends all of a snapshot. A name that is not declared above panics, which a test finds.
func (s *Snapshot) write(out chan<- prometheus.Metric) {
	known := metrics()
	put := func(name string, value float64, labels ...string) {
		m, ok := known[name]
		if !ok {
			panic("no such metric: " + name)
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(m.name, m.help, m.labels, nil), m.kind, value, labels...)
	}
	moment := func(name string, t time.Time, labels ...string) {
		if !t.IsZero() {
			put(name, float64(t.UnixMilli())/1000, labels...)
		}
	}
	put("copse_agent_info", 1, s.Version, s.Build)
	put("copse_engine_up", truth(s.EngineUp))
	for _, c := range s.Containers {
		id := []string{c.Host, c.Set, c.Name}
		put("copse_container_info", 1, append(id, c.Component, c.Release)...)
		for _, h := range Healths() {
			put("copse_container_health", truth(h == c.Health), append(id, h)...)
		}
		put("copse_container_running", truth(c.Running), id...)
		put("copse_container_restarts_total", float64(c.Restarts), id...)
		put("copse_container_generation", float64(c.Generation), id...)
		moment("copse_container_generation_activated_timestamp_seconds", c.Activated, id...)
		moment("copse_container_started_timestamp_seconds", c.Started, id...)
		if c.Check != nil {
			put("copse_container_check_failures", float64(c.Check.Failures), id...)
			put("copse_container_check_duration_seconds", c.Check.Took.Seconds(), id...)
			moment("copse_container_check_timestamp_seconds", c.Check.At, id...)
		}
		if c.Window != nil {
			put("copse_container_window_seconds", c.Window.Seconds, id...)
			put("copse_container_window_failed_requests", float64(c.Window.Failed), id...)
		}
	}
	for _, set := range s.Sets {
		put("copse_set_healthy", truth(set.Healthy), set.Path)
	}
	put("copse_set_transitions_total", float64(s.Transitions))
	put("copse_hook_runs_total", float64(s.HookRuns))
	put("copse_hook_failures_total", float64(s.HookFailures))
	s.writeChanges(put, moment)
	for _, j := range s.Jobs {
		id := []string{j.Host, j.Set, j.Name}
		put("copse_job_every_seconds", j.Every.Seconds(), id...)
		put("copse_job_failed", truth(j.Result == "error"), id...)
		put("copse_job_waiting", truth(j.Waiting), id...)
		moment("copse_job_last_run_timestamp_seconds", j.LastRun, id...)
		moment("copse_job_last_success_timestamp_seconds", j.Succeeded, id...)
		moment("copse_job_next_run_timestamp_seconds", j.Next, id...)
		if j.Took != nil {
			put("copse_job_last_duration_seconds", *j.Took, id...)
		}
	}
	if s.EngineUp {
		put("copse_images_declared", float64(s.ImagesDeclared))
		put("copse_images_missing", float64(s.ImagesMissing))
	}
}

func (s *Snapshot) writeChanges(put func(string, float64, ...string), moment func(string, time.Time, ...string)) {
	type key struct{ kind, status string }
	count := map[key]int{}
	last := map[key]Change{}
	var open time.Time
	for _, c := range s.Changes {
		k := key{c.Kind, c.Status}
		count[k]++
		if c.Ended.IsZero() {
			if open.IsZero() || c.Created.Before(open) {
				open = c.Created
			}
			continue
		}
		if c.Ended.After(last[k].Ended) {
			last[k] = c
		}
	}
	order := func(a, b key) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.status, b.status)) }
	for _, k := range slices.SortedFunc(maps.Keys(count), order) {
		put("copse_changes", float64(count[k]), k.kind, k.status)
		if c, ended := last[k]; ended {
			moment("copse_change_last_end_timestamp_seconds", c.Ended, k.kind, k.status)
			put("copse_change_last_duration_seconds", c.Ended.Sub(c.Created).Seconds(), k.kind, k.status)
		}
	}
	moment("copse_change_oldest_open_timestamp_seconds", open)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
