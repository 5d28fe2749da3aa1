// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// SocketsVariable is the environment variable that tells HAProxy's container where its sockets
// belong: the configuration is one for all generations, its sockets are not.
const SocketsVariable = "PROXY_SOCKETS"

// previousLink, in a generation's directory of sockets, leads to that of the one before it for as
// long as the new one is to take over that one's listening sockets.
const previousLink = "previous"

// instance is one HAProxy: a master, the worker that serves, and workers that only finish what
// they have after a reload. There are two while one generation of the container replaces another.
type instance struct {
	// dir has its sockets.
	dir string
}

// InstanceDir is where one generation of the proxy that is kept in dir has its sockets.
func InstanceDir(dir string, generation int) string {
	return filepath.Join(dir, strconv.Itoa(generation))
}

func (p *Proxy) instance(generation int) *instance {
	return &instance{dir: InstanceDir(p.dir, generation)}
}

// serving is an instance that answers, with the description of what it runs.
type serving struct {
	*instance
	description string
}

// serving returns the instances that take requests, oldest first; none where HAProxy does not run. One
// that only finishes its connections has closed its sockets and is none of them.
func (p *Proxy) serving(ctx context.Context) ([]serving, error) {
	entries, err := os.ReadDir(p.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("cannot look for the proxy's sockets: %w", err)
	}
	var generations []int
	for _, entry := range entries {
		if n, err := strconv.Atoi(entry.Name()); err == nil && entry.IsDir() {
			generations = append(generations, n)
		}
	}
	slices.Sort(generations)
	var all []serving
	for _, n := range generations {
		one := p.instance(n)
		description, err := one.running(ctx)
		if errors.Is(err, errNotRunning) {
			continue
		} else if err != nil {
			return nil, err
		}
		all = append(all, serving{one, description})
	}
	return all, nil
}

// Handover lets a generation of HAProxy that is about to start take over the listening sockets of
// another, so that no connection is refused or lost: both accept from the same queue until the
// old one is told to stop. Where the other does not run, or from is 0, the new one listens by itself.
//
// It is to be called again with 0 once the new one serves: it must not look for the old one when
// the engine starts it again, and the servers that it has are those that have served already.
func (p *Proxy) Handover(ctx context.Context, from, to int) error {
	link := filepath.Join(InstanceDir(p.dir, to), previousLink)
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot end the handover to generation %d of the proxy: %w", to, err)
	}
	if from == 0 {
		if err := p.instance(to).trustAll(ctx); err != nil && !errors.Is(err, errNotRunning) {
			return fmt.Errorf("cannot end the handover to generation %d of the proxy: %w", to, err)
		}
		return nil
	}
	if from == to {
		return nil
	}
	if _, err := p.instance(from).running(ctx); errors.Is(err, errNotRunning) {
		return nil
	} else if err != nil {
		return fmt.Errorf("cannot hand over from generation %d of the proxy: %w", from, err)
	}
	if err := os.Symlink(filepath.Join("..", strconv.Itoa(from)), link); err != nil {
		return fmt.Errorf("cannot hand over to generation %d of the proxy: %w", to, err)
	}
	return nil
}

// Forget removes what a generation that does not run any more has left.
func (p *Proxy) Forget(generation int) error {
	if err := os.RemoveAll(InstanceDir(p.dir, generation)); err != nil {
		return fmt.Errorf("cannot remove the sockets of generation %d of the proxy: %w", generation, err)
	}
	return nil
}
