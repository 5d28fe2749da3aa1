// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"copse/internal/engine"
	"copse/internal/tree"
)

// boot brings back what does not run when the agent starts: after a reboot that is most of it,
// since the engine starts containers at once and in no order, and refuses those whose directories
// are not prepared yet. Each is started when all that it needs is ready, or has failed to be.
// It is told by what is there alone, so that an agent that was killed while at it goes on.
type boot struct {
	s        *Supervisor
	prepared []string
	units    map[string]Unit
	began    time.Time
}

// newBoot takes all containers out of the machine's hands until they have been looked at.
func (s *Supervisor) newBoot(prepared []string) *boot {
	b := &boot{s: s, prepared: prepared, units: map[string]Unit{}, began: time.Now()}
	units, err := s.Units()
	if err != nil {
		s.Log.Error("cannot see what is meant to run", "error", err)
		return b
	}
	given, err := failures(s.Store, s.Host)
	if err != nil {
		s.Log.Error("cannot see what was given up", "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range units {
		if u.Held || given[u.Name] == u.Generation {
			continue
		}
		b.units[u.Name] = u
		s.booting[u.Name] = true
	}
	return b
}

// release gives a container to the machine.
func (b *boot) release(name string) {
	b.s.mu.Lock()
	delete(b.s.booting, name)
	b.s.mu.Unlock()
	b.s.Kick()
}

func (b *boot) run(ctx context.Context) {
	causes := map[string]string{} // why it is started
	stop := map[string]bool{}     // it has to be stopped for that
	for _, name := range tree.SortedKeys(b.units) {
		c, err := b.inspect(ctx, b.units[name])
		if ctx.Err() != nil {
			return
		}
		running := err == nil && (c.State == engine.Running || c.State == engine.Paused)
		switch {
		case err != nil: // gone, which the machine will say
		case running && b.stale(b.units[name], c):
			causes[name], stop[name] = "it was started before the host was prepared", true
		case c.State == engine.Restarting:
			causes[name], stop[name] = "it ended before what it needs was there", true
		case !running:
			causes[name] = "it did not run: " + Exit{Code: c.ExitCode, OOM: c.OOMKilled, Error: c.Error}.String()
		}
		if causes[name] == "" {
			b.release(name)
		}
	}
	if len(causes) == 0 {
		return
	}
	b.s.Log.Info("bringing back what does not run", "containers", len(causes))
	b.bring(ctx, causes, stop)
	if ctx.Err() != nil {
		return
	}
	b.s.write([]Incident{{
		At: time.Now(), What: Booted,
		Cause: fmt.Sprintf("%d of %d containers did not run as they should when the agent started; brought back within %s",
			len(causes), len(b.units), time.Since(b.began).Round(100*time.Millisecond)),
	}})
}

// inspect waits for an engine that does not answer.
func (b *boot) inspect(ctx context.Context, u Unit) (engine.Container, error) {
	for {
		c, err := b.s.Engine.Inspect(ctx, u.Engine)
		if !errors.Is(err, engine.ErrUnavailable) {
			return c, err
		}
		select {
		case <-ctx.Done():
			return c, err
		case <-time.After(reconnectPause):
		}
	}
}

// stale reports whether a container sees directories of the host as they were before.
func (b *boot) stale(u Unit, c engine.Container) bool {
	for _, bind := range u.Binds {
		for _, path := range b.prepared {
			if (bind == path || strings.HasPrefix(bind, path+"/")) && c.Started.Before(b.began) {
				return true
			}
		}
	}
	return false
}

// bring starts containers, each when what it needs is ready.
func (b *boot) bring(ctx context.Context, causes map[string]string, stop map[string]bool) {
	ready := map[string]chan struct{}{}
	var want func(name string)
	want = func(name string) {
		u, ok := b.units[name]
		if !ok || ready[name] != nil {
			return
		}
		ready[name] = make(chan struct{})
		for _, other := range u.Depends {
			want(other)
		}
	}
	for name := range causes {
		want(name)
	}
	var group sync.WaitGroup
	defer group.Wait()
	for name := range ready {
		group.Go(func() {
			defer close(ready[name])
			for _, other := range b.units[name].Depends {
				if ready[other] == nil {
					continue
				}
				select {
				case <-ready[other]:
				case <-ctx.Done():
					return
				}
			}
			if causes[name] != "" {
				defer b.release(name)
				if !b.start(ctx, b.units[name], causes[name], stop[name]) {
					return
				}
			}
			if err := b.s.Actor.Ready(ctx, name); err != nil && ctx.Err() == nil {
				b.s.Log.Warn("goes on without what is not ready", "container", name, "error", err)
			}
		})
	}
}

// start starts one container and reports whether that has worked; where not, the machine goes on
// with it.
func (b *boot) start(ctx context.Context, u Unit, cause string, stop bool) bool {
	for {
		err := b.s.Actor.Bounce(ctx, u.Name, u.Generation, stop)
		switch {
		case ctx.Err() != nil || errors.Is(err, ErrHandsOff):
			return false
		case errors.Is(err, engine.ErrUnavailable):
			if _, err := b.inspect(ctx, u); err != nil {
				return false
			}
			continue
		}
		i := Incident{At: time.Now(), Container: u.Name, Generation: u.Generation, What: Started, Cause: cause}
		if stop {
			i.What = Restarted
		}
		if err != nil {
			i.What, i.Cause = CannotStart, err.Error()
		}
		b.s.write([]Incident{i})
		return err == nil
	}
}
