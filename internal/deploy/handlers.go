// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"copse/internal/change"
	"copse/internal/engine"
	"copse/internal/plan"
	"copse/internal/store"
	"copse/internal/tree"
)

// handlers returns what does and undoes each kind of task. All of them look before they act,
// so that they can be run again after a crash, of the agent or of the engine.
func (d *Deployer) handlers() map[string]change.Handler {
	handlers := map[string]change.Handler{
		taskCreate:       {Do: d.create, Undo: d.uncreate},
		taskStart:        {Do: d.start, Undo: d.unstart},
		taskReady:        {Do: d.ready},
		taskHold:         {Do: d.hold, Undo: d.unhold},
		taskRelease:      {Do: d.release, Undo: d.unrelease},
		taskMonitor:      {Do: d.watchOver},
		taskSwitch:       {Do: d.switchOver, Undo: d.switchBack},
		taskRetire:       {Do: d.retire, Undo: d.unretire},
		taskInterrupt:    {Do: d.retire, Undo: d.unretire},
		taskCommit:       {Do: d.commit, Undo: d.uncommit, Cleanup: d.removeReplaced},
		taskRun:          {Do: d.run, Undo: d.unrun},
		taskResume:       {Do: d.resume, Undo: d.unresume},
		taskStop:         {Do: d.stop, Undo: d.unstop},
		taskRemove:       {Do: d.remove},
		taskRemoveVolume: {Do: d.removeVolume},
		taskRemoveStray:  {Do: d.removeStray},
		taskPrepareHost:  {Do: d.prepareHost, Undo: d.leaveHost},
	}
	for kind, h := range handlers {
		handlers[kind] = d.occupy(d.patient(h))
	}
	return handlers
}

// start starts the new generation's container.
func (d *Deployer) start(ctx context.Context, t *change.Run) error {
	g, err := d.generation(t)
	if err != nil {
		return err
	}
	// One engine call alone where another generation has just been stopped: who else was there, retire
	// has seen before.
	if _, alone := d.alone.LoadAndDelete(g.Name()); !alone {
		if err := d.standAlone(ctx, g); err != nil {
			return err
		}
	}
	if g.Container.Proxy != nil {
		if err := d.takeOver(ctx, t, g); err != nil {
			return err
		}
	}
	if err := d.Engine.Start(ctx, g.Name()); err != nil {
		// It may have started all the same, and only the answer got lost.
		return unlessAway(ctx, d.explainStart(ctx, g, err), func() error { return d.halt(context.WithoutCancel(ctx), g) })
	}
	return nil
}

// trialGrace is the most that a generation gets to end which has not proved itself: programs that are
// stopped while they start may not listen to anybody, and what is new has nothing to hand over.
const trialGrace = 10 * time.Second

// graceOnTrial is how long a generation gets to end that has not proved itself. A proxy has all of its
// time: it accepts connections as soon as it starts, and ends when the last of them is answered.
func graceOnTrial(c *tree.Container) time.Duration {
	if c.Proxy != nil {
		return c.Spec.StopGracePeriod
	}
	return min(c.Spec.StopGracePeriod, trialGrace)
}

func (d *Deployer) unstart(ctx context.Context, t *change.Run) error {
	g, err := d.generation(t)
	if err != nil {
		return err
	}
	return d.haltWithin(ctx, g, graceOnTrial(&g.Container))
}

// retire stops the generation that is replaced, and keeps its container.
func (d *Deployer) retire(ctx context.Context, t *change.Run) error {
	old, err := d.previous(t)
	if err != nil || old == nil {
		return err
	}
	var ran bool
	if looked, err := t.Get(dataRan, &ran); err != nil {
		return err
	} else if !looked {
		c, err := d.Engine.Inspect(ctx, old.Name())
		if err != nil && !errors.Is(err, engine.ErrNotFound) {
			return fmt.Errorf("cannot look at %s: %w", old.Name(), err)
		}
		if err := t.Set(dataRan, err == nil && c.State == engine.Running); err != nil {
			return err
		}
	}
	g, err := d.generation(t)
	if err != nil {
		return err
	}
	if err := d.openWindow(ctx, t); err != nil {
		return err
	}
	// What start would have to do in the gap is done before it.
	standsAlone := plan.Strategy(&g.Container) == tree.StopFirst
	if standsAlone {
		if err := d.standAlone(ctx, old); err != nil {
			return err
		}
	}
	if err := d.halt(ctx, old); err != nil {
		return unlessAway(ctx, err, func() error { return d.restore(context.WithoutCancel(ctx), t, old) })
	}
	if standsAlone {
		d.alone.Store(g.Name(), true)
	}
	return nil
}

