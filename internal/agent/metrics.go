// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"

	"copse/internal/api"
	"copse/internal/engine"
	"copse/internal/metrics"
	"copse/internal/standing"
	"copse/internal/tree"
)

// snapshot gathers what a scrape shows. An engine that does not answer is one of the things to show.
func (a *Agent) snapshot(ctx context.Context) (metrics.Snapshot, error) {
	s := metrics.Snapshot{Version: a.Version, Build: a.build}
	stats := a.watcher.Stats()
	s.Transitions, s.HookRuns, s.HookFailures = stats.Transitions, stats.Runs, stats.Failures
	if err := a.history(&s); err != nil {
		return s, err
	}
	doc, err := a.deployer.Document()
	if err != nil {
		return s, err
	}
	running, err := a.running(ctx)
	if err != nil {
		if errors.Is(err, engine.ErrUnavailable) {
			return s, nil
		}
		return s, err
	}
	s.EngineUp = true
	if doc == nil {
		return s, nil
	}
	if err := a.countImages(ctx, doc, &s); err != nil {
		return s, err
	}
	return s, a.describeContainers(ctx, doc, running, &s)
}

// history fills in what the store knows.
func (a *Agent) history(s *metrics.Snapshot) error {
	changes, err := a.deployer.ListChanges()
	if err != nil {
		return err
	}
	for _, c := range changes {
		s.Changes = append(s.Changes, metrics.Change{Kind: c.Kind, Status: changeStatus(c), Created: c.Created, Ended: c.Ended})
	}
	jobs, err := a.jobs()
	if err != nil {
		return err
	}
	for _, j := range jobs {
		s.Jobs = append(s.Jobs, meteredJob(j))
	}
	return nil
}

func meteredJob(j api.Job) metrics.Job {
	one := metrics.Job{
		Host: j.Host, Set: j.Set, Name: j.Name, Every: seconds(j.EverySeconds), Result: j.Result, Took: j.TookSeconds, Waiting: j.Waits != "",
	}
	if j.LastRun != nil {
		one.LastRun = *j.LastRun
	}
	if j.LastSuccess != nil {
		one.Succeeded = *j.LastSuccess
	}
	if j.NextRun != nil {
		one.Next = *j.NextRun
	}
	return one
}

func (a *Agent) countImages(ctx context.Context, doc *tree.Document, s *metrics.Snapshot) error {
	s.ImagesDeclared = len(doc.Images)
	for _, i := range doc.Images {
		_, err := a.Engine.Image(ctx, i.Reference)
		if errors.Is(err, engine.ErrNotFound) {
			s.ImagesMissing++
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (a *Agent) describeContainers(ctx context.Context, doc *tree.Document, running map[string]bool, s *metrics.Snapshot) error {
	active, err := a.deployer.Active()
	if err != nil {
		return err
	}
	windows, err := a.windows()
	if err != nil {
		return err
	}
	var standings []standing.Container
	for i := range doc.Containers {
		c := &doc.Containers[i]
		if c.Host != a.HostName || c.Job != nil {
			continue
		}
		g := active[c.Name]
		standings = append(standings, a.stands(c.Set, c.Name, g, running))
		seen, err := a.container(ctx, c, g)
		if err != nil {
			return err
		}
		one := metrics.Container{
			Host: c.Host, Set: c.Set, Name: c.Name, Component: c.Component, Release: seen.Release,
			Health: seen.Health, Running: seen.State == string(engine.Running), Restarts: seen.Restarts, Generation: seen.Generation,
			Window: windows[c.Name],
		}
		if seen.StartedAt != nil {
			one.Started = *seen.StartedAt
		}
		if g != nil {
			one.Activated = g.Activated
			if r, known := a.monitor.Result(g.Name()); known && !r.At.IsZero() {
				one.Check = &metrics.Check{At: r.At, Took: r.Took, Failures: r.Failures}
			}
		}
		s.Containers = append(s.Containers, one)
	}
	for _, set := range standing.Sets(doc.Sets, standings) {
		s.Sets = append(s.Sets, metrics.Set{Path: set.Path, Healthy: set.State == standing.Healthy})
	}
	return nil
}

// windows returns the last measured window of each container.
func (a *Agent) windows() (map[string]*metrics.Window, error) {
	generations, err := a.deployer.Generations()
	if err != nil {
		return nil, err
	}
	windows := map[string]*metrics.Window{}
	for _, g := range generations { // oldest first
		if g.Window != nil && g.Window.Probes > 0 {
			windows[g.Container.Name] = &metrics.Window{Seconds: g.Window.Duration.Seconds(), Failed: g.Window.Failed}
		}
	}
	return windows, nil
}
