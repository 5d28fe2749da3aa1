// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package logs merges the log streams of many containers into one, in the order of time.
//
// It holds a bounded number of lines: of each source, the next one and a few that wait for a
// reader. What was written is merged exactly. What is being written cannot be, since a silent
// container may yet say something old; there, lines are put in order as far as they come
// within a short window.
package logs

import (
	"container/heap"
	"context"
	"fmt"
	"sync"
	"time"

	"copse/internal/engine"
)

// Line is a line and the container that wrote it.
type Line struct {
	// Container is the source's name.
	Container string `json:"container"`
	engine.LogLine
}

// Source is one container's log.
type Source struct {
	Name string
	// Read calls handle for each line, oldest first, from one goroutine, as engine.Logs does.
	// It returns nil at the end of the log, and soon after ctx ends.
	Read func(ctx context.Context, handle func(engine.LogLine)) error
}

// buffered is how many lines of a source wait for the merge.
const buffered = 64

// Window is how long a line waits for older ones of other containers in Follow.
const Window = 100 * time.Millisecond

// maxPending bounds the lines that wait in Follow; beyond, the oldest goes on at once.
const maxPending = 4096

// Merge calls handle for each line of finished logs, in the order of time; lines of the same
// time come in the order of sources. It returns when all sources have ended, handle has failed
// (with its error) or ctx has ended (with its error). A source that fails ends the merge.
//
// Read of every source has returned when Merge returns.
func Merge(ctx context.Context, sources []Source, handle func(Line) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel(nil)
	streams := make([]<-chan engine.LogLine, len(sources))
	for i, source := range sources {
		lines := make(chan engine.LogLine, buffered)
		streams[i] = lines
		readers.Go(func() {
			defer close(lines)
			if err := source.read(ctx, func(line engine.LogLine) {
				select {
				case lines <- line:
				case <-ctx.Done():
				}
			}); err != nil {
				cancel(err)
			}
		})
	}
	next := func(i int) (Line, bool) {
		select {
		case line, open := <-streams[i]:
			return Line{sources[i].Name, line}, open
		case <-ctx.Done():
			return Line{}, false
		}
	}
	var queue lineQueue
	for i := range sources {
		if line, open := next(i); open {
			heap.Push(&queue, pending{line: line, order: i})
		}
	}
	// A source that failed has ended early: the order is not to be trusted any more.
	for queue.Len() > 0 && ctx.Err() == nil {
		first := queue[0]
		if err := handle(first.line); err != nil {
			return err
		}
		if line, open := next(first.order); open {
			queue[0].line = line
			heap.Fix(&queue, 0)
		} else {
			heap.Pop(&queue)
		}
	}
	return context.Cause(ctx)
}

// Follow calls handle for each line as it is written, until all sources have ended, handle has
// failed (with its error) or ctx has ended (with its error). A line waits for Window, so that
// lines of that time which arrive in another order come out in order. A source that fails
// does not silence the others: failed, if not nil, is called for it, between lines.
//
// Read of every source has returned when Follow returns.
func Follow(ctx context.Context, sources []Source, handle func(Line) error, failed func(error)) error {
	return follow(ctx, sources, handle, failed, time.After)
}

// arrival is a line, or the failure of a source.
type arrival struct {
	line Line
	err  error
}

// follow is Follow with a clock of the caller's.
func follow(ctx context.Context, sources []Source, handle func(Line) error, failed func(error), after func(time.Duration) <-chan time.Time) error {
	ctx, cancel := context.WithCancel(ctx)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	arrivals := make(chan arrival, buffered)
	send := func(a arrival) {
		select {
		case arrivals <- a:
		case <-ctx.Done():
		}
	}
	var running sync.WaitGroup
	for _, source := range sources {
		running.Add(1)
		readers.Go(func() {
			defer running.Done()
			if err := source.read(ctx, func(line engine.LogLine) {
				send(arrival{line: Line{source.Name, line}})
			}); err != nil && ctx.Err() == nil {
				send(arrival{err: err})
			}
		})
	}
	readers.Go(func() {
		running.Wait()
		close(arrivals)
	})

	var queue lineQueue
	pop := func() error { return handle(heap.Pop(&queue).(pending).line) }
	count := 0
	var window <-chan time.Time // nil while nothing waits
	waited := 0                 // lines that arrived before window began
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case a, open := <-arrivals:
			if !open {
				for queue.Len() > 0 {
					if err := pop(); err != nil {
						return err
					}
				}
				return ctx.Err()
			}
			if a.err != nil {
				if failed != nil {
					failed(a.err)
				}
				continue
			}
			heap.Push(&queue, pending{line: a.line, order: count})
			count++
			if window == nil {
				window, waited = after(Window), count
			}
			if queue.Len() > maxPending {
				if err := pop(); err != nil {
					return err
				}
			}
		case <-window:
			// All that was there when the window began has waited long enough, and so has what
			// is older than it.
			for waiting := queue.countBefore(waited); waiting > 0; {
				if queue[0].order < waited {
					waiting--
				}
				if err := pop(); err != nil {
					return err
				}
			}
			window = nil
			if queue.Len() > 0 {
				window, waited = after(Window), count
			}
		}
	}
}

// read adds the source's name to its failure.
func (s Source) read(ctx context.Context, handle func(engine.LogLine)) error {
	if err := s.Read(ctx, handle); err != nil {
		return fmt.Errorf("cannot read the log of %s: %w", s.Name, err)
	}
	return nil
}

// pending is a line that waits; order decides between lines of the same time.
type pending struct {
	line  Line
	order int
}

// lineQueue is a heap, the oldest line first.
type lineQueue []pending

func (q lineQueue) Len() int { return len(q) }

func (q lineQueue) Less(i, j int) bool {
	if c := q[i].line.Time.Compare(q[j].line.Time); c != 0 {
		return c < 0
	}
	return q[i].order < q[j].order
}

func (q lineQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *lineQueue) Push(x any) { *q = append(*q, x.(pending)) }

// Pop implements heap.Interface.
func (q *lineQueue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	(*q)[last] = pending{} // its text can go
	*q = (*q)[:last]
	return x
}

// countBefore counts the lines whose order is below limit.
func (q lineQueue) countBefore(limit int) int {
	n := 0
	for _, p := range q {
		if p.order < limit {
			n++
		}
	}
	return n
}
