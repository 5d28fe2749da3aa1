// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"copse/internal/api"
	"copse/internal/change"
	"copse/internal/engine"
	"copse/internal/health"
	"copse/internal/standing"
	"copse/internal/tree"
)

// settleTime is how long a new generation counts as healthy without a result of its check: it has just
// proved itself by being ready, and a load balancer must not see a gap at each replacement.
const settleTime = 10 * time.Second

// getSetHealth answers load balancers and cluster managers, which look at the status alone.
func (a *Agent) getSetHealth(w http.ResponseWriter, r *http.Request) error {
	name := strings.Trim(r.PathValue("name"), "/")
	var names []string
	if name != "" {
		names = []string{name}
	}
	doc, selected, err := a.selected(names)
	if err != nil {
		return err
	}
	active, err := a.deployer.Active()
	if err != nil {
		return err
	}
	running, err := a.running(r.Context())
	if err != nil {
		return err
	}
	var containers []standing.Container
	for i := range doc.Containers {
		c := &doc.Containers[i]
		if c.Host == a.HostName && c.Job == nil && selected[c.Name] {
			containers = append(containers, a.stands(c.Set, c.Name, active[c.Name], running))
		}
	}
	if name == "" {
		name = doc.Cloud
	}
	set := standing.Of(name, containers)
	answer := api.SetHealth{Name: set.Path, State: string(set.State), Containers: set.Containers, Unhealthy: []api.ContainerHealth{}}
	for _, c := range set.Unwell {
		answer.Unhealthy = append(answer.Unhealthy, api.ContainerHealth(c))
	}
	status := http.StatusOK
	if set.State != standing.Healthy {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Cache-Control", "no-store")
	a.answer(w, status, answer)
	return nil
}

// standingSets says how each set stands of which something was made.
func (a *Agent) standingSets(ctx context.Context) ([]standing.Set, error) {
	active, err := a.deployer.Active()
	if err != nil || len(active) == 0 {
		return nil, err
	}
	running, err := a.running(ctx)
	if err != nil {
		return nil, err
	}
	var containers []standing.Container
	paths := map[string]bool{}
	for _, name := range tree.SortedKeys(active) {
		c := &active[name].Container
		if c.Job != nil {
			continue
		}
		containers = append(containers, a.stands(c.Set, c.Name, active[name], running))
		for path := c.Set; path != ""; path = parent(path) {
			paths[path] = true
		}
	}
	var sets []tree.Set
	for _, path := range tree.SortedKeys(paths) {
		sets = append(sets, tree.Set{Path: path})
	}
	return standing.Sets(sets, containers), nil
}

// parent is the set that a set lies in, "" for one at the root.
func parent(path string) string {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return ""
	}
	return path[:i]
}

// stands says how a container stands; g is nil where it was never made.
func (a *Agent) stands(set, name string, g *tree.Generation, running map[string]bool) standing.Container {
	c := standing.Container{Set: set, Name: name, Health: string(standing.Stopped)}
	if g == nil {
		c.Why = "it has not been made yet"
		return c
	}
	state := engine.Exited
	if running[g.Name()] {
		state = engine.Running
	}
	c.Health = a.healthOf(g, state)
	if c.Health == health.Starting && time.Since(g.Activated) < settleTime {
		c.Health = health.Healthy
	}
	switch {
	case c.Health == health.Healthy:
	case g.StoppedBy != 0 && state != engine.Running:
		c.Why = fmt.Sprintf("stopped by change %d", g.StoppedBy)
	case state != engine.Running:
		c.Why = "it does not run"
		var busy *change.ConflictError
		if err := a.deployer.Changes().Busy([]string{g.Container.ID()}); errors.As(err, &busy) {
			c.Why += fmt.Sprintf("; change %d (%s) is at work on it", busy.Change, busy.Summary)
		}
	default:
		c.Why = "its check has not succeeded yet"
		if result, known := a.monitor.Result(g.Name()); known && result.Output != "" {
			c.Why = result.Output
		}
	}
	return c
}