func (d *Deployer) unretire(ctx context.Context, t *change.Run) error {
	old, err := d.previous(t)
	if err != nil || old == nil {
		return err
	}
	return d.restore(ctx, t, old)
}

// restore brings back the generation that was to be replaced, if it ran before.
func (d *Deployer) restore(ctx context.Context, t *change.Run, old *tree.Generation) error {
	var ran bool
	if _, err := t.Get(dataRan, &ran); err != nil || !ran {
		return err
	}
	if active, err := d.isActive(old); err != nil || !active {
		return err
	}
	t.Logf("starting %s again", old.Name())
	if old.Container.Proxy != nil {
		g, err := d.generation(t)
		if err != nil {
			return err
		}
		if err := d.handBack(ctx, g, old); err != nil {
			return err
		}
	}
	if err := d.reviveIfThere(ctx, old); err != nil {
		return err
	}
	if old.Container.Proxy != nil {
		return d.tookOver(ctx, old)
	}
	if old.Container.Frontend == nil {
		return nil
	}
	return d.pointTo(ctx, old)
}

// commit makes the new generation the one that is meant to be there.
func (d *Deployer) commit(ctx context.Context, t *change.Run) error {
	g, err := d.generation(t)
	if err != nil {
		return err
	}
	if g.Container.Job == nil {
		// Only now may the engine restart it by itself: while it was on trial, a crash had to show.
		if err := d.allowRestarts(ctx, g); err != nil {
			return err
		}
		// What has ended since it was ready, by itself or with the engine, nobody would start again.
		if err := d.mustRun(ctx, g, g.Created); err != nil {
			return err
		}
	}
	var previous int
	if _, err := t.Get(dataFrom, &previous); err != nil {
		return err
	}
	g.State, g.Activated = tree.Active, t.Now()
	if job := g.Container.Job; job != nil && job.Phase == tree.Contract {
		before, err := d.previous(t)
		if err != nil {
			return err
		}
		g.Contracted = d.contractedFor(ctx, g, before)
	}
	if w := d.endWindow(g); w != nil {
		g.Window = w
	}
	defer d.dropWindow(g)
	pins, err := d.rememberPins(t)
	if err != nil {
		return err
	}
	var rewinds []plan.Rewind
	if _, err := t.Get(dataRewinds, &rewinds); err != nil {
		return err
	}
	return t.Commit(func(tx *store.Tx) error {
		// The pins come first: what they name is kept.
		if err := d.savePins(tx, pins); err != nil {
			return err
		}
		if err := d.rewind(tx, rewinds); err != nil {
			return err
		}
		return activate(tx, g, previous)
	})
}

func (d *Deployer) uncommit(_ context.Context, t *change.Run) error {
	g, err := d.generation(t)
	if err != nil {
		return err
	}
	old, err := d.previous(t)
	if err != nil {
		return err
	}
	var former []pinChange
	if _, err := t.Get(dataFormerPins, &former); err != nil {
		return err
	}
	var rewinds []plan.Rewind
	if _, err := t.Get(dataRewinds, &rewinds); err != nil {
		return err
	}
	active, err := d.isActive(g)
	if err != nil || !active {
		return err
	}
	return t.Commit(func(tx *store.Tx) error {
		if err := d.savePins(tx, former); err != nil {
			return err
		}
		if err := d.unwind(tx, rewinds); err != nil {
			return err
		}
		g.State, g.Activated, g.Window = tree.Preparing, time.Time{}, nil
		if err := saveGeneration(tx, g); err != nil {
			return err
		}
		if old == nil {
			return store.Delete(tx, activeBucket, containerKey(d.HostName, g.Container.Name))
		}
		old.State, old.Ended = tree.Active, time.Time{}
		if err := saveGeneration(tx, old); err != nil {
			return err
		}
		return store.Put(tx, activeBucket, containerKey(d.HostName, g.Container.Name), old.Number)
	})
}

// removeReplaced removes what a commit has left over, once nothing can be undone any more.
func (d *Deployer) removeReplaced(ctx context.Context, t *change.Run) error {
	if t.Task().Status != change.Done {
		return nil
	}
	if err := d.removeRewound(ctx, t); err != nil {
		return err
	}
	var number int
	if _, err := t.Get(dataFrom, &number); err != nil || number == 0 {
		return err
	}
	name := tree.GenerationName(t.Task().Subject, number)
	if err := d.removeContainer(ctx, name); err != nil {
		return fmt.Errorf("cannot remove %s, which has been replaced: %w", name, err)
	}
	if old, err := d.previous(t); err != nil {
		return err
	} else if err := d.forgetProxy(old); err != nil {
		return err
	}
	return d.Host.RemoveAll(d.generationDir(t.Task().Subject, number))
}
