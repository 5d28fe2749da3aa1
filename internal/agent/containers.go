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
	a.answer(w, http.StatusOK, doc.Sets)
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
	return one, nil
}

// healthOf is a container's health in the words of the API.
func (a *Agent) healthOf(g *tree.Generation, state engine.State) string {
	switch {
	case g.Container.Job != nil:
		return "completed"
	case state != engine.Running && g.StoppedBy != 0:
		return "stopped"
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
	doc, selected, err := a.selected(r)
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
	answer := []api.Health{}
	for i := range doc.Containers {
		c := &doc.Containers[i]
		if c.Host != a.HostName || !selected[c.Name] || c.Job != nil || c.Check == nil {
			continue
		}
		one := api.Health{Host: c.Host, Set: c.Set, Container: c.Name, Check: "health", Test: c.Check.Test, Health: "stopped"}
		g := active[c.Name]
		if g == nil || !running[g.Name()] {
			if g != nil {
				one.Health = a.healthOf(g, engine.Exited)
			}
			one.Output = "it does not run"
			answer = append(answer, one)
			continue
		}
		result := a.monitor.Check(r.Context(), health.Target{Name: g.Name(), Check: c.Check, Started: g.Activated})
		one.Health, one.Output, one.At = result.State, result.Output, moment(result.At)
		one.Took, one.Failures = result.Took.Seconds(), result.Failures
		answer = append(answer, one)
		if c.Ready != nil {
			began := time.Now()
			ok, output, _ := deploy.RunCheck(r.Context(), a.Engine, g.Name(), c.Ready)
			ready := api.Health{
				Host: c.Host, Set: c.Set, Container: c.Name, Check: "ready", Test: c.Ready.Test, Health: health.Healthy,
				Output: output, At: &began, Took: time.Since(began).Seconds(),
			}
			if !ok {
				ready.Health, ready.Failures = health.Unhealthy, 1
			}
			answer = append(answer, ready)
		}
	}
	a.answer(w, http.StatusOK, answer)
	return nil
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
		answer = append(answer, api.Generation{
			Host: g.Container.Host, Set: g.Container.Set, Name: g.Container.Name, Generation: g.Number,
			Release: g.Container.Release, Image: g.Container.Spec.Image, State: string(g.State),
			Change: g.Change, Cause: g.Cause, CreatedAt: g.Created, Activated: moment(g.Activated),
		})
	}
	a.answer(w, http.StatusOK, answer)
	return nil
}

func (a *Agent) getTop(w http.ResponseWriter, r *http.Request) error {
	_, selected, err := a.selected(r)
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
	answer := []api.Process{}
	for _, name := range tree.SortedKeys(active) {
		g := active[name]
		if !selected[name] || !running[g.Name()] {
			continue
		}
		processes, err := a.Engine.Top(r.Context(), g.Name())
		if err != nil {
			return fmt.Errorf("cannot list the processes of %s: %w", g.Name(), err)
		}
		for i, p := range processes {
			one := api.Process{Container: name, PID: p.PID, PPID: p.PPID, User: p.User, Command: p.Command}
			if i == 0 {
				if s, err := a.Engine.Stats(r.Context(), g.Name()); err == nil {
					one.Usage = &api.Usage{CPUSeconds: s.CPU.Seconds(), Memory: s.Memory, MemoryLimit: s.MemoryLimit, Pids: s.Pids}
				}
			}
			answer = append(answer, one)
		}
	}
	a.answer(w, http.StatusOK, answer)
	return nil
}
