// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"fmt"
	"time"

	"copse/internal/change"
)

// mostMonitorInterval bounds the time between two looks at a generation that is on trial.
const mostMonitorInterval = time.Second

// watchOver is the last gate of a new generation: for the time that is declared, it must go on
// running and its check must not say that it is unhealthy. A failure undoes the lane, while the one
// before is still there.
func (d *Deployer) watchOver(ctx context.Context, t *change.Run) error {
	g, err := d.generation(t)
	if err != nil {
		return err
	}
	check := g.Container.Check
	if check == nil {
		check = g.Container.Ready
	}
	span := g.Container.Update.Monitor
	interval := min(max(span/20, firstCheckInterval), mostMonitorInterval)
	began, failures := d.Clock.Now(), 0
	for {
		if err := d.mustRun(ctx, g, began); err != nil {
			return err
		}
		if check != nil {
			ok, output, err := d.RunCheck(ctx, g.Name(), check)
			if err != nil && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if ok {
				failures = 0
			} else if failures++; failures >= max(1, check.Retries) {
				return d.failure(ctx, g, fmt.Sprintf("was ready, but is not healthy after %s: its check says: %s",
					since(d.Clock.Now(), began), output))
			}
		}
		if now := d.Clock.Now(); failures == 0 && now.Sub(began) >= span {
			return nil
		}
		t.Progress(int64(d.Clock.Now().Sub(began)), int64(span), "it must stay healthy for "+span.String())
		if err := d.Clock.Sleep(ctx, interval); err != nil {
			return context.Cause(ctx)
		}
	}
}
