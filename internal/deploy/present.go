// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"

	"copse/internal/change"
	"copse/internal/engine"
	"copse/internal/store"
	"copse/internal/tree"
)

// What is done to a generation as it is, without a new one: started, stopped, removed.

// resume starts the present generation.
func (d *Deployer) resume(ctx context.Context, t *change.Run) error {
	g, err := d.generation(t)
	if err != nil {
		return err
	}
	if err := d.standAlone(ctx, g); err != nil {
		return err
	}
	if err := d.startAgain(ctx, g); err != nil {
		return unlessAway(ctx, err, func() error { return d.halt(context.WithoutCancel(ctx), g) })
	}
	if err := t.Set(dataStoppedBy, g.StoppedBy); err != nil {
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
	if _, err := t.Get(dataStoppedBy, &by); err != nil {
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
