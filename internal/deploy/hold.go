// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"copse/internal/change"
	"copse/internal/store"
	"copse/internal/tree"
)

// While a container is replaced that all others need (the one database), the proxy holds the
// requests of every front end that depends on it: clients wait a moment, and none fails.
//
//	hold → retire → start → ready → release
//
// What is held is in the store before it is held, so that somebody lets go of it whatever ends in
// between: the lane's release, the undo of its hold, or the next agent.

// heldBucket has what is held: host/name of the container that is replaced → heldRecord.
const heldBucket = "held"

// heldRecord says what is held for the sake of one container.
type heldRecord struct {
	// Frontends are in the order in which they were held: callers before those that they call.
	Frontends []string  `json:"frontends"`
	Change    int       `json:"change"`
	Since     time.Time `json:"since"`
}

const (
	// holdPatience is how long the proxy waits for open requests to end before what they need is
	// replaced all the same.
	holdPatience = 20 * time.Second
	// holdLimit is how long clients are left waiting: where what is replaced is not back by then, an
	// error serves them better than silence.
	holdLimit = time.Minute
	// heldInterval is how often a proxy that is to be replaced looks whether all is released.
	heldInterval = 100 * time.Millisecond
)

// dependentFrontends returns the front ends of all containers that depend on the named one, through
// others too, callers before those that they call.
func dependentFrontends(doc *tree.Document, name string) ([]string, error) {
	order, err := tree.InOrder(doc.Containers)
	if err != nil {
		return nil, err
	}
	needs := map[string]bool{name: true}
	var frontends []string
	for _, n := range order {
		c := doc.Container(n)
		for _, dependency := range c.Depends {
			needs[n] = needs[n] || needs[dependency.Name]
		}
		if needs[n] && c.Frontend != nil {
			frontends = append(frontends, c.Frontend.Name)
		}
	}
	slices.Reverse(frontends)
	return frontends, nil
}

// hold lets the requests of all that depend on the lane's container wait at the proxy.
func (d *Deployer) hold(ctx context.Context, t *change.Run) error {
	if err := d.openWindow(ctx, t); err != nil {
		return err
	}
	err := d.holdFor(ctx, t, holdPatience)
	if err == nil {
		return nil
	}
	return unlessAway(ctx, err, func() error { return d.letGo(context.WithoutCancel(ctx), t.Task().Subject) })
}

// unhold takes back a hold.
func (d *Deployer) unhold(ctx context.Context, t *change.Run) error {
	return d.letGo(ctx, t.Task().Subject)
}

// release lets the requests through again.
func (d *Deployer) release(ctx context.Context, t *change.Run) error {
	return d.letGo(ctx, t.Task().Subject)
}

// unrelease holds them again: what serves them is about to be stopped in favour of the one before.
func (d *Deployer) unrelease(ctx context.Context, t *change.Run) error {
	return d.holdFor(ctx, t, holdPatience)
}

func (d *Deployer) holdFor(ctx context.Context, t *change.Run, patience time.Duration) error {
	doc, err := d.Document()
	if err != nil || doc == nil {
		return err
	}
	dir, err := d.proxyDirectory()
	if err != nil || dir == "" {
		return err
	}
	name := t.Task().Subject
	frontends, err := dependentFrontends(doc, name)
	if err != nil || len(frontends) == 0 {
		return err
	}
	record := heldRecord{Frontends: frontends, Change: t.Task().Change, Since: d.Clock.Now()}
	err = d.Store.Update(func(tx *store.Tx) error {
		return store.Put(tx, heldBucket, containerKey(d.HostName, name), record)
	})
	if err != nil {
		return fmt.Errorf("cannot record what is held for %s: %w", name, err)
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = d.Router.Hold(limited, dir, frontends)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case limited.Err() != nil:
		t.Logf("requests that have not ended after %s may fail: %v", patience, err)
		return nil
	}
	return fmt.Errorf("cannot hold the requests that need %s: %w", name, err)
}

