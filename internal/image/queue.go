// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"sync"
	"time"
)

// task is one image of a run. While the run works, it belongs to the worker that took it.
type task struct {
	image   Image
	below   *task   // nil where there is nothing to wait for
	above   []*task // those that wait for it
	weight  int     // how many wait for it, directly or not
	state   State
	elapsed time.Duration
	err     error
}

// queue hands out tasks that nothing below has to be built for any more, the heaviest first: what
// most others wait for decides how long everything takes.
type queue struct {
	mutex sync.Mutex
	woken *sync.Cond // uses mutex
	ready []*task
	left  int // tasks that are neither finished nor held
}

func newQueue() *queue {
	q := &queue{}
	q.woken = sync.NewCond(&q.mutex)
	return q
}

// add is for the time before anybody takes.
func (q *queue) add(t, below *task) {
	q.left++
	if below == nil || below.state == Present {
		q.ready = append(q.ready, t)
		return
	}
	t.below = below
	below.above = append(below.above, t)
	for b := below; b != nil; b = b.below {
		b.weight++
	}
}

// take waits for a task; nil says that none is left.
func (q *queue) take() *task {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	for len(q.ready) == 0 {
		if q.left == 0 {
			return nil
		}
		q.woken.Wait()
	}
	best := 0
	for i, t := range q.ready {
		if t.weight > q.ready[best].weight {
			best = i
		}
	}
	t := q.ready[best]
	q.ready = append(q.ready[:best], q.ready[best+1:]...)
	return t
}

// finish makes ready what waited for a task, or returns it as held where the task failed.
func (q *queue) finish(t *task) (held []*task) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.left--
	if t.state == Failed {
		held = q.hold(t)
	} else {
		q.ready = append(q.ready, t.above...)
	}
	q.woken.Broadcast()
	return held
}

func (q *queue) hold(t *task) (held []*task) {
	for _, above := range t.above {
		above.state, above.err = Held, t.err
		q.left--
		held = append(held, above)
		held = append(held, q.hold(above)...)
	}
	return held
}
