// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"fmt"

	"copse/internal/change"
	"copse/internal/tree"
)

// The proxy itself is replaced start-first: the new generation takes over the listening sockets of
// the one before, both accept from the same queue, and the old one is told to stop (its stop signal has
// it finish what it has). What is routed, drained or held meanwhile is so in both.

// makeProxy makes the directories of a generation of the proxy, and the configuration that it starts with.
func (d *Deployer) makeProxy(ctx context.Context, g *tree.Generation) error {
	dir := g.Container.Proxy.Directory
	if err := d.Host.MakeProxyDirectory(dir, d.Router.Sockets(dir, g.Number), g.Container.Spec.User); err != nil {
		return err
	}
	return d.applyRoutes(ctx)
}

// takeOver prepares the start of a new generation of the proxy.
func (d *Deployer) takeOver(ctx context.Context, t *change.Run, g *tree.Generation) error {
	if err := d.awaitReleased(ctx); err != nil {
		return err
	}
	from := 0
	if old, err := d.previous(t); err != nil {
		return err
	} else if old != nil && old.Container.Proxy != nil && old.Container.Proxy.Directory == g.Container.Proxy.Directory {
		from = old.Number
	}
	return d.Router.Handover(ctx, g.Container.Proxy.Directory, from, g.Number)
}

// handBack lets the generation that was to be replaced take over again from the one that serves.
func (d *Deployer) handBack(ctx context.Context, g, old *tree.Generation) error {
	return d.Router.Handover(ctx, old.Container.Proxy.Directory, g.Number, old.Number)
}

// tookOver ends a handover: the new generation serves, or somebody starts it later, when there is
// nobody to take over from.
func (d *Deployer) tookOver(ctx context.Context, g *tree.Generation) error {
	if err := d.Router.Handover(ctx, g.Container.Proxy.Directory, 0, g.Number); err != nil {
		return err
	}
	// What changed in the table while it was starting is in the file it read, or is not.
	if err := d.applyRoutes(ctx); err != nil {
		return err
	}
	return d.holdAgain(ctx)
}

// forgetProxy removes what a generation of the proxy that is gone has left.
func (d *Deployer) forgetProxy(g *tree.Generation) error {
	if g == nil || g.Container.Proxy == nil {
		return nil
	}
	if err := d.Router.Forget(g.Container.Proxy.Directory, g.Number); err != nil {
		return fmt.Errorf("cannot remove what %s has left: %w", g.Name(), err)
	}
	return nil
}
