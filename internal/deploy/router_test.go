// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"copse/internal/probe"
	"copse/internal/tree"
)

// router is a proxy that remembers what it was told: the last table, what is held, and the
// generations of itself.
type router struct {
	mu     sync.Mutex
	routes []Route
	held   map[string]bool
	log    []string
	// sockets has the generations that have a directory, handover who takes over from whom.
	sockets  map[int]bool
	handover map[int]int
	// busy has Hold find connections that do not end; fault, if set, fails what it returns an error for.
	busy  bool
	fault func(op, object string) error
	// drained, if set, hears of each slot that is to be drained.
	drained func(frontend string, slot int)
}

func newRouter() *router {
	return &router{held: map[string]bool{}, sockets: map[int]bool{}, handover: map[int]int{}}
}

func (r *router) fails(op string) error {
	if r.fault == nil {
		return nil
	}
	return r.fault(op, "the proxy")
}

func (r *router) Apply(_ context.Context, _ string, table []Route) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.routes = slices.Clone(table)
	return nil
}

func (r *router) Drain(_ context.Context, _, frontend string, slot int) error {
	if r.drained != nil {
		r.drained(frontend, slot)
	}
	return nil
}

func (r *router) Hold(ctx context.Context, _ string, frontends []string) error {
	if err := r.fails("Hold"); err != nil {
		return err
	}
	r.mu.Lock()
	for _, f := range frontends {
		r.held[f] = true
		r.log = append(r.log, "hold "+f)
	}
	busy := r.busy
	r.mu.Unlock()
	if busy {
		<-ctx.Done()
		return fmt.Errorf("one connection is open: %w", ctx.Err())
	}
	return nil
}

func (r *router) Release(_ context.Context, _ string, frontends []string) error {
	if err := r.fails("Release"); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range slices.Backward(frontends) {
		delete(r.held, f)
		r.log = append(r.log, "release "+f)
	}
	return nil
}

func (r *router) Sockets(dir string, generation int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sockets[generation] = true
	return fmt.Sprintf("%s/%d", dir, generation)
}

func (r *router) Handover(_ context.Context, _ string, from, to int) error {
	if err := r.fails("Handover"); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.handover, to)
	if from != 0 {
		r.handover[to] = from
		r.log = append(r.log, fmt.Sprintf("hand over from %d to %d", from, to))
	}
	return nil
}

func (r *router) Forget(_ string, generation int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sockets, generation)
	delete(r.handover, generation)
	return nil
}

func (r *router) table() []Route {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.routes)
}

// said returns what was held, released and handed over, and forgets it.
func (r *router) said() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	log := r.log
	r.log = nil
	return log
}

func (r *router) holds(frontend string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held[frontend]
}

// checkProxy holds that between changes nothing is held, no handover goes on, and no generation but
// the active one has left sockets.
func (w *world) checkProxy(active *tree.Generation) {
	w.t.Helper()
	w.router.mu.Lock()
	defer w.router.mu.Unlock()
	if len(w.router.held) > 0 {
		w.t.Errorf("requests are held for ever: %v", tree.SortedKeys(w.router.held))
	}
	if len(w.router.handover) > 0 {
		w.t.Errorf("handovers go on: %v", w.router.handover)
	}
	for n := range maps.Keys(w.router.sockets) {
		if active == nil || active.Number != n {
			w.t.Errorf("generation %d of the proxy has left its sockets", n)
		}
	}
}

// measures counts measurements; each finds that one probe of ten failed.
type measures struct {
	mu    sync.Mutex
	begun int
	ended int
}

func (m *measures) begin(targets []probe.Target) Measurement {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(targets) == 0 {
		panic("a measurement of nothing")
	}
	m.begun++
	return m
}

func (m *measures) End() *tree.Window {
	m.Abandon()
	return &tree.Window{Duration: 250 * time.Millisecond, Failed: 1, Probes: 10}
}

func (m *measures) Abandon() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended++
}

func (m *measures) open() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.begun - m.ended
}

// heldNow are the front ends whose requests wait.
func (r *router) heldNow() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return tree.SortedKeys(r.held)
}
