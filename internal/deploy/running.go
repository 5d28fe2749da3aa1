// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"copse/internal/engine"
	"copse/internal/plan"
	"copse/internal/tree"
)

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

// startAgain starts a generation's container after halt; the engine restarts it by itself from then on, as
// is declared.
func (d *Deployer) startAgain(ctx context.Context, g *tree.Generation) error {
	if err := d.Engine.Start(ctx, g.Name()); err != nil {
		return d.explainStart(ctx, g, err)
	}
	return d.allowRestarts(ctx, g)
}

// allowRestarts gives a generation's container the restart policy that is declared.
func (d *Deployer) allowRestarts(ctx context.Context, g *tree.Generation) error {
	if err := d.Engine.SetRestartPolicy(ctx, g.Name(), g.Container.Spec.Restart); err != nil {
		return fmt.Errorf("cannot set the restart policy of %s: %w", g.Name(), err)
	}
	return nil
}

// revive starts a generation's container again after halt and waits until it is ready.
func (d *Deployer) revive(ctx context.Context, g *tree.Generation) error {
	if err := d.standAlone(ctx, g); err != nil {
		return err
	}
	if err := d.startAgain(ctx, g); err != nil {
		return err
	}
	return d.waitReady(ctx, g, func(string) {})
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

// explainStart is the error of a start, with the way out.
func (d *Deployer) explainStart(ctx context.Context, g *tree.Generation, err error) error {
	if errors.Is(err, engine.ErrUnavailable) || ctx.Err() != nil {
		return fmt.Errorf("cannot start %s: %w", g.Name(), err)
	}
	return fmt.Errorf("cannot start %s: %w: the engine refuses what is declared for it: look at its set's compose.yaml", g.Name(), err)
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
