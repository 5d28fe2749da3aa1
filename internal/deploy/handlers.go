// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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

func (d *Deployer) unstart(ctx context.Context, t *change.Run) error {
	g, err := d.generation(t)
	if err != nil {
		return err
	}
	return d.haltWithin(ctx, g, min(g.Container.Spec.StopGracePeriod, trialGrace))
}

// halt stops a generation's container for as long as nobody starts it: the engine must not
// start it again at its own restart, or two generations would use one volume.
func (d *Deployer) halt(ctx context.Context, g *tree.Generation) error {
	return d.haltWithin(ctx, g, g.Container.Spec.StopGracePeriod)
}

func (d *Deployer) haltWithin(ctx context.Context, g *tree.Generation, grace time.Duration) error {
	err := d.Engine.SetRestartPolicy(ctx, g.Name(), "no")
	if err == nil {
		err = d.Engine.Stop(ctx, g.Name(), grace)
	}
	if errors.Is(err, engine.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot stop %s: %w", g.Name(), err)
	}
	return nil
}

// reviveIfThere is revive for a container that somebody may have removed meanwhile: then there is
// nothing to start, the next plan shows it as drift, and up makes it again.
func (d *Deployer) reviveIfThere(ctx context.Context, g *tree.Generation) error {
	err := d.revive(ctx, g)
	if err == nil {
		return nil
	}
	if _, gone := d.Engine.Inspect(ctx, g.Name()); errors.Is(gone, engine.ErrNotFound) {
		return nil
	}
	return err
}

// standAlone stops every other generation of a container that must run alone, whatever left it
// running: an undo that got stuck, or a hand. Two of them would fight over one volume or port.
func (d *Deployer) standAlone(ctx context.Context, g *tree.Generation) error {
	if g.Container.Job == nil && plan.Strategy(&g.Container) == tree.StartFirst {
		return nil
	}
	containers, err := d.Engine.List(ctx, map[string]string{
		tree.LabelHost: d.HostName, tree.LabelContainer: g.Container.Name,
	})
	if err != nil {
		return fmt.Errorf("cannot look for other generations of %s: %w", g.Container.Name, err)
	}
	for _, c := range containers {
		if c.Name == g.Name() || c.State == engine.Created || c.State == engine.Exited {
			continue
		}
		d.Logger.Warn("stopping another generation that still runs", "container", c.Name, "for", g.Name())
		other := *g
		if other.Number, err = strconv.Atoi(c.Labels[tree.LabelGeneration]); err != nil {
			continue // not one of ours
		}
		if err := d.halt(ctx, &other); err != nil {
			return err
		}
	}
	return nil
}

