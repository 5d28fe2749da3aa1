// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// survive runs the change of a set-up through one life after the other; life i crashes at boundary
// crashes[i], and the one after them goes on to the end. It returns the change as it ended, and whether
// every crash came about.
func survive(t testing.TB, s setup, dir string, crashes []int, abortAt int) (*Change, bool) {
	t.Helper()
	w := newWorld(s)
	path := filepath.Join(dir, "db")
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		crashAt := 0
		if i < len(crashes) {
			crashAt = crashes[i]
		}
		l := begin(t, w, path, crashAt, abortAt)
		if i == 0 {
			if _, err := l.runner.Submit(s.spec); err != nil {
				t.Fatal(err)
			}
		}
		c, crashed := l.wait()
		if !crashed && c.Status() == Stuck {
			w.check(t, c)
			l.replay(c)
			c, crashed = l.mend(c)
		}
		if crashed {
			l.end()
			continue
		}
		w.check(t, c)
		l.replay(c)
		l.end()
		return c, i >= len(crashes)
	}
}

// mend removes what made undos fail, has what is stuck undone, and waits for that or a crash.
func (l *life) mend(stuck *Change) (c *Change, crashed bool) {
	l.t.Helper()
	l.world.mu.Lock()
	l.world.mended = true
	l.world.mu.Unlock()
	if err := l.runner.Retry(stuck.ID, "tester"); err != nil {
		l.t.Fatal(err)
	}
	c, crashed = l.wait()
	if crashed {
		return nil, true
	}
	if got := c.Status(); got != Error && got != Undone {
		l.t.Errorf("after the operator mended it the change is %s; want error or undone", got)
	}
	return c, false
}

// kept names the tasks that are done, in the end.
func kept(c *Change) string {
	var ids []string
	for _, t := range c.Tasks {
		if t.Status == Done {
			ids = append(ids, fmt.Sprintf("t%d", t.ID))
		}
	}
	return strings.Join(ids, " ")
}

// TestKillAtEveryBoundary runs every row of the matrix, one at a time and in parallel, and crashes it at
// its first boundary, then at its second, and so on; and once more with a second crash soon after. In the
// end each lane is as if there had been no crash, and the world is what the store says.
func TestKillAtEveryBoundary(t *testing.T) {
	runs, stride := 0, 1
	if testing.Short() {
		stride = 5 // a sample of the boundaries
	}
	for _, row := range matrix {
		for _, kinds := range []string{"rerun", "ask"} {
			t.Run(kinds+" "+row.setup, func(t *testing.T) {
				s, dir := parse(t, row.setup), t.TempDir()
				for i, ts := range s.spec.Tasks {
					if ts.Kind == "rerun" {
						s.spec.Tasks[i].Kind = kinds
					}
				}
				quiet, _ := survive(t, s, dir, nil, 0)
				want := kept(quiet)
				for k := 1; ; k += stride {
					once, crashed := survive(t, s, dir, []int{k}, 0)
					if !crashed {
						break
					}
					runs++
					ends := []*Change{once}
					if kinds == "rerun" {
						twice, _ := survive(t, s, dir, []int{k, 1 + k%3}, 0)
						ends = append(ends, twice)
					}
					// What only a cancelled task decides, a crash may decide otherwise; and what cannot
					// be repeated fails.
					if strings.Contains(row.setup, "deaf") || strings.Contains(row.setup, "fail") {
						continue
					}
					for _, c := range ends {
						if got := kept(c); got != want && !abortedInTime(row.setup) {
							t.Errorf("crash at boundary %d: %q are done in the end (%s); want %q", k, got, outcome(c), want)
						}
					}
				}
			})
		}
	}
	if runs < 1000/stride {
		t.Errorf("only %d crashes came about; are the boundaries still called?", runs)
	}
}

// abortedInTime says whether a row aborts its change: a crash then decides what had completed by then.
func abortedInTime(setup string) bool { return strings.Contains(setup, "abort") }

// TestAbortAtEveryBoundary aborts a change at its first boundary, then at its second, and so on, and
// crashes it at each boundary after that.
func TestAbortAtEveryBoundary(t *testing.T) {
	for _, setup := range []string{
		"t1 t2<t1 lane:1; t3 t4<t3,t2 lane:2; t5<t2 lane:3",
		"atomic; t1 t2<t1 lane:1; t3<t1 t4<t3 lane:2",
		"parallel:3; t1 t2<t1 lane:1; t3 t4<t3 lane:2; t5 lane:3",
		"t1 t2<t1 lane:1; t3 t4<t3,t2 lane:2; t2:undo-error t4:do-error",
	} {
		t.Run(setup, func(t *testing.T) {
			s, dir := parse(t, setup), t.TempDir()
			for at := 1; ; at++ {
				c, _ := survive(t, s, dir, nil, at)
				if c.Aborted == nil {
					if at < 5 {
						t.Errorf("the change has only %d boundaries", at)
					}
					break
				}
				for k := at + 1; ; k++ {
					if _, crashed := survive(t, s, dir, []int{k}, at); !crashed {
						break
					}
				}
			}
		})
	}
}

// TestRandomChanges runs random graphs with random behaviour, aborts and crashes.
func TestRandomChanges(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 9).Draw(rt, "tasks")
		words := []string{fmt.Sprintf("parallel:%d", rapid.SampledFrom([]int{1, 1, 2, 4}).Draw(rt, "parallel"))}
		if rapid.IntRange(0, 4).Draw(rt, "atomic") == 0 {
			words = append(words, "atomic")
		}
		for id := 1; id <= n; id++ {
			deps := []string{}
			for d := 1; d < id; d++ {
				if rapid.IntRange(0, 2).Draw(rt, "waits") == 0 {
					deps = append(deps, fmt.Sprintf("t%d", d))
				}
			}
			words = append(words, fmt.Sprintf("; lane:%d t%d<%s", rapid.IntRange(1, 4).Draw(rt, "lane"), id, strings.Join(deps, ",")))
			for _, odds := range []struct {
				word string
				one  int
			}{{"do-error", 8}, {"do-panic", 20}, {"do-left", 30}, {"undo-error", 12}, {"do-abort", 30}, {"ask", 3}, {"fail", 8}} {
				if rapid.IntRange(1, odds.one).Draw(rt, odds.word) == 1 {
					words = append(words, fmt.Sprintf("t%d:%s", id, odds.word))
				}
			}
		}
		crashes := rapid.SliceOfN(rapid.IntRange(1, 4*n), 0, 4).Draw(rt, "crashes")
		abortAt := rapid.IntRange(0, 12*n).Draw(rt, "abort")
		text := strings.Join(words, " ")
		rt.Logf("%s; crashes %v, abort %d", text, crashes, abortAt)
		s := parse(t, text)
		failed := t.Failed()
		survive(t, s, dir, crashes, abortAt)
		if t.Failed() && !failed {
			rt.Fatalf("see above: %s; crashes %v, abort %d", text, crashes, abortAt)
		}
	})
}
