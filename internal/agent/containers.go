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
	"time"

	"copse/internal/api"
	"copse/internal/deploy"
	"copse/internal/engine"
	"copse/internal/health"
	"copse/internal/tree"
)

func (a *Agent) getDocument(w http.ResponseWriter, _ *http.Request) error {
	doc, err := a.document()
	if err != nil {
		return err
	}
	a.answer(w, http.StatusOK, doc)
	return nil
}

func (a *Agent) getTree(w http.ResponseWriter, _ *http.Request) error {
	doc, err := a.document()
	if err != nil {
		return err
	}
	active, err := a.deployer.Active()
	if err != nil {
		return err
	}
	a.answer(w, http.StatusOK, tree.WithVersions(doc.Sets, active))
	return nil
}

// document returns what is declared, or an error that says that nothing is.
func (a *Agent) document() (*tree.Document, error) {
	doc, err := a.deployer.Document()
	if err == nil && doc == nil {
		err = deploy.ErrNothingDeclared
	}
	return doc, err
}

// selected returns the declared document and the containers that a request's names stand for.
func (a *Agent) selected(r *http.Request) (*tree.Document, map[string]bool, error) {
	doc, err := a.document()
	if err != nil {
		return nil, nil, err
	}
	names, err := doc.Select(r.URL.Query()["name"])
	if err != nil {
		return nil, nil, err
	}
	selected := make(map[string]bool, len(names))
	for _, n := range names {
		selected[n] = true
	}
	return doc, selected, nil
}

// scene is what a request about containers looks at.
type scene struct {
	doc      *tree.Document
	selected map[string]bool
	active   map[string]*tree.Generation
	running  map[string]bool // by the engine's name
}

func (a *Agent) look(r *http.Request) (s scene, err error) {
	if s.doc, s.selected, err = a.selected(r); err != nil {
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
	doc, selected, err := a.selected(r)
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

// healthOf is a container's health in the words of the API.
func (a *Agent) healthOf(g *tree.Generation, state engine.State) string {
	switch {
	case g.Container.Job != nil:
		return "completed"
	case state != engine.Running && g.StoppedBy != 0:
		return "stopped"
	case state != engine.Running && a.supervisor.Bringing(g.Container.Name):
		return health.Starting
	case state != engine.Running:
		return "failed"
	case g.Container.Check == nil:
		return health.Healthy
	}
	if result, known := a.monitor.Result(g.Name()); known {
		return result.State
	}
	return health.Starting
}

// getHealth runs the checks now: who asks wants to know what is, not what was.
func (a *Agent) getHealth(w http.ResponseWriter, r *http.Request) error {
	s, err := a.look(r)
	if err != nil {
		return err
	}
	answer := []api.Health{}
	for _, c := range a.services(s) {
		if c.Check == nil {
			continue
		}
		g := s.active[c.Name]
		if g == nil || !s.running[g.Name()] {
			answer = append(answer, a.away(c, g))
			continue
		}
		answer = append(answer, a.checkNow(r.Context(), c, g))
		if c.Ready != nil {
			answer = append(answer, a.readyNow(r.Context(), c, g))
		}
	}
	a.answer(w, http.StatusOK, answer)
	return nil
}

// away is the health of a container that does not run.
func (a *Agent) away(c *tree.Container, g *tree.Generation) api.Health {
	one := api.Health{
		Host: c.Host, Set: c.Set, Container: c.Name, Check: "health", Test: c.Check.Test, Health: "stopped", Output: "it does not run",
	}
	if g != nil {
		one.Health = a.healthOf(g, engine.Exited)
		if why := a.whyFailed(g.Container.Name); why != "" {
			one.Output = why
		}
	}
	return one
}

// checkNow runs the check that decides about a container's health.
func (a *Agent) checkNow(ctx context.Context, c *tree.Container, g *tree.Generation) api.Health {
	result := a.monitor.Check(ctx, health.Target{Name: g.Name(), Check: c.Check})
	return api.Health{
		Host: c.Host, Set: c.Set, Container: c.Name, Check: "health", Test: c.Check.Test, Health: result.State,
		Output: result.Output, At: moment(result.At), Took: result.Took.Seconds(), Failures: result.Failures,
	}
}

// readyNow runs the check that decided about its readiness.
func (a *Agent) readyNow(ctx context.Context, c *tree.Container, g *tree.Generation) api.Health {
	began := time.Now()
	ok, output, _ := a.deployer.RunCheck(ctx, g.Name(), c.Ready) // the output says what the error does
	one := api.Health{
		Host: c.Host, Set: c.Set, Container: c.Name, Check: "ready", Test: c.Ready.Test, Health: health.Healthy,
		Output: output, At: &began, Took: time.Since(began).Seconds(),
	}
	if !ok {
		one.Health, one.Failures = health.Unhealthy, 1
	}
	return one
}

func (a *Agent) getHistory(w http.ResponseWriter, r *http.Request) error {
	_, selected, err := a.selected(r)
	if err != nil {
		return err
	}
	generations, err := a.deployer.Generations()
	if err != nil {
		return err
	}
	answer := []api.Generation{}
	for _, g := range generations {
		if !selected[g.Container.Name] {
			continue
		}
		item := api.Generation{
			Host: g.Container.Host, Set: g.Container.Set, Name: g.Container.Name, Generation: g.Number,
			Release: g.Container.Release, Image: g.Container.Spec.Image, State: string(g.State),
			Change: g.Change, Cause: g.Cause, CreatedAt: g.Created, Activated: moment(g.Activated), Of: g.Of,
		}
		if g.Window != nil && g.Window.Probes > 0 {
			seconds := g.Window.Duration.Seconds()
			item.WindowSeconds, item.FailedRequests, item.Probes = &seconds, &g.Window.Failed, g.Window.Probes
		}
		answer = append(answer, item)
	}
	a.answer(w, http.StatusOK, answer)
	return nil
}

func (a *Agent) getTop(w http.ResponseWriter, r *http.Request) error {
	s, err := a.look(r)
	if err != nil {
		return err
	}
	answer := []api.Process{}
	for _, c := range a.services(s) {
		g := s.active[c.Name]
		if g == nil || !s.running[g.Name()] {
			continue
		}
		processes, err := a.Engine.Top(r.Context(), g.Name())
		if err != nil {
			return fmt.Errorf("cannot list the processes of %s: %w", g.Name(), err)
		}
		for i, p := range processes {
			one := api.Process{Container: c.Name, PID: p.PID, PPID: p.PPID, User: p.User, Command: p.Command}
			if i == 0 {
				one.Usage = a.usage(r.Context(), g)
			}
			answer = append(answer, one)
		}
	}
	a.answer(w, http.StatusOK, answer)
	return nil
}

// usage is what a container uses now, nil where the engine does not say.
func (a *Agent) usage(ctx context.Context, g *tree.Generation) *api.Usage {
	s, err := a.Engine.Stats(ctx, g.Name())
	if err != nil {
		return nil
	}
	return &api.Usage{CPUSeconds: s.CPU.Seconds(), Memory: s.Memory, MemoryLimit: s.MemoryLimit, Pids: s.Pids}
}
