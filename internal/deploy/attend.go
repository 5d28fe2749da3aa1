// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"copse/internal/change"
	"copse/internal/store"
	"copse/internal/tree"
)

// ErrAtWork: a change has the container in hand, or it is not the active generation any more, or
// an operator has stopped it.
var ErrAtWork = errors.New("a change has it in hand")

// occupancy keeps tasks and those who attend to a container between changes apart: tasks of one
// container share it, who attends has it alone.
type occupancy struct {
	mu    sync.Mutex
	locks map[string]*sync.RWMutex
	// worked is when a task of a container has ended last.
	worked map[string]time.Time
}

func (o *occupancy) of(name string) *sync.RWMutex {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.locks == nil {
		o.locks, o.worked = map[string]*sync.RWMutex{}, map[string]time.Time{}
	}
	if o.locks[name] == nil {
		o.locks[name] = &sync.RWMutex{}
	}
	return o.locks[name]
}

func (o *occupancy) ended(name string, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.worked[name] = now
}

// occupy has a handler keep others off its container while it runs.
func (d *Deployer) occupy(h change.Handler) change.Handler {
	wrap := func(do func(context.Context, *change.Run) error) func(context.Context, *change.Run) error {
		if do == nil {
			return nil
		}
		return func(ctx context.Context, t *change.Run) error {
			name := t.Task().Subject
			lock := d.occupied.of(name)
			lock.RLock()
			defer lock.RUnlock()
			defer func() { d.occupied.ended(name, d.Clock.Now()) }()
			return do(ctx, t)
		}
	}
	h.Do, h.Undo, h.Cleanup = wrap(h.Do), wrap(h.Undo), wrap(h.Cleanup)
	return h
}

// Worked returns when a task has last worked on each container since the agent started. What
// happened to a container before that is the task's doing.
func (d *Deployer) Worked() map[string]time.Time {
	d.occupied.mu.Lock()
	defer d.occupied.mu.Unlock()
	return maps.Clone(d.occupied.worked)
}

// AtWork returns the containers that an unfinished change has begun with, and the change's number.
// One that it has only created something for goes on as before.
func (d *Deployer) AtWork() map[string]int {
	at := map[string]int{}
	for _, c := range d.runner.Unfinished() {
		type lane struct{ begun, over bool }
		lanes := map[int]*lane{}
		names := map[int]string{}
		for _, t := range c.Tasks {
			l := lanes[t.Lane]
			if l == nil {
				l = &lane{over: true}
				lanes[t.Lane] = l
			}
			names[t.Lane] = t.Subject
			if !t.Status.Final() {
				l.over = false
			}
			if t.Kind != taskCreate && t.Kind != taskPrepareHost && t.Status != change.Do && t.Status != change.Hold {
				l.begun = true
			}
		}
		for n, l := range lanes {
			if l.begun && !l.over {
				at[names[n]] = c.ID
			}
		}
	}
	return at
}

// Attend runs act for an active generation while no task touches its container. It returns
// ErrAtWork, and has done nothing, where that is not for anybody but a change.
func (d *Deployer) Attend(ctx context.Context, name string, generation int, act func(context.Context, *tree.Generation) error) error {
	lock := d.occupied.of(name)
	if !lock.TryLock() {
		return ErrAtWork
	}
	defer lock.Unlock()
	var g *tree.Generation
	err := d.Store.View(func(tx *store.Tx) (err error) {
		g, err = loadActive(tx, d.HostName, name)
		return err
	})
	if err != nil {
		return err
	}
	if g == nil || g.Number != generation || g.StoppedBy != 0 || d.AtWork()[name] != 0 {
		return ErrAtWork
	}
	return act(ctx, g)
}

// Bounce stops a generation's container where it runs and starts it, with the restart policy that
// is declared for it. Attend calls it.
func (d *Deployer) Bounce(ctx context.Context, g *tree.Generation, stop bool) error {
	if stop {
		if err := d.Engine.Stop(ctx, g.Name(), g.Container.Spec.StopGracePeriod); err != nil {
			return fmt.Errorf("cannot stop %s: %w", g.Name(), err)
		}
	}
	if err := d.standAlone(ctx, g); err != nil {
		return err
	}
	return d.startAgain(ctx, g)
}

// Abandon stops a generation's container for as long as nobody starts it. Attend calls it.
func (d *Deployer) Abandon(ctx context.Context, g *tree.Generation) error { return d.halt(ctx, g) }

// AwaitReady waits until a generation that was started again is ready, and has the proxy follow
// what is meant where it is the proxy.
func (d *Deployer) AwaitReady(ctx context.Context, g *tree.Generation) error {
	if err := d.waitReady(ctx, g, func(string) {}); err != nil {
		return err
	}
	if g.Container.Proxy != nil {
		return d.applyRoutes(ctx)
	}
	return nil
}
