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
	"copse/internal/tree"
)

// engineInterval is how often an engine that does not answer is asked again.
const engineInterval = 500 * time.Millisecond

// patient has a handler wait for an engine that has gone (restarted, upgraded, killed) and then
// run again, which every handler may: where the engine is away, nothing can be done, and nothing
// can be undone either. It waits until the engine is back, the change is aborted or the agent
// stops. What an aborted do may have left behind it undoes itself, for nobody else will.
func (d *Deployer) patient(h change.Handler) change.Handler {
	do, undo := h.Do, d.persist(h.Undo)
	h.Undo, h.Cleanup = undo, d.persist(h.Cleanup)
	h.Do = func(ctx context.Context, t *change.Run) error {
		err := d.persist(do)(ctx, t)
		if !errors.Is(err, engine.ErrUnavailable) || errors.Is(context.Cause(ctx), change.ErrStopped) || undo == nil {
			return err
		}
		if undoErr := undo(context.WithoutCancel(ctx), t); undoErr != nil {
			return change.NotCleanedUp(fmt.Errorf("%w; and it cannot be taken back: %w", err, undoErr))
		}
		return err
	}
	return h
}

// persist runs a step again for as long as it fails because the engine does not answer; nil stays
// nil. Where ctx ends before the engine is back, it returns the step's last error.
func (d *Deployer) persist(step func(context.Context, *change.Run) error) func(context.Context, *change.Run) error {
	if step == nil {
		return nil
	}
	return func(ctx context.Context, t *change.Run) error {
		for {
			err := step(ctx, t)
			if !errors.Is(err, engine.ErrUnavailable) || ctx.Err() != nil {
				return err
			}
			t.Logf("waiting for the container engine: %v", err)
			if d.awaitEngine(ctx) != nil {
				return err
			}
			t.Logf("the container engine answers again")
		}
	}
}

// unlessAway takes back what a do that has failed with err did; where that fails too, something
// is left that only an operator can judge. Where the engine is away the do is run again instead, see
// patient; and where the agent stops, by the next one, which finds it as it is.
func unlessAway(ctx context.Context, err error, takeBack func() error) error {
	if errors.Is(err, engine.ErrUnavailable) || errors.Is(context.Cause(ctx), change.ErrStopped) {
		return err
	}
	if backErr := takeBack(); backErr != nil {
		return change.NotCleanedUp(fmt.Errorf("%w; and it cannot be taken back: %w", err, backErr))
	}
	return err
}

// awaitEngine waits until the engine answers, or for the end of ctx, whose cause it returns.
func (d *Deployer) awaitEngine(ctx context.Context) error {
	for {
		if err := d.Clock.Sleep(ctx, engineInterval); err != nil {
			return context.Cause(ctx)
		}
		_, err := d.Engine.List(ctx, map[string]string{tree.LabelHost: d.HostName})
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.Is(err, engine.ErrUnavailable):
			return nil // whatever else it says is for the step to meet
		}
	}
}
