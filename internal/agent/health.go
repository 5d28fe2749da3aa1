// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"net/http"
	"time"

	"copse/internal/api"
	"copse/internal/engine"
	"copse/internal/health"
	"copse/internal/tree"
)

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
