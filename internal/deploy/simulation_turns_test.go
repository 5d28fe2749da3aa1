// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
)

// turns has the goroutines of a simulation run one at a time, from one operation of the engine or boundary
// of a task to the next, in an order that the seed decides: a seed that fails fails again.
type turns struct {
	random *rand.Rand

	mu      sync.Mutex
	waiting []turn
	arrived chan struct{}
}

type turn struct {
	key     string
	granted chan struct{}
}

func newTurns(seed uint64) *turns {
	return &turns{random: rand.New(rand.NewPCG(seed, 1)), arrived: make(chan struct{}, 1)}
}

// park waits for the goroutine's turn. The key tells it from others that come at the same time.
func (t *turns) park(key string) {
	mine := turn{key: key, granted: make(chan struct{})}
	t.mu.Lock()
	t.waiting = append(t.waiting, mine)
	t.mu.Unlock()
	select {
	case t.arrived <- struct{}{}:
	default:
	}
	<-mine.granted
}

// run gives out turns until the function that it returns is called.
func (t *turns) run() (end func()) {
	ended, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-t.arrived:
			case <-ended:
				return
			}
			for t.next() {
			}
		}
	}()
	return func() {
		close(ended)
		<-stopped
	}
}

// next lets one of those that wait go on, once nothing else moves.
func (t *turns) next() bool {
	synctest.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		return false
	}
	slices.SortStableFunc(t.waiting, func(a, b turn) int { return strings.Compare(a.key, b.key) })
	i := t.random.IntN(len(t.waiting))
	close(t.waiting[i].granted)
	t.waiting = slices.Delete(t.waiting, i, i+1)
	return true
}
