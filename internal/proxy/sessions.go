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
	stats, err := p.stats(ctx)
	if errors.Is(err, errNotRunning) {
		return map[string]Usage{}, nil
	} else if err != nil {
		return nil, err
	}
	usages := map[string]Usage{}
	for name, s := range stats {
		if frontend, isFrontend := cutFrontend(name); isFrontend {
			usages[frontend] = Usage{
				Clients: s.sessions,
				Servers: [2]int{stats[frontend+"/a"].sessions, stats[frontend+"/b"].sessions},
				Held:    s.limit == 0,
			}
		}
	}
	return usages, nil
}

func cutFrontend(name string) (string, bool) { return strings.CutSuffix(name, "/FRONTEND") }

// Drain takes a slot out of use: no new connections, wait until those that are open have
// ended, then maintenance. When ctx ends first, the slot stays draining and the error matches
// ErrBusy; the caller decides whether to wait on. A slot that is out of use already, and a
// proxy that does not run, have nothing to drain.
//
// The configuration file is not touched: the table that Sync had is to say drain or maint.
func (p *Proxy) Drain(ctx context.Context, backend string, slot Slot) error {
	name := backend + "/" + slot.String()
	servers, err := p.liveServers(ctx)
	if errors.Is(err, errNotRunning) {
		return nil
	} else if err != nil {
		return err
	}
	now, found := servers[name]
	if !found {
		return fmt.Errorf("cannot drain server %s: the proxy does not have it", name)
	}
	err = nil
	if now.state == Ready {
		err = p.tell(ctx, "set server "+name+" state drain")
	}
	if err == nil {
		err = p.waitIdle(ctx, name)
	}
	if errors.Is(err, errNotRunning) {
		return nil // it ended, and its connections with it
	} else if err != nil {
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
// the error matches ErrBusy and what is held stays so until Release.
//
// HAProxy must be 2.6.20, 2.8.12, 3.0.6 or newer: before, a release under load locks it up
// (haproxy issue 2726).
func (p *Proxy) Hold(ctx context.Context, frontends []string) error {
	for _, frontend := range frontends {
		err := p.limit(ctx, frontend, 0)
		if err == nil {
			err = p.waitIdle(ctx, frontend+"/FRONTEND")
		}
		if errors.Is(err, errNotRunning) {
			return nil // nothing comes through
		} else if err != nil {
			return fmt.Errorf("cannot hold front end %s: %w", frontend, busy(ctx, err))
		}
	}
	return nil
}

// Release lets connections through again, in the reverse order of Hold for the same list.
// It goes on where one front end fails, and reports all failures.
func (p *Proxy) Release(ctx context.Context, frontends []string) error {
	var failures []error
	for _, frontend := range slices.Backward(frontends) {
		if err := p.limit(ctx, frontend, maxconn); err != nil && !errors.Is(err, errNotRunning) {
			failures = append(failures, fmt.Errorf("cannot release front end %s: %w", frontend, err))
		}
	}
	return errors.Join(failures...)
}

// limit sets how many connections a front end accepts and reads it back.
func (p *Proxy) limit(ctx context.Context, frontend string, connections int) error {
	if !nameForm.MatchString(frontend) {
		return fmt.Errorf("%q is not the name of a front end", frontend)
	}
	if err := p.tell(ctx, fmt.Sprintf("set maxconn frontend %s %d", frontend, connections)); err != nil {
		return err
	}
	stats, err := p.stats(ctx)
	if err != nil {
		return err
	}
	if got := stats[frontend+"/FRONTEND"].limit; got != connections {
		return fmt.Errorf("the proxy accepts %d connections there, wanted is %d", got, connections)
	}
	return nil
}

// waitIdle waits until no connection is open.
func (p *Proxy) waitIdle(ctx context.Context, name string) error {
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
