// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Outcome says what Sync had to do to the running processes: the most that one of them needed.
type Outcome int

// The outcomes of Sync.
const (
	NotRunning Outcome = iota // the file is written, for the next start
	Unchanged
	Switched // through the runtime socket
	Reloaded
)

func (o Outcome) String() string {
	return [...]string{"not running", "unchanged", "switched", "reloaded"}[o]
}

// Sync makes table true: in the configuration file first, then in the running processes, where
// there are any. Calling it again, or after a crash in the middle, does what is left to do.
//
// Servers become ready before others are drained, so a front end is never without one. Where
// front ends differ, HAProxy is reloaded; when it refuses, the former configuration is put
// back and the process goes on as before. Front ends that are held stay held.
func (p *Proxy) Sync(ctx context.Context, table Table) (Outcome, error) {
	p.syncing.Lock()
	defer p.syncing.Unlock()
	content, err := Render(p.dir, table)
	if err != nil {
		return NotRunning, err
	}
	instances, err := p.serving(ctx)
	if err != nil {
		return NotRunning, err
	}
	wanted := description(table)
	if slices.ContainsFunc(instances, func(s serving) bool { return s.description != wanted }) {
		if err := p.checkBinds(ctx, content); err != nil {
			return NotRunning, err
		}
	}
	former, err := p.write(content)
	if err != nil {
		return NotRunning, err
	}
	outcome := NotRunning
	for _, one := range instances {
		did, err := one.follow(ctx, table, wanted, one.description)
		if _, gone := one.running(ctx); err != nil && errors.Is(gone, errNotRunning) {
			continue // it ended meanwhile: another has its front ends, or the next start reads the file
		}
		if refused := (refusedError{}); errors.As(err, &refused) {
			return NotRunning, errors.Join(err, p.restore(former))
		}
		if err != nil {
			return NotRunning, err
		}
		outcome = max(outcome, did)
	}
	return outcome, nil
}

// refusedError: an instance did not take the configuration, and goes on with the one that it has.
type refusedError struct{ error }

func (e refusedError) Unwrap() error { return e.error }

// follow makes one instance do what the table says.
func (p *instance) follow(ctx context.Context, table Table, wanted, has string) (Outcome, error) {
	outcome := Unchanged
	if has != wanted {
		if err := p.reloadHeld(ctx, wanted); err != nil {
			return outcome, refusedError{err}
		}
		outcome = Reloaded
	}
	changed, err := p.apply(ctx, table)
	if changed && outcome == Unchanged {
		outcome = Switched
	}
	return outcome, err
}

// checkBinds finds out whether HAProxy could listen where it does not yet. Where it cannot, it
// refuses the whole configuration, but not before it has asked its serving process to let go
// of all ports for two seconds: no client could connect meanwhile.
func (p *Proxy) checkBinds(ctx context.Context, content []byte) error {
	former, err := os.ReadFile(ConfigPath(p.dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot read the proxy's configuration: %w", err)
	}
	has := binds(former)
	var listen net.ListenConfig
	for bind := range binds(content) {
		if has[bind] {
			continue
		}
		listener, err := listen.Listen(ctx, "tcp", bind)
		if err != nil {
			return fmt.Errorf("cannot let the proxy listen at %s, it goes on as before: %w", bind, err)
		}
		if err := listener.Close(); err != nil {
			return fmt.Errorf("cannot let go of %s: %w", bind, err)
		}
	}
	return nil
}

// binds returns where a rendered configuration listens.
func binds(content []byte) map[string]bool {
	found := map[string]bool{}
	for line := range strings.Lines(string(content)) {
		if bind, is := strings.CutPrefix(line, "    bind "); is {
			found[strings.TrimSpace(bind)] = true
		}
	}
	return found
}

// write puts the configuration in place and returns the one that was there, nil for none.
func (p *Proxy) write(content []byte) (former []byte, err error) {
	path := ConfigPath(p.dir)
	former, err = os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the proxy's configuration: %w", err)
	}
	if err == nil && bytes.Equal(former, content) {
		return former, nil
	}
	if err := replaceFile(path, content); err != nil {
		return nil, fmt.Errorf("cannot write the proxy's configuration: %w", err)
	}
	return former, nil
}

func (p *Proxy) restore(former []byte) error {
	if former == nil {
		return nil
	}
	if err := replaceFile(ConfigPath(p.dir), former); err != nil {
		return fmt.Errorf("cannot put the proxy's former configuration back: %w", err)
	}
	return nil
}

// replaceFile writes a file so that a reader, or a crash, sees the old or the new one whole.
// HAProxy has a user of its own, who must be able to read it; there is no secret in it.
func replaceFile(path string, content []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			file.Close()
			os.Remove(file.Name())
		}
	}()
	if _, err := file.Write(content); err != nil {
		return err
	}
	if err := file.Chmod(0o644); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// reloadHeld reloads and holds again what was held: a new process starts open.
