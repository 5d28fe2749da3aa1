// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"copse/internal/deploy"
	"copse/internal/engine"
	"copse/internal/health"
	"copse/internal/store"
	"copse/internal/supervise"
	"copse/internal/tree"
)

// parallelChecks bounds the checks that run at the same time.
const parallelChecks = 8

// setUpSupervision makes what runs the checks and acts on them.
func (a *Agent) setUpSupervision(db *store.Store) {
	told := func(t health.Target, r health.Result) { a.supervisor.Told(t, r) }
	a.monitor = health.New(a.runCheck, told, time.Now, parallelChecks)
	a.supervisor = supervise.New(supervise.Options{
		Engine: a.Engine, Actor: actor{a.deployer}, Store: db, Monitor: a.monitor,
		Units: a.units, Overloaded: overloaded, Hide: a.secrets.Hide, Host: a.HostName, Log: a.Log,
	})
	a.incidents = func(since time.Time) ([]supervise.Incident, error) { return supervise.Incidents(db, a.HostName, since) }
}

// runCheck runs a check inside a container for the monitor. It says that nothing is known where
// the engine is away or hangs, and where the container has just ended, which events tell.
func (a *Agent) runCheck(ctx context.Context, container string, check *tree.Check) health.Said {
	ok, output, err := a.deployer.RunCheck(ctx, container, check)
	said := health.Said{OK: ok, Output: output}
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, engine.ErrUnavailable), errors.Is(err, engine.ErrNotFound):
		said.Unknown = true
	default:
		// Either the container hangs or the engine does: one of them still answers.
		asked, cancel := context.WithTimeout(ctx, engineTimeout)
		defer cancel()
		c, err := a.Engine.Inspect(asked, container)
		said.Unknown = err != nil || (c.State != engine.Running && c.State != engine.Paused)
	}
	return said
}

// overloadedTasks is the load for each processor above which a host is overloaded: so many tasks
// want to run, on the average of a minute, where one can.
const overloadedTasks = 4

// overloaded reports whether this host has far more to do than it can (proc_loadavg(5)). A host that
// does not say is not.
func overloaded() bool {
	content, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return false
	}
	first, _, _ := strings.Cut(string(content), " ")
	load, err := strconv.ParseFloat(first, 64)
	return err == nil && load > overloadedTasks*float64(runtime.NumCPU())
}

// engineTimeout is how long an engine that is well takes at the very most to describe a container.
const engineTimeout = 5 * time.Second

// actor does what the supervisor decides, by the means of changes.
type actor struct{ deployer *deploy.Deployer }

func (d actor) attend(ctx context.Context, name string, generation int, act func(context.Context, *tree.Generation) error) error {
	err := d.deployer.Attend(ctx, name, generation, act)
	if errors.Is(err, deploy.ErrAtWork) {
		return supervise.ErrHandsOff
	}
	return err
}

// Bounce implements supervise.Actor.
func (d actor) Bounce(ctx context.Context, name string, generation int, stop bool) error {
	return d.attend(ctx, name, generation, func(ctx context.Context, g *tree.Generation) error {
		return d.deployer.Bounce(ctx, g, stop)
	})
}

// Abandon implements supervise.Actor.
func (d actor) Abandon(ctx context.Context, name string, generation int) error {
	return d.attend(ctx, name, generation, d.deployer.Abandon)
}

// Ready implements supervise.Actor.
func (d actor) Ready(ctx context.Context, name string) error {
	active, err := d.deployer.Active()
	if err != nil || active[name] == nil {
		return err
	}
	return d.deployer.AwaitReady(ctx, active[name])
}

// units are the active generations of services, for the supervisor.
func (a *Agent) units() ([]supervise.Unit, error) {
	active, err := a.deployer.Active()
	if err != nil {
		return nil, err
	}
	atWork, worked := a.deployer.AtWork(), a.deployer.Worked()
	var units []supervise.Unit
	for _, name := range tree.SortedKeys(active) {
		g := active[name]
		if g.Container.Job != nil {
			continue
		}
		u := supervise.Unit{
			Subject: supervise.Subject{
				Name: name, Generation: g.Number, Checked: g.Container.Check != nil,
				Depends: services(active, &g.Container), Held: g.StoppedBy != 0 || atWork[name] != 0,
			},
			Engine: g.Name(), Check: g.Container.Check, Worked: worked[name],
		}
		for _, d := range g.Container.Depends {
			if d.Restart {
				u.Follows = append(u.Follows, d.Name)
			}
		}
		for _, m := range g.Container.Spec.Mounts {
			if m.Type == tree.Bind {
				u.Binds = append(u.Binds, m.Source)
			}
		}
		units = append(units, u)
	}
	return units, nil
}

// services are the services that a container depends on, by way of jobs as well: a job has done
// its work, but what it needed is what its dependents need.
func services(active map[string]*tree.Generation, c *tree.Container) []string {
	var found []string
	seen := map[string]bool{c.Name: true}
	var visit func(c *tree.Container)
	visit = func(c *tree.Container) {
		for _, d := range c.Depends {
			g := active[d.Name]
			if g == nil || seen[d.Name] {
				continue
			}
			seen[d.Name] = true
			if g.Container.Job != nil {
				visit(&g.Container)
				continue
			}
			found = append(found, d.Name)
		}
	}
	visit(c)
	slices.Sort(found)
	return found
}