// letGo releases what is held for a container, but what is held for another as well.
func (d *Deployer) letGo(ctx context.Context, name string) error {
	var mine heldRecord
	others := map[string]bool{}
	found := false
	err := d.Store.View(func(tx *store.Tx) error {
		return store.EachPrefix(tx, heldBucket, d.HostName+"/", func(key string, r heldRecord) error {
			if key == containerKey(d.HostName, name) {
				mine, found = r, true
				return nil
			}
			for _, frontend := range r.Frontends {
				others[frontend] = true
			}
			return nil
		})
	})
	if err != nil || !found {
		return err
	}
	free := slices.DeleteFunc(slices.Clone(mine.Frontends), func(frontend string) bool { return others[frontend] })
	dir, err := d.proxyDirectory()
	if err != nil {
		return err
	}
	if dir != "" {
		if err := d.Router.Release(ctx, dir, free); err != nil {
			return fmt.Errorf("cannot release the requests that wait for %s: %w: restart the proxy, which lets all through", name, err)
		}
	}
	return d.Store.Update(func(tx *store.Tx) error {
		return store.Delete(tx, heldBucket, containerKey(d.HostName, name))
	})
}

// releaseOverdue lets requests through that have waited too long for a container.
func (d *Deployer) releaseOverdue(ctx context.Context, name string) {
	var record heldRecord
	found := false
	err := d.Store.View(func(tx *store.Tx) (err error) {
		found, err = store.Get(tx, heldBucket, containerKey(d.HostName, name), &record)
		return err
	})
	if err == nil && (!found || d.Clock.Now().Sub(record.Since) < holdLimit) {
		return
	}
	if err == nil {
		d.Logger.Warn("requests are released before what they need is back", "container", name, "held", since(d.Clock.Now(), record.Since))
		err = d.letGo(ctx, name)
	}
	if err != nil {
		d.Logger.Error("requests cannot be released", "container", name, "error", err)
	}
}

// heldNow returns the front ends that are held, callers first.
func (d *Deployer) heldNow() ([]string, error) {
	var held []string
	err := d.Store.View(func(tx *store.Tx) error {
		return store.EachPrefix(tx, heldBucket, d.HostName+"/", func(_ string, r heldRecord) error {
			for _, frontend := range r.Frontends {
				if !slices.Contains(held, frontend) {
					held = append(held, frontend)
				}
			}
			return nil
		})
	})
	return held, err
}

// holdAgain holds what is to be held in a proxy that has just started, which lets all through.
func (d *Deployer) holdAgain(ctx context.Context) error {
	held, err := d.heldNow()
	if err != nil || len(held) == 0 {
		return err
	}
	dir, err := d.proxyDirectory()
	if err != nil || dir == "" {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, holdPatience)
	defer cancel()
	if err := d.Router.Hold(limited, dir, held); err != nil && limited.Err() == nil {
		return fmt.Errorf("cannot hold requests in the new proxy: %w", err)
	}
	return context.Cause(ctx)
}

// awaitReleased waits until nothing is held: a proxy that starts meanwhile would let requests through.
func (d *Deployer) awaitReleased(ctx context.Context) error {
	for began := d.Clock.Now(); d.Clock.Now().Sub(began) < 2*holdLimit; {
		held, err := d.heldNow()
		if err != nil || len(held) == 0 {
			return err
		}
		if err := d.Clock.Sleep(ctx, heldInterval); err != nil {
			return context.Cause(ctx)
		}
	}
	return nil // holdAgain holds them in the new one too
}

// releaseLeftover lets go of what a change has left held that does not run any more. What cannot be
// released is no reason not to start: it is said, and tried again by the next agent.
func (d *Deployer) releaseLeftover(ctx context.Context) {
	leftover := map[string]int{}
	err := d.Store.View(func(tx *store.Tx) error {
		return store.EachPrefix(tx, heldBucket, d.HostName+"/", func(key string, r heldRecord) error {
			leftover[key[len(d.HostName)+1:]] = r.Change
			return nil
		})
	})
	for name, number := range leftover {
		c, getErr := d.runner.Get(number)
		if getErr == nil && !c.Status().Final() {
			continue // it goes on, and releases them
		}
		err = errors.Join(err, d.letGo(ctx, name))
	}
	if err != nil {
		d.Logger.Error("requests may still be held", "error", err)
	}
}