func (p *instance) reloadHeld(ctx context.Context, wanted string) error {
	before, err := p.stats(ctx)
	if err != nil {
		return err
	}
	if err := p.reload(ctx, wanted); err != nil {
		return err
	}
	if err := p.trustAll(ctx); err != nil {
		return err
	}
	after, err := p.stats(ctx)
	if err != nil {
		return err
	}
	for name, s := range before {
		frontend, isFrontend := cutFrontend(name)
		if _, still := after[name]; isFrontend && still && s.limit == 0 {
			if err := p.limit(ctx, frontend, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// apply makes the slots of the running process those of the table.
func (p *instance) apply(ctx context.Context, table Table) (changed bool, err error) {
	servers, err := p.liveServers(ctx)
	if err != nil {
		return false, err
	}
	// What becomes ready goes first.
	for _, pass := range []bool{true, false} {
		for _, backend := range table.Backends {
			for i, server := range backend.Servers {
				address, state := server.effective()
				if (state == Ready) != pass {
					continue
				}
				name := backend.Name + "/" + Slot(i).String()
				now, found := servers[name]
				if !found {
					return changed, fmt.Errorf("cannot set server %s: the proxy does not have it", name)
				}
				did, err := p.set(ctx, name, now, live{address, state})
				if err != nil {
					return changed, err
				}
				changed = changed || did
			}
		}
	}
	if !changed {
		return false, nil
	}
	return true, p.verify(ctx, table)
}

// set changes one slot from what it is to what it is to be.
func (p *instance) set(ctx context.Context, name string, now, wanted live) (changed bool, err error) {
	if now.address != wanted.address {
		command := fmt.Sprintf("set server %s addr %s port %d", name, wanted.address.Addr(), wanted.address.Port())
		if err := p.tell(ctx, command, "changed from", "no need to change"); err != nil {
			return false, err
		}
		if err := p.awaitAddress(ctx, name, wanted.address); err != nil {
			return true, err
		}
		changed = true
	}
	if !now.state.serves(wanted.state) {
		if err := p.tell(ctx, fmt.Sprintf("set server %s state %s", name, wanted.state)); err != nil {
			return changed, err
		}
		changed = true
	}
	if changed && wanted.state == Ready {
		return changed, p.trust(ctx, name)
	}
	return changed, nil
}

// trust lets a server that becomes ready fail as many checks as one that has passed some. HAProxy takes one
// that it does not know yet out of service at the first, and there is no other: on a machine that is
// busy with an upgrade a check may take too long once, and all clients would get 503 until the next.
func (p *instance) trust(ctx context.Context, name string) error {
	return p.tell(ctx, "set server "+name+" health up")
}

// trustAll does that for what is ready in a process that has just started.
func (p *instance) trustAll(ctx context.Context) error {
	servers, err := p.liveServers(ctx)
	if err != nil {
		return err
	}
	for name, server := range servers {
		if server.state != Ready {
			continue
		}
		if err := p.trust(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// addressDeadline is how long the proxy gets to take over an address.
const addressDeadline = 10 * time.Second

// awaitAddress waits until a slot has its address. Since HAProxy 3.0 a task of its own changes it, after
// the command was answered: until then, the slot must not become ready.
func (p *instance) awaitAddress(ctx context.Context, name string, wanted netip.AddrPort) error {
	waiting, cancel := context.WithTimeoutCause(ctx, addressDeadline, fmt.Errorf("waited %s", addressDeadline))
	defer cancel()
	for {
		servers, err := p.liveServers(ctx)
		if err != nil {
			return err
		}
		now := servers[name].address
		if now == wanted {
			return nil
		}
		select {
		case <-waiting.Done():
			return fmt.Errorf("cannot set the address of server %s: the proxy has it at %s, wanted is %s: %w",
				name, now, wanted, context.Cause(waiting))
		case <-time.After(pollInterval):
		}
	}
}

// serves says whether a server in this state is as wanted. One that is to drain and is in
// maintenance already has drained: Drain has ended it at the same time, and would have to again.
func (s State) serves(wanted State) bool {
	return s == wanted || (s == Maint && wanted == Drain)
}

// verify reads back what was set: most commands say nothing, whether they worked or not.
func (p *instance) verify(ctx context.Context, table Table) error {
	servers, err := p.liveServers(ctx)
	if err != nil {
		return err
	}
	for _, backend := range table.Backends {
		for i, server := range backend.Servers {
			address, state := server.effective()
			name := backend.Name + "/" + Slot(i).String()
			if got, want := servers[name], (live{address, state}); got.address != want.address || !got.state.serves(want.state) {
				return fmt.Errorf("cannot set server %s: the proxy has it %s at %s, wanted is %s at %s",
					name, got.state, got.address, want.state, want.address)
			}
		}
	}
	return nil
}
