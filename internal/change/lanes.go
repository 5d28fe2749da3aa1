// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"fmt"
	"slices"
)

// graph is the fixed part of a change: who waits on whom, and who shares a lane. Together with the tasks'
// statuses it decides what happens next; everything in this file is a pure function of the two. Tasks are
// named by their index, ID-1.
type graph struct {
	atomic     bool
	lane       []int
	waitFor    [][]int
	dependents [][]int
	order      []int // each task after those it waits on
}

// newGraph checks that tasks wait on tasks there are, and not in a circle.
func newGraph(c *Change) (*graph, error) {
	n := len(c.Tasks)
	g := &graph{atomic: c.Atomic, lane: make([]int, n), waitFor: make([][]int, n), dependents: make([][]int, n)}
	missing := make([]int, n)
	for i, t := range c.Tasks {
		if !c.Atomic {
			g.lane[i] = t.Lane
		}
		for _, id := range t.WaitFor {
			if c.Task(id) == nil {
				return nil, fmt.Errorf("task %d (%s) waits on task %d, which does not exist", t.ID, t.Summary, id)
			}
			w := int(id) - 1
			g.waitFor[i] = append(g.waitFor[i], w)
			g.dependents[w] = append(g.dependents[w], i)
		}
		missing[i] = len(t.WaitFor)
	}
	for i := range n {
		if missing[i] == 0 {
			g.order = append(g.order, i)
		}
	}
	for next := 0; next < len(g.order); next++ {
		for _, d := range g.dependents[g.order[next]] {
			if missing[d]--; missing[d] == 0 {
				g.order = append(g.order, d)
			}
		}
	}
	if len(g.order) < n {
		i := slices.IndexFunc(missing, func(m int) bool { return m > 0 })
		return nil, fmt.Errorf("task %d (%s) waits on itself through others", c.Tasks[i].ID, c.Tasks[i].Summary)
	}
	return g, nil
}

// failedLanes returns the lanes that cannot become complete any more, with the task that is why, or -1
// where no task of another lane is.
func (g *graph) failedLanes(status []Status, aborted bool) map[int]int {
	failed := map[int]int{}
	for i, s := range status {
		if _, known := failed[g.lane[i]]; known && s != Error && s != Stuck {
			continue
		}
		switch {
		case s == Error || s == Stuck:
			failed[g.lane[i]] = i
		case s.failed(), aborted && (g.atomic || s != Done):
			failed[g.lane[i]] = -1
		}
	}
	if len(failed) == 0 {
		return failed
	}
	// A lane that fails later in the order can make one fail that stands before it, hence the outer loop.
	for again := true; again; {
		again = false
		for i, s := range status {
			if _, known := failed[g.lane[i]]; known || s != Do {
				continue
			}
			for _, w := range g.waitFor[i] {
				if _, bad := failed[g.lane[w]]; bad {
					failed[g.lane[i]] = w
					again = true
					break
				}
			}
		}
	}
	return failed
}

// settle draws the consequences of what happened, in place: in lanes that failed Do becomes Hold and Done
// becomes Undo; an Undo on which something rests that is Stuck becomes Stuck.
func (g *graph) settle(status []Status, failed map[int]int) {
	for i, s := range status {
		if _, bad := failed[g.lane[i]]; !bad {
			continue
		}
		switch s {
		case Do:
			status[i] = Hold
		case Done:
			status[i] = Undo
		}
	}
	busy, stuck := make([]bool, len(status)), make([]bool, len(status))
	for _, i := range slices.Backward(g.order) {
		for _, d := range g.dependents[i] {
			busy[i] = busy[i] || busy[d] || status[d].busy()
			stuck[i] = stuck[i] || stuck[d] || status[d] == Stuck
		}
		if status[i] == Undo && stuck[i] && !busy[i] {
			status[i] = Stuck
		}
	}
}

// ready returns the tasks that may start now: those in Do with all they wait on Done, and those in Undo
// that nothing rests on which is running or to be undone. The statuses have been settled.
func (g *graph) ready(status []Status) []int {
	busy := make([]bool, len(status))
	var ready []int
	for _, i := range slices.Backward(g.order) {
		for _, d := range g.dependents[i] {
			busy[i] = busy[i] || busy[d] || status[d].busy()
		}
		switch status[i] {
		case Undo:
			if !busy[i] {
				ready = append(ready, i)
			}
		case Do:
			if !slices.ContainsFunc(g.waitFor[i], func(w int) bool { return status[w] != Done }) {
				ready = append(ready, i)
			}
		}
	}
	slices.Sort(ready)
	return ready
}
