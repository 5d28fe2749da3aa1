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
)

// defaultJobTimeout ends a job that does not say how long it may take.
const defaultJobTimeout = 10 * time.Minute

// run runs a job to its end.
func (d *Deployer) run(ctx context.Context, t *change.Run) error {
	g, err := d.generation(t)
	if err != nil {
		return err
	}
	timeout := g.Container.Job.Timeout
	if timeout <= 0 {
		timeout = defaultJobTimeout
	}
	limited, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("it did not end within %s", timeout))
	defer cancel()

	began := d.Clock.Now()
	c, err := d.Engine.Inspect(ctx, g.Name())
	if err != nil {
		return fmt.Errorf("cannot look at %s: %w", g.Name(), err)
	}
	// One that has ended well before a crash is not run again; jobs can be repeated, so one
	// that a crash cut off is.
	if c.State == engine.Exited && c.ExitCode == 0 && !c.Started.IsZero() {
		return nil
	}
	if c.State != engine.Running {
		if err := d.standAlone(ctx, g); err != nil {
			return err
		}
		if err := d.Engine.Start(ctx, g.Name()); err != nil {
			return d.explainStart(ctx, g, err)
		}
	}
	code, err := d.Engine.Wait(limited, g.Name())
	if err != nil {
		if limited.Err() != nil && ctx.Err() == nil {
			err = d.failure(ctx, g, context.Cause(limited).Error())
		} else if ctx.Err() != nil {
			err = context.Cause(ctx)
		} else {
			err = fmt.Errorf("cannot wait for %s: %w", g.Name(), err)
		}
		if errors.Is(err, change.ErrStopped) {
			return err // it goes on by itself, and is waited for again
		}
		return unlessAway(ctx, err, func() error { return d.halt(context.WithoutCancel(ctx), g) })
	}
	if code != 0 {
		return d.failure(ctx, g, fmt.Sprintf("failed with status %d after %s", code, since(d.Clock.Now(), began)))
	}
	return nil
}

// unrun ends a job that may still run; what it wrote is the next run's to deal with, since jobs
// can be repeated.
func (d *Deployer) unrun(ctx context.Context, t *change.Run) error {
	g, err := d.generation(t)
	if err != nil {
		return err
	}
	return d.halt(ctx, g)
}
