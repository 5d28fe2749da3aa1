// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package probe measures how long, and how often, something does not answer while it is replaced: it
// asks again and again, as a client would, and keeps account of what failed.
package probe

import (
	"context"
	"errors"
	"sync"
	"time"

	"copse/internal/tree"
)

// ErrUnknown: the question could not be asked, which says nothing about who was to answer. Such a
// probe does not count.
var ErrUnknown = errors.New("it could not be asked")

// Target is something that is asked.
type Target struct {
	// Interval is the time from the end of one probe to the next.
	Interval time.Duration
	// Ask returns nil for an answer. The end of its context is no answer and no failure.
	Ask func(ctx context.Context) error
}

// Record keeps account of probes. The zero value is empty; it is a plain value, not safe for
// concurrent use.
type Record struct {
	first, last    time.Time
	probes, failed int
}

// Add counts a probe that was sent at a time; an error is a failure, but ErrUnknown.
func (r *Record) Add(sent time.Time, err error) {
	if errors.Is(err, ErrUnknown) {
		return
	}
	r.probes++
	if err == nil {
		return
	}
	r.failed++
	if r.first.IsZero() || sent.Before(r.first) {
		r.first = sent
	}
	if sent.After(r.last) {
		r.last = sent
	}
}

// Window is what the record comes to.
func (r *Record) Window() tree.Window {
	return tree.Window{Duration: r.last.Sub(r.first), Failed: r.failed, Probes: r.probes}
}

// Bounds of a watch.
const (
	// settling is how long Watch.End waits for a last answer of each target.
	settling = 3 * time.Second
	// longest is when a watch gives up: whatever is being replaced then, it is no window any more.
	longest = 30 * time.Minute
)

// Watch asks targets until it is ended. Who begins one ends it.
type Watch struct {
	stop    context.CancelFunc
	ctx     context.Context
	askers  sync.WaitGroup
	mu      sync.Mutex
	record  Record
	pending int           // targets that are to answer once more
	ending  bool          // End was called
	settled chan struct{} // closed when pending is 0 after that
}

// Begin starts to ask the targets, each on its own.
func Begin(targets []Target) *Watch {
	w := &Watch{settled: make(chan struct{}), pending: len(targets)}
	w.ctx, w.stop = context.WithTimeout(context.Background(), longest)
	for _, target := range targets {
		w.askers.Go(func() { w.ask(target) })
	}
	return w
}

func (w *Watch) ask(target Target) {
	last := false // it has answered since the watch was to end
	for {
		w.mu.Lock()
		ending := w.ending
		w.mu.Unlock()
		sent := time.Now()
		err := target.Ask(w.ctx)
		if w.ctx.Err() != nil {
			return
		}
		w.mu.Lock()
		w.record.Add(sent, err)
		if ending && err == nil && !last {
			last = true
			if w.pending--; w.pending == 0 {
				close(w.settled)
			}
		}
		w.mu.Unlock()
		if last {
			return
		}
		select {
		case <-w.ctx.Done():
			return
		case <-time.After(target.Interval):
		}
	}
}

// End waits a moment for a last answer of each target, so that what fails still is not missed, and
// returns what was measured: nil where the watch took too long to mean anything, or no probe counted.
// It is called once.
func (w *Watch) End() *tree.Window {
	w.mu.Lock()
	w.ending = true
	w.mu.Unlock()
	timer := time.NewTimer(settling)
	defer timer.Stop()
	select {
	case <-w.settled:
	case <-w.ctx.Done():
	case <-timer.C:
	}
	late := w.ctx.Err() != nil
	w.stop()
	w.askers.Wait()
	window := w.record.Window()
	if late || window.Probes == 0 {
		return nil
	}
	return &window
}

// Abandon ends the watch at once; nothing was measured.
func (w *Watch) Abandon() {
	w.stop()
	w.askers.Wait()
}
