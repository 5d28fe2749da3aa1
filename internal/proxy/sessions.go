// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ErrBusy: the time for waiting was over before the last connection ended.
var ErrBusy = errors.New("stopped waiting for connections to end")

// Usage is how many connections a front end has open.
type Usage struct {
	// Clients are those from clients, Servers those to each slot.
	Clients int
	Servers [2]int
	// Held reports that new connections wait (Hold).
	Held bool
}

// Sessions returns the open connections by front end, those of processes that only finish
// after a reload included. It is empty when HAProxy does not run.
func (p *Proxy) Sessions(ctx context.Context) (map[string]Usage, error) {
	usages := map[string]Usage{}
	err := p.each(ctx, func(one *instance) error {
		stats, err := one.stats(ctx)
		if err != nil {
			return err
		}
		for name, s := range stats {
			frontend, isFrontend := cutFrontend(name)
			if !isFrontend {
				continue
			}
			sum := usages[frontend]
			sum.Clients += s.sessions
			sum.Servers[SlotA] += stats[frontend+"/a"].sessions
			sum.Servers[SlotB] += stats[frontend+"/b"].sessions
			sum.Held = sum.Held || s.limit == 0
			usages[frontend] = sum
		}
		return nil
	})
	return usages, err
}

// each does something to all instances that serve, oldest first. One that ends meanwhile has nothing
// left to be done to it.
func (p *Proxy) each(ctx context.Context, do func(*instance) error) error {
	instances, err := p.serving(ctx)
	if err != nil {
		return err
	}
	var failures []error
	for _, one := range instances {
		if err := do(one.instance); err != nil && !errors.Is(err, errNotRunning) {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

func cutFrontend(name string) (string, bool) { return strings.CutSuffix(name, "/FRONTEND") }

// Drain takes a slot out of use: no new connections, wait until those that are open have
// ended, then maintenance. When ctx ends first, the slot stays draining and the error matches
// ErrBusy; the caller decides whether to wait on. A slot that is out of use already, and a
// proxy that does not run, have nothing to drain. What a generation of the proxy has open that is told to
// end cannot be seen any more.
//
// The configuration file is not touched: the table that Sync had is to say drain or maint.
func (p *Proxy) Drain(ctx context.Context, backend string, slot Slot) error {
	name := backend + "/" + slot.String()
	return p.each(ctx, func(one *instance) error { return one.drain(ctx, name) })
}

func (p *instance) drain(ctx context.Context, name string) error {
	servers, err := p.liveServers(ctx)
	if err != nil {
		return err
	}
	now, found := servers[name]
	if !found {
		return fmt.Errorf("cannot drain server %s: the proxy does not have it", name)
	}
	if now.state == Ready {
		err = p.tell(ctx, "set server "+name+" state drain")
	}
	if err == nil {
		err = p.waitIdle(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("cannot drain server %s: %w", name, busy(ctx, err))
	}
	if now.state == Maint {
		return nil
	}
	return p.tell(ctx, "set server "+name+" state maint")
}

// Hold lets new connections to front ends wait in the kernel's backlog, one front end after
// the other: callers must come before those they call, or what a caller has open waits for a
// service that is held. It returns when no connection is open any more. When ctx ends first
// the error matches ErrBusy; all are held then all the same, and stay so until Release. One that the
// proxy does not have gets no requests: there is nothing to hold.
//
// HAProxy must be 2.6.20, 2.8.12, 3.0.6 or newer: before, a release under load locks it up
// (haproxy issue 2726).
func (p *Proxy) Hold(ctx context.Context, frontends []string) error {
	var unfinished []error
	for _, frontend := range frontends {
		// Where time is over, the rest is held without waiting for what it has open.
		err := p.each(context.WithoutCancel(ctx), func(one *instance) error {
			return one.limit(context.WithoutCancel(ctx), frontend, 0)
		})
		if err != nil {
			return fmt.Errorf("cannot hold front end %s: %w", frontend, err)
		}
		if ctx.Err() == nil {
			err = p.each(ctx, func(one *instance) error { return one.waitIdle(ctx, frontend+"/FRONTEND") })
		} else {
			err = context.Cause(ctx)
		}
		if err != nil {
			err = fmt.Errorf("cannot wait for front end %s: %w", frontend, busy(ctx, err))
			if !errors.Is(err, ErrBusy) {
				return err
			}
			unfinished = append(unfinished, err)
		}
	}
	return errors.Join(unfinished...)
}

// Release lets connections through again, in the reverse order of Hold for the same list.
// It goes on where one front end fails, and reports all failures.
func (p *Proxy) Release(ctx context.Context, frontends []string) error {
	var failures []error
	for _, frontend := range slices.Backward(frontends) {
		err := p.each(ctx, func(one *instance) error { return one.limit(ctx, frontend, maxconn) })
		if err != nil {
			failures = append(failures, fmt.Errorf("cannot release front end %s: %w", frontend, err))
		}
	}
	return errors.Join(failures...)
}

// limit sets how many connections a front end accepts, where it is there, and reads it back.
func (p *instance) limit(ctx context.Context, frontend string, connections int) error {
	if !nameForm.MatchString(frontend) {
		return fmt.Errorf("%q is not the name of a front end", frontend)
	}
	stats, err := p.stats(ctx)
	if err != nil {
		return err
	}
	if now, has := stats[frontend+"/FRONTEND"]; !has || now.limit == connections {
		return nil
	}
	if err := p.tell(ctx, fmt.Sprintf("set maxconn frontend %s %d", frontend, connections)); err != nil {
		return err
	}
	stats, err = p.stats(ctx)
	if err != nil {
		return err
	}
	if got := stats[frontend+"/FRONTEND"].limit; got != connections {
		return fmt.Errorf("the proxy accepts %d connections there, wanted is %d", got, connections)
	}
	return nil
}

// waitIdle waits until no connection is open.
func (p *instance) waitIdle(ctx context.Context, name string) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		stats, err := p.stats(ctx)
		if err != nil {
			return err
		}
		if stats[name].sessions == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d open connections: %w", stats[name].sessions, context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

// busy makes the error of a wait that ctx ended one that matches ErrBusy. A socket may notice
// the deadline a moment before ctx does, with an error that says the same.
func busy(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return err
}
