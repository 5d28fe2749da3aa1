// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package logs merges the lines of many containers into one stream in the order of time.
package logs

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Line is a line with where it came from.
type Line[O any] struct {
	Time   time.Time
	Origin O
	Stream string
	Text   string
}

// Source gives the lines of one origin in the order of time until it has no more or ctx ends.
// emit's error ends it, and is returned.
type Source[O any] func(ctx context.Context, emit func(Line[O]) error) error

// reorder is how long a line waits for an earlier one of another source while following.
const reorder = 150 * time.Millisecond

// mostWaiting bounds the lines that wait to be put in order.
const mostWaiting = 10_000

// Merge passes the lines of all sources to emit, in the order of time, and returns when all
// sources have ended: their first error, or emit's. Each source is read one line ahead, so
// memory does not grow with the length of the logs.
func Merge[O any](ctx context.Context, sources []Source[O], emit func(Line[O]) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heads := make([]chan Line[O], len(sources))
	errs := make([]error, len(sources))
	var running sync.WaitGroup
	for i, source := range sources {
		heads[i] = make(chan Line[O])
		running.Go(func() {
			defer close(heads[i])
			errs[i] = source(ctx, func(l Line[O]) error {
				select {
				case heads[i] <- l:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})
	}
	err := mergeHeads(heads, emit)
	cancel()
	running.Wait()
	if err != nil {
		return err
	}
	for _, e := range errs {
		if e != nil {
			return e
		}
	}
	return nil
}

func mergeHeads[O any](heads []chan Line[O], emit func(Line[O]) error) error {
	next := make([]*Line[O], len(heads))
	open := make([]bool, len(heads))
	for i := range open {
		open[i] = true
	}
	for {
		first := -1
		for i := range heads {
			if open[i] && next[i] == nil {
				if l, more := <-heads[i]; more {
					next[i] = &l
				} else {
					open[i] = false
				}
			}
			if next[i] != nil && (first < 0 || next[i].Time.Before(next[first].Time)) {
				first = i
			}
		}
		if first < 0 {
			return nil
		}
		if err := emit(*next[first]); err != nil {
			return err
		}
		next[first] = nil
	}
}

// Follow passes lines to emit as they come, until ctx ends (nil) or emit fails. A line waits a
// moment for earlier ones of other sources, so that what happens at about the same time comes
// in order; a source that ends does not end the others.
func Follow[O any](ctx context.Context, sources []Source[O], emit func(Line[O]) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := make(chan Line[O], 256)
	var running sync.WaitGroup
	for _, source := range sources {
		running.Go(func() {
			// A container that goes away ends its own lines, and nothing else.
			_ = source(ctx, func(l Line[O]) error {
				select {
				case in <- l:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})
	}
	defer running.Wait()
	defer cancel()

	tick := time.NewTicker(reorder)
	defer tick.Stop()
	var waiting []Line[O]
	flush := func() error {
		slices.SortStableFunc(waiting, func(a, b Line[O]) int { return a.Time.Compare(b.Time) })
		for _, l := range waiting {
			if err := emit(l); err != nil {
				return err
			}
		}
		waiting = waiting[:0]
		return nil
	}
	for {
		select {
		case l := <-in:
			waiting = append(waiting, l)
			if len(waiting) < mostWaiting {
				continue
			}
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := flush(); err != nil {
			return err
		}
	}
}
