// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// matrix is the whole of do and undo, in the language of world_test.go.
var matrix = []struct{ setup, result string }{
	// All goes well.
	{"", "| = done"},
	{"t1", "t1:do | = done"},
	{"t1 t2<t1 t3<t2", "t1:do t2:do t3:do | = done"},
	{"t1 t2 t3", "t1:do t2:do t3:do | = done"},
	{"t1<t3 t2 t3<t2", "t2:do t3:do t1:do | = done"},
	{"t1 t2<t1 t3<t1 t4<t2,t3", "t1:do t2:do t3:do t4:do | = done"},
	{"t1 lane:1; t2<t1 lane:2; t3<t2 lane:1", "t1:do t2:do t3:do | = done"},
	{"atomic; t1 lane:1; t2<t1 lane:2", "t1:do t2:do | = done"},

	// One fails: what is done of its lane is undone, in reverse.
	{"t1; t1:do-error", "t1:do! | t1:error = error"},
	{"t1 t2<t1 t3<t2; t1:do-error", "t1:do! | t1:error t2:hold t3:hold = error"},
	{"t1 t2<t1 t3<t2; t2:do-error", "t1:do t2:do! t1:undo | t1:undone t2:error t3:hold = error"},
	{"t1 t2<t1 t3<t2; t3:do-error", "t1:do t2:do t3:do! t2:undo t1:undo | t1:undone t2:undone t3:error = error"},
	{"t1 t2 t3; t2:do-error", "t1:do t2:do! t1:undo | t1:undone t2:error t3:hold = error"},
	{"t1 t2<t1 t3<t1 t4<t2,t3; t4:do-error", "t1:do t2:do t3:do t4:do! t2:undo t3:undo t1:undo | t1:undone t2:undone t3:undone t4:error = error"},
	{"t1 t2<t1 t3<t1 t4<t2,t3; t3:do-error", "t1:do t2:do t3:do! t2:undo t1:undo | t1:undone t2:undone t3:error t4:hold = error"},

	// Lanes: others go on, what waits is held, complete ones stay.
	{"t1 t2<t1 lane:1; t3<t2 lane:2; t2:do-error", "t1:do t2:do! t1:undo | t1:undone t2:error t3:hold = error"},
	{"t1 t2<t1 lane:1; t3 t4<t3 lane:2; t2:do-error", "t1:do t2:do! t1:undo t3:do t4:do | t1:undone t2:error = error"},
	{"t1 t2<t1 lane:1; t3 t4<t3 lane:2; t1:do-error", "t1:do! t3:do t4:do | t1:error t2:hold = error"},
	{"t1 lane:1; t2<t1 lane:2; t3<t2 lane:3; t1:do-error", "t1:do! | t1:error t2:hold t3:hold = error"},
	{"t1 lane:1; t2<t1 lane:2; t3<t2 lane:3; t2:do-error", "t1:do t2:do! | t2:error t3:hold = error"},
	{"t1 lane:1; t2<t1 lane:2; t3<t2 lane:3; t3:do-error", "t1:do t2:do t3:do! | t3:error = error"},
	// A lane that was complete stays, though what it waited on is undone.
	{"t1 t2<t3 lane:1; t3<t1 lane:2; t2:do-error", "t1:do t3:do t2:do! t1:undo | t1:undone t2:error = error"},
	// A lane that can no longer become complete is undone as well…
	{"t1 lane:2; t2 t3<t2 lane:1; t4<t1,t3 lane:2; t3:do-error", "t1:do t2:do t3:do! t1:undo t2:undo | t1:undone t2:undone t3:error t4:hold = error"},
	// …also where what it has yet to wait on was done, and is undone now.
	{"t1 lane:2; t2 t3<t2 lane:1; t4<t1,t2 lane:2; t3:do-error", "t1:do t2:do t3:do! t1:undo t2:undo | t1:undone t2:undone t3:error t4:hold = error"},
	// …and so on, from lane to lane.
	{"t1 lane:3; t2 lane:2; t3 lane:1; t4<t2,t3 lane:2; t5<t1,t4 lane:3; t6 lane:4; t3:do-error", "t1:do t2:do t3:do! t1:undo t2:undo t6:do | t1:undone t2:undone t3:error t4:hold t5:hold = error"},
	{"t1 lane:1; t2 t3<t1,t2 lane:2; t4 t5<t3,t4 lane:3; t6 lane:4; t1:do-error", "t1:do! t6:do | t1:error t2:hold t3:hold t4:hold t5:hold = error"},
	{"t1<t2 lane:1; t2 lane:2; t3<t1 lane:1; t4<t3 lane:3; t3:do-error", "t2:do t1:do t3:do! t1:undo | t1:undone t3:error t4:hold = error"},
	// Two lanes through each other: the undo follows the order of both.
	{"t1 lane:1; t2<t1 lane:2; t3<t2 lane:1; t4<t3 lane:2; t4:do-error", "t1:do t2:do t3:do t4:do! t2:undo | t2:undone t4:error = error"},
	{"t1 lane:1; t2<t1 lane:2; t3<t2 lane:1; t4<t3 lane:2; t5<t4 lane:1; t5:do-error", "t1:do t2:do t3:do t4:do t5:do! t3:undo t1:undo | t1:undone t3:undone t5:error = error"},
	{"t1 lane:1; t2<t1 lane:2; t3<t2 lane:1; t4<t3 lane:2; t5<t3 lane:1; t4:do-error t5:do-error", "t1:do t2:do t3:do t4:do! t2:undo t5:do! t3:undo t1:undo | t1:undone t2:undone t3:undone t4:error t5:error = error"},
	{"t1 lane:1; t2<t1 lane:2; t3<t2 lane:1; t4<t3 t5<t4 lane:2; t6<t4 lane:1; t5:do-panic t5:undo-abort", "t1:do t2:do t3:do t4:do t5:do! t5:undo t4:undo t3:undo t2:undo t1:undo | t1:undone t2:undone t3:undone t4:undone t5:undone t6:hold = error"},
	{"t1 lane:1; t2 lane:2; t1:do-error t2:do-error", "t1:do! t2:do! | t1:error t2:error = error"},

	// Atomic: one fails, and everything is undone.
	{"atomic; t1 lane:1; t2 lane:2; t3<t1 lane:1; t3:do-error", "t1:do t2:do t3:do! t1:undo t2:undo | t1:undone t2:undone t3:error = error"},
	{"atomic; t1 t2<t1 lane:1; t3 lane:2; t2:do-error", "t1:do t2:do! t1:undo | t1:undone t2:error t3:hold = error"},
	{"atomic; t1 lane:1; t2<t1 lane:2; t3<t2 lane:3; t3:do-error", "t1:do t2:do t3:do! t2:undo t1:undo | t1:undone t2:undone t3:error = error"},
	{"atomic; t1 lane:1; t2 lane:2; t1:do-error", "t1:do! | t1:error t2:hold = error"},

	// A do that cannot clean up after itself.
	{"t1 t2<t1; t2:do-panic", "t1:do t2:do! t2:undo t1:undo | t1:undone t2:undone = error"},
	{"t1 lane:1; t2 lane:2; t1:do-panic", "t1:do! t1:undo t2:do | t1:undone = error"},
	{"t1 t2<t1; t2:do-left", "t1:do t2:do! | t1:stuck t2:stuck = stuck"},
	{"t1 t2; t2:do-left", "t1:do t2:do! t1:undo | t1:undone t2:stuck = stuck"},

	// An undo that fails: what it rests on is kept, the rest is undone.
	{"t1 t2<t1 t3<t2; t3:do-error t2:undo-error", "t1:do t2:do t3:do! t2:undo! | t1:stuck t2:stuck t3:error = stuck"},
	{"t1 t2<t1 t3<t2; t3:do-error t1:undo-error", "t1:do t2:do t3:do! t2:undo t1:undo! | t1:stuck t2:undone t3:error = stuck"},
	{"t1 t2<t1 t3<t1 t4<t2,t3; t4:do-error t2:undo-error", "t1:do t2:do t3:do t4:do! t2:undo! t3:undo | t1:stuck t2:stuck t3:undone t4:error = stuck"},
	{"t1 t2 t3<t1,t2; t3:do-error t1:undo-error", "t1:do t2:do t3:do! t1:undo! t2:undo | t1:stuck t2:undone t3:error = stuck"},
	{"t1 t2<t1 lane:1; t3 lane:2; t2:do-error t1:undo-error", "t1:do t2:do! t1:undo! t3:do | t1:stuck t2:error = stuck"},
	{"t1 t2<t1; t2:do-panic t2:undo-error", "t1:do t2:do! t2:undo! | t1:stuck t2:stuck = stuck"},
	{"t1 t2<t1; t1:undo-error", "t1:do t2:do | = done"},

	// Abort, at each task.
	{"t1 t2<t1 t3<t2; t1:do-abort", "t1:do t1:undo | t1:undone t2:hold t3:hold = undone"},
	{"t1 t2<t1 t3<t2; t2:do-abort", "t1:do t2:do t2:undo t1:undo | t1:undone t2:undone t3:hold = undone"},
	{"t1 t2<t1 t3<t2; t2:do-abort t2:do-wait", "t1:do t2:do! t1:undo | t1:undone t2:undone t3:hold = undone"},
	{"t1; t1:do-abort", "t1:do | = done"}, // what completed, completed
	{"atomic; t1; t1:do-abort", "t1:do t1:undo | t1:undone = undone"},
	{"t1 lane:1; t2<t1 lane:2; t3<t2 lane:3; t2:do-abort", "t1:do t2:do | t3:hold = undone"},
	{"t1 lane:1; t2<t1 t3<t2 lane:2; t2:do-abort", "t1:do t2:do t2:undo | t2:undone t3:hold = undone"},
	{"atomic; t1 lane:1; t2<t1 lane:2; t3<t2 lane:3; t2:do-abort", "t1:do t2:do t2:undo t1:undo | t1:undone t2:undone t3:hold = undone"},
	{"t1 t2<t1 t3<t2; t3:do-abort", "t1:do t2:do t3:do t3:undo t2:undo t1:undo | t1:undone t2:undone t3:undone = undone"},
	{"t1 t2<t1; t2:do-abort t2:do-error", "t1:do t2:do! t1:undo | t1:undone t2:undone = undone"},
	{"t1 t2<t1; t2:do-abort t2:do-left", "t1:do t2:do! | t1:stuck t2:stuck = stuck"},
	{"t1 t2<t1; t2:do-abort t2:do-panic", "t1:do t2:do! t2:undo t1:undo | t1:undone t2:undone = error"},
	{"t1 t2<t1 t3<t2 t4<t3; t3:do-abort t2:undo-error", "t1:do t2:do t3:do t3:undo t2:undo! | t1:stuck t2:stuck t3:undone t4:hold = stuck"},
	// Abort while something is being undone already: the rest stops as well.
	{"t1 lane:2; t2 t3<t2 lane:1; t4<t1 lane:2; t3:do-error t2:undo-abort", "t1:do t2:do t3:do! t2:undo t1:undo | t1:undone t2:undone t3:error t4:hold = error"},
	{"t1 t2<t1 t3<t2; t3:do-error t2:undo-abort", "t1:do t2:do t3:do! t2:undo t1:undo | t1:undone t2:undone t3:error = error"},

	// In parallel: what runs is cancelled.
	{"parallel:4; t1 t2; t1:do-wait t2:do-error", "t2:do! t1:do! | t1:undone t2:error = error"},
	{"parallel:4; t1 t2<t1 t3<t1; t2:do-wait t3:do-error", "t1:do t3:do! t2:do! t1:undo | t1:undone t2:undone t3:error = error"},
	{"parallel:4; t1 t2; t1:do-deaf t2:do-error", "t2:do! t1:do t1:undo | t1:undone t2:error = error"},
	{"parallel:4 unordered; t1 t2; t1:do-wait t2:do-abort", "t1:do! t2:do t2:undo | t1:undone t2:undone = undone"},
	{"parallel:4 unordered; t1 lane:1; t2 lane:2; t3 lane:3; t2:do-wait t2:do-abort t3:do-wait", "t1:do t2:do! t3:do! | t2:undone t3:undone = undone"},
	{"parallel:4 unordered; t1 t2<t1 t3<t1 t4<t2,t3; t4:do-error", "t1:do t1:undo t2:do t2:undo t3:do t3:undo t4:do! | t1:undone t2:undone t3:undone t4:error = error"},
	{"parallel:4; t1 lane:1; t2 lane:2; t1:after:t2 t2:do-error", "t2:do! t1:do | t2:error = error"},
	// What runs in a healthy lane is not cancelled, and what it rests on is undone after it.
	{"parallel:4; t1 t2<t1 lane:1; t3<t1 lane:2; t3:after:t2 t2:do-error", "t1:do t2:do! t3:do t1:undo | t1:undone t2:error = error"},
	{"parallel:4; t1 t2<t1 lane:1; t3<t1 t4<t3,t2 lane:2; t3:do-wait t2:do-error", "t1:do t2:do! t3:do! t1:undo | t1:undone t2:error t3:undone t4:hold = error"},

	// Handlers that commit.
	{"commit; t1 t2<t1 t3<t2", "t1:do t2:do t3:do | = done"},
	{"commit; t1 t2<t1 t3<t2; t3:do-error", "t1:do t2:do t3:do! t2:undo t1:undo | t1:undone t2:undone t3:error = error"},
	{"commit; parallel:4; t1 t2<t1 t3<t1; t2:do-deaf t3:do-error", "t1:do t3:do! t2:do t2:undo t1:undo | t1:undone t2:undone t3:error = error"},
	{"commit; t1 t2<t1; t2:do-abort", "t1:do t2:do t2:undo t1:undo | t1:undone t2:undone = undone"},

	// Kinds that are asked or fail after a crash behave like any other without one.
	{"t1 t2<t1 t3<t2; t1:ask t2:fail t3:ask", "t1:do t2:do t3:do | = done"},
	{"t1 t2<t1 t3<t2; t1:fail t2:ask t3:do-error", "t1:do t2:do t3:do! t2:undo t1:undo | t1:undone t2:undone t3:error = error"},
}

func TestMatrix(t *testing.T) {
	for _, row := range matrix {
		t.Run(row.setup, func(t *testing.T) {
			s := parse(t, row.setup)
			w := newWorld(s)
			l := begin(t, w, filepath.Join(t.TempDir(), "db"), 0, 0)
			defer l.end()
			if _, err := l.runner.Submit(s.spec); err != nil {
				t.Fatal(err)
			}
			c, _ := l.wait()
			w.check(t, c)
			l.replay(c)
			if s.unordered {
				slices.Sort(w.journal)
			}
			got := strings.TrimSpace(strings.Join(w.journal, " ") + " | " + outcome(c))
			if got != row.result {
				t.Errorf("got  %s\nwant %s", got, row.result)
			}
		})
	}
}
