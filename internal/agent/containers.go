// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"

	"copse/internal/api"
	"copse/internal/engine"
	"copse/internal/tree"
)

// scene is what a request about containers looks at.
type scene struct {
	doc      *tree.Document
	selected map[string]bool
	active   map[string]*tree.Generation
	running  map[string]bool // by the engine's name
}

func (a *Agent) look(r *http.Request) (s scene, err error) {
	if s.doc, s.selected, err = a.selected(named(r)); err != nil {
		return s, err
	}
	if s.active, err = a.deployer.Active(); err != nil {
		return s, err
	}
	s.running, err = a.running(r.Context())
	return s, err
}

// services returns the selected containers of this host that are no jobs.
func (a *Agent) services(s scene) []*tree.Container {
	var services []*tree.Container
	for i := range s.doc.Containers {
		if c := &s.doc.Containers[i]; c.Host == a.HostName && s.selected[c.Name] && c.Job == nil {
			services = append(services, c)
		}
	}
	return services
}

func (a *Agent) getContainers(w http.ResponseWriter, r *http.Request) error {
	doc, selected, err := a.selected(named(r))
	if err != nil {
		return err
	}
	active, err := a.deployer.Active()
	if err != nil {
		return err
	}
	all := r.URL.Query().Get("all") == "true"
	containers := []api.Container{}
	for i := range doc.Containers {
		c := &doc.Containers[i]
		if c.Host != a.HostName || !selected[c.Name] || (c.Job != nil && !all) {
			continue
		}
		one, err := a.container(r.Context(), c, active[c.Name])
		if err != nil {
			return err
		}
		containers = append(containers, one)
	}
	slices.SortStableFunc(containers, func(x, y api.Container) int {
		return slices.Compare([]string{x.Set, x.Name}, []string{y.Set, y.Name})
	})
	a.answer(w, http.StatusOK, containers)
	return nil
}

// container says where one container stands; g is nil where it was never made.
func (a *Agent) container(ctx context.Context, c *tree.Container, g *tree.Generation) (api.Container, error) {
	one := api.Container{
		Host: c.Host, Set: c.Set, Name: c.Name, Component: c.Component, Release: c.Release, Image: c.Spec.Image,
		State: "missing", Health: "stopped", Job: c.Job != nil,
	}
	if f := c.Frontend; f != nil && len(f.Addresses) > 0 {
		one.Address = net.JoinHostPort(f.Addresses[0], strconv.Itoa(f.Port))
	}
	if g == nil {
		return one, nil
	}
	one.Generation, one.Release, one.Image = g.Number, g.Container.Release, g.Container.Spec.Image
	there, err := a.Engine.Inspect(ctx, g.Name())
	if errors.Is(err, engine.ErrNotFound) {
		if c.Job != nil {
			one.Health = "completed"
		} else {
			one.Health = "failed"
		}
		return one, nil
	}
	if err != nil {
		return one, fmt.Errorf("cannot look at %s: %w", g.Name(), err)
	}
	one.EngineID, one.State, one.Restarts = there.ID, string(there.State), there.RestartCount
	one.StartedAt = moment(there.Started)
	one.Health = a.healthOf(g, there.State)
	one.Why = a.whyFailed(g.Container.Name)
	return one, nil
}

// running says of the containers of this host, by the engine's names, whether they run.
func (a *Agent) running(ctx context.Context) (map[string]bool, error) {
	containers, err := a.Engine.List(ctx, map[string]string{tree.LabelHost: a.HostName})
	if err != nil {
		return nil, err
	}
	running := map[string]bool{}
	for _, c := range containers {
		running[c.Name] = c.State == engine.Running
	}
	return running, nil
}
