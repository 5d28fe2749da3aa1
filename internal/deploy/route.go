// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"

	"copse/internal/change"
	"copse/internal/plan"
	"copse/internal/store"
	"copse/internal/tree"
)

// switchOver sends a front end's requests to the lane's generation, and waits until the one
// before it has answered those that it had.
func (d *Deployer) switchOver(ctx context.Context, t *change.Run) error {
	g, err := d.generation(t)
	if err != nil {
		return err
	}
	if err := d.openWindow(ctx, t); err != nil {
		return err
	}
	if err := d.pointTo(ctx, g); err != nil {
		if errors.Is(context.Cause(ctx), change.ErrStopped) {
			return err // the next agent goes on with it
		}
		old, previousErr := d.previous(t)
		if previousErr == nil && old != nil && old.Number != g.Number {
			previousErr = d.pointTo(context.WithoutCancel(ctx), old)
		}
		if previousErr != nil {
			return change.NotCleanedUp(fmt.Errorf("%w; and the requests cannot be sent back: %w", err, previousErr))
		}
		return err
	}
	return nil
}

func (d *Deployer) switchBack(ctx context.Context, t *change.Run) error {
	g, err := d.generation(t)
	if err != nil {
		return err
	}
	old, err := d.previous(t)
	if err != nil {
		return err
	}
	// With stop-first the old one does not run yet; undoing retire sends the requests to it.
	if old == nil || old.Number == g.Number || plan.Strategy(&g.Container) == tree.StopFirst {
		return d.pointAway(ctx, g)
	}
	if active, err := d.isActive(old); err != nil || !active {
		return errors.Join(err, d.pointAway(ctx, g))
	}
	return d.pointTo(ctx, old)
}

// pointTo makes a generation the one that its front end's requests go to. What served before is
// drained: it gets no new requests, and answers those that it has.
func (d *Deployer) pointTo(ctx context.Context, g *tree.Generation) error {
	name := g.Container.Name
	slot, err := d.changeRoute(ctx, g, func(r *Route) int {
		mine := -1
		for i := range r.Slots {
			if r.Slots[i].Generation == g.Number {
				mine = i
			}
		}
		if mine < 0 {
			mine = 0
			if r.Slots[0].State == slotReady {
				mine = 1
			}
		}
		other := 1 - mine
		r.Slots[mine] = Slot{Generation: g.Number, Port: g.Port, State: slotReady}
		if r.Slots[other].State == slotReady {
			r.Slots[other].State = slotDrain
		}
		return other
	})
	if err != nil {
		return fmt.Errorf("cannot send requests to %s: %w", g.Name(), err)
	}
	return d.drain(ctx, g, slot, name)
}

// pointAway takes a generation out of its front end.
func (d *Deployer) pointAway(ctx context.Context, g *tree.Generation) error {
	slot, err := d.changeRoute(ctx, g, func(r *Route) int {
		for i := range r.Slots {
			if r.Slots[i].Generation == g.Number {
				if r.Slots[i].State == slotReady {
					r.Slots[i].State = slotDrain
				}
				return i
			}
		}
		return -1
	})
	if err != nil {
		return fmt.Errorf("cannot take requests away from %s: %w", g.Name(), err)
	}
	if slot < 0 {
		return nil
	}
	return d.drain(ctx, g, slot, g.Container.Name)
}

// drain waits for a draining slot and then closes it.
func (d *Deployer) drain(ctx context.Context, g *tree.Generation, slot int, name string) error {
	limited, cancel := context.WithTimeout(ctx, max(g.Container.Spec.StopGracePeriod, defaultCheckTimeout))
	defer cancel()
	dir, err := d.proxyDirectory()
	if err != nil {
		return err
	}
	if err := d.Router.Drain(limited, dir, g.Container.Frontend.Name, slot); err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	} else if err != nil {
		// A client that never hangs up must not keep an upgrade for ever: it is cut off.
		d.Logger.Warn("connections are cut off", "container", name, "error", err)
	}
	_, err = d.changeRoute(ctx, g, func(r *Route) int {
		if r.Slots[slot].State == slotDrain {
			r.Slots[slot].State = slotMaint
		}
		return slot
	})
	return err
}

// changeRoute changes the route of a generation's container in the store and then applies the
// table: should anything end in between, what is written is applied the next time.
func (d *Deployer) changeRoute(ctx context.Context, g *tree.Generation, modify func(*Route) int) (int, error) {
	d.routing.Lock()
	defer d.routing.Unlock()
	slot := 0
	err := d.Store.Update(func(tx *store.Tx) error {
		r, err := loadRoute(tx, d.HostName, g.Container.Name)
		if err != nil {
			return err
		}
		r.Frontend = *g.Container.Frontend
		slot = modify(&r)
		return saveRoute(tx, d.HostName, g.Container.Name, r)
	})
	if err != nil {
		return 0, err
	}
	return slot, d.applyLocked(ctx)
}

// applyRoutes makes the proxy follow the store.
func (d *Deployer) applyRoutes(ctx context.Context) error {
	d.routing.Lock()
	defer d.routing.Unlock()
	return d.applyLocked(ctx)
}

func (d *Deployer) applyLocked(ctx context.Context) error {
	var table []Route
	dir, err := d.proxyDirectory()
	if err != nil || dir == "" {
		return err
	}
	err = d.Store.View(func(tx *store.Tx) error {
		doc, err := loadDocument(tx)
		if err != nil || doc == nil {
			return err
		}
		// All declared front ends are there from the start, so that bringing up a service
		// behind one is a change of state and no reload.
		for i := range doc.Containers {
			c := &doc.Containers[i]
			if c.Host != d.HostName || c.Frontend == nil {
				continue
			}
			r, err := loadRoute(tx, d.HostName, c.Name)
			if err != nil {
				return err
			}
			r.Frontend = *c.Frontend
			table = append(table, r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.Router.Apply(ctx, dir, table)
}

// proxyDirectory is where the configuration and the sockets of this host's proxy are, "" where
// the cloud has none.
func (d *Deployer) proxyDirectory() (string, error) {
	doc, err := d.Document()
	if err != nil || doc == nil {
		return "", err
	}
	for i := range doc.Containers {
		if c := &doc.Containers[i]; c.Host == d.HostName && c.Proxy != nil {
			return c.Proxy.Directory, nil
		}
	}
	return "", nil
}