// revive starts a generation's container again after halt and waits until it is ready.
func (d *Deployer) revive(ctx context.Context, g *tree.Generation) error {
	if err := d.standAlone(ctx, g); err != nil {
		return err
	}
	if err := d.Engine.Start(ctx, g.Name()); err != nil {
		return d.explainStart(ctx, g, err)
	}
	if err := d.Engine.SetRestartPolicy(ctx, g.Name(), g.Container.Spec.Restart); err != nil {
		return fmt.Errorf("cannot set the restart policy of %s: %w", g.Name(), err)
	}
	return d.waitReady(ctx, g, func(string) {})
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
		if err := d.Engine.SetRestartPolicy(ctx, g.Name(), g.Container.Spec.Restart); err != nil {
			return fmt.Errorf("cannot set the restart policy of %s: %w", g.Name(), err)
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

// resume starts the present generation.
func (d *Deployer) resume(ctx context.Context, t *change.Run) error {
	g, err := d.generation(t)
	if err != nil {
		return err
	}
	if err := d.standAlone(ctx, g); err != nil {
		return err
	}
	if err := d.Engine.Start(ctx, g.Name()); err != nil {
		return unlessAway(ctx, d.explainStart(ctx, g, err), func() error { return d.halt(context.WithoutCancel(ctx), g) })
	}
	if err := d.Engine.SetRestartPolicy(ctx, g.Name(), g.Container.Spec.Restart); err != nil {
		err = fmt.Errorf("cannot set the restart policy of %s: %w", g.Name(), err)
		return unlessAway(ctx, err, func() error { return d.halt(context.WithoutCancel(ctx), g) })
	}
	if err := t.Set("stopped_by", g.StoppedBy); err != nil {
		return err
	}
	return d.update(g, func(g *tree.Generation) { g.StoppedBy = 0 })
}

func (d *Deployer) unresume(ctx context.Context, t *change.Run) error {
	g, err := d.present(t)
	if err != nil || g == nil {
		return err
	}
	if err := d.halt(ctx, g); err != nil {
		return err
	}
	var by int
	if _, err := t.Get("stopped_by", &by); err != nil {
		return err
	}
	return d.update(g, func(g *tree.Generation) { g.StoppedBy = by })
}

// stop stops the present generation on an operator's behalf.
func (d *Deployer) stop(ctx context.Context, t *change.Run) error {
	g, err := d.generation(t)
	if err != nil {
		return err
	}
	if g.Container.Frontend != nil {
		if err := d.pointAway(ctx, g); err != nil {
			return err
		}
	}
	if err := d.halt(ctx, g); err != nil {
		return unlessAway(ctx, err, func() error { return d.unstopGeneration(context.WithoutCancel(ctx), g) })
	}
	g.StoppedBy = t.Task().Change
	return t.Commit(func(tx *store.Tx) error { return saveGeneration(tx, g) })
}

func (d *Deployer) unstop(ctx context.Context, t *change.Run) error {
	g, err := d.present(t)
	if err != nil || g == nil {
		return err
	}
	return d.unstopGeneration(ctx, g)
}

func (d *Deployer) unstopGeneration(ctx context.Context, g *tree.Generation) error {
	if g.Container.Job != nil {
		return nil
	}
	if err := d.reviveIfThere(ctx, g); err != nil {
		return err
	}
	if g.Container.Frontend != nil {
		if err := d.pointTo(ctx, g); err != nil {
			return err
		}
	}
	return d.update(g, func(g *tree.Generation) { g.StoppedBy = 0 })
}

// removeContainer removes a container, running or not; one that is not there is no error. An
// engine that fails may have removed it all the same.
func (d *Deployer) removeContainer(ctx context.Context, id string) error {
	err := d.Engine.Remove(ctx, id, true)
	if err == nil || errors.Is(err, engine.ErrNotFound) {
		return nil
	}
	if _, gone := d.Engine.Inspect(ctx, id); errors.Is(gone, engine.ErrNotFound) {
		return nil
	}
	return err
}

// remove removes the present generation's container; its volumes and its record stay.
func (d *Deployer) remove(ctx context.Context, t *change.Run) error {
	g, err := d.generation(t)
	if err != nil {
		return err
	}
	if err := d.removeContainer(ctx, g.Name()); err != nil {
		return fmt.Errorf("cannot remove %s: %w", g.Name(), err)
	}
	if err := d.forgetProxy(g); err != nil {
		return err
	}
	if err := d.Host.RemoveAll(d.generationDir(g.Container.Name, g.Number)); err != nil {
		return err
	}
	now := t.Now()
	return t.Commit(func(tx *store.Tx) error {
		if g.Container.Job != nil {
			return nil // that it has succeeded stays true as long as its data is there
		}
		g.State, g.Ended = tree.Removed, now
		if err := saveGeneration(tx, g); err != nil {
			return err
		}
		if err := store.Delete(tx, routeBucket, containerKey(d.HostName, g.Container.Name)); err != nil {
			return err
		}
		if err := store.Delete(tx, activeBucket, containerKey(d.HostName, g.Container.Name)); err != nil {
			return err
		}
		return forget(tx, d.HostName, g.Container.Name)
	})
}

func (d *Deployer) removeVolume(ctx context.Context, t *change.Run) error {
	var volume string
	if _, err := t.Get(dataVolume, &volume); err != nil {
		return err
	}
	if err := d.Engine.RemoveVolume(ctx, volume); err != nil && !errors.Is(err, engine.ErrNotFound) {
		return fmt.Errorf("cannot remove volume %s: %w", volume, err)
	}
	return nil
}

func (d *Deployer) removeStray(ctx context.Context, t *change.Run) error {
	var id string
	if _, err := t.Get(dataEngineID, &id); err != nil {
		return err
	}
	if err := d.removeContainer(ctx, id); err != nil {
		return fmt.Errorf("cannot remove stray container %s: %w", id, err)
	}
	var number int
	if _, err := t.Get(dataFrom, &number); err != nil || number == 0 {
		return err
	}
	name := t.Task().Subject
	doc, err := d.Document()
	if err != nil {
		return err
	}
	if c := find(doc, name); c != nil {
		if err := d.forgetProxy(&tree.Generation{Number: number, Container: *c}); err != nil {
			return err
		}
	}
	return d.Host.RemoveAll(d.generationDir(name, number))
}
