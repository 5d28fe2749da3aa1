// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package change

// Status is where a task stands; also, derived from its tasks, where a change stands. The package comment
// has the diagram.
type Status string

// The statuses.
const (
	Hold    Status = "hold"    // will not run, since its lane failed before its turn
	Do      Status = "do"      // waits for its turn
	Doing   Status = "doing"   // its do runs, or ran when the program ended
	Done    Status = "done"    // its do ended well
	Undo    Status = "undo"    // waits to be undone
	Undoing Status = "undoing" // its undo runs, or ran when the program ended
	Undone  Status = "undone"  // nothing of it remains
	Error   Status = "error"   // its do failed, and cleaned up after itself
	Stuck   Status = "stuck"   // it could not be undone: its effect remains, and the operator has to look
)

// Final says whether a task in this status has nothing left to do.
func (s Status) Final() bool {
	switch s {
	case Hold, Done, Undone, Error, Stuck:
		return true
	}
	return false
}

// busy says whether a task in this status has, or may have, an effect that is about to change.
func (s Status) busy() bool { return s == Doing || s == Undo || s == Undoing }

// failed says whether a task in this status shows that its lane has failed.
func (s Status) failed() bool {
	switch s {
	case Hold, Undo, Undoing, Undone, Error, Stuck:
		return true
	}
	return false
}

// Status derives where the change stands:
//
//   - Do: nothing has run yet; Undoing: something is being undone; Doing: anything else that goes on.
//   - Stuck: ended, and something could not be undone.
//   - Error: ended, and something failed. What failed is undone; lanes that are complete stay.
//   - Undone, Hold: aborted; after something had run, or before anything did. Complete lanes stay.
//   - Done: ended, and everything is done.
func (c *Change) Status() Status {
	count := map[Status]int{}
	failed := false
	for _, t := range c.Tasks {
		count[t.Status]++
		failed = failed || t.Error != ""
	}
	all := len(c.Tasks)
	switch {
	case count[Undo]+count[Undoing] > 0:
		return Undoing
	case count[Do] == all && all > 0:
		return Do
	case count[Do]+count[Doing] > 0:
		return Doing
	case count[Stuck] > 0:
		return Stuck
	case failed:
		return Error
	case count[Done] == all:
		return Done
	case count[Hold] == all:
		return Hold
	}
	return Undone
}
