// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// stage is a machine under test: what is done to it, and what comes of it, as lines.
type stage struct {
	*Machine
	t        *testing.T
	now      time.Time
	subjects []Subject
	lines    []string
}

var dawn = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// newStage has a database, a service that needs it, and one that must follow the service.
func newStage(t *testing.T) *stage {
	s := &stage{Machine: NewMachine(DefaultLimits()), t: t, now: dawn, subjects: []Subject{
		{Name: "db", Generation: 1, Checked: true},
		{Name: "api", Generation: 2, Checked: true, Depends: []string{"db"}},
		{Name: "tail", Generation: 3, Depends: []string{"api"}, Follows: []string{"api"}},
	}}
	s.Sync(s.subjects)
	for _, u := range s.subjects {
		s.Running(s.now, u.Name, dawn)
		s.Checked(s.now, u.Name, true, "")
	}
	s.expect()
	return s
}

// pass lets time go by, a tenth of a second at a time, and does at once what is due.
func (s *stage) pass(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); s.now = s.now.Add(100 * time.Millisecond) {
		s.work(Outcome{})
	}
}

// work does what is due, with that outcome.
func (s *stage) work(o Outcome) {
	s.collect()
	for _, a := range s.Due(s.now) {
		s.lines = append(s.lines, fmt.Sprintf("do %s %s", a.Verb, a.Name))
		if o.Err == nil && !o.Skipped && !o.Away && a.Verb != GiveUp {
			o.Started = s.now
		}
		s.Done(s.now, a, o)
	}
	s.collect()
}

func (s *stage) collect() {
	for _, i := range s.Incidents() {
		s.lines = append(s.lines, fmt.Sprintf("%s.%d %s: %s", i.Container, i.Generation, i.What, i.Cause))
	}
}

// expect holds that there were these lines, each at least with that beginning, since the last call.
func (s *stage) expect(want ...string) {
	s.t.Helper()
	s.collect()
	ok := len(want) == len(s.lines)
	for i := 0; ok && i < len(want); i++ {
		ok = strings.HasPrefix(s.lines[i], want[i])
	}
	if !ok {
		s.t.Errorf("there was:\n  %s\nwant:\n  %s", strings.Join(s.lines, "\n  "), strings.Join(want, "\n  "))
	}
	s.lines = nil
}

func (s *stage) hold(name string, held bool) {
	for i := range s.subjects {
		if s.subjects[i].Name == name {
			s.subjects[i].Held = held
		}
	}
	s.Sync(s.subjects)
}

// TestEngineRestarts: the engine starts again what has ended; that is written down, and no more.
func TestEngineRestarts(t *testing.T) {
	s := newStage(t)
	s.Ended(s.now, s.now, "api", Exit{Code: 137, Restarting: true, Output: "last words"})
	s.expect("api.2 exited: ended with status 137 (SIGKILL)")
	s.pass(time.Second)
	s.Running(s.now, "api", s.now)
	s.pass(time.Second)
	s.expect()
	s.Checked(s.now, "api", true, "")
	s.pass(time.Second)
	s.expect("api.2 recovered: after 2s", "do restart tail", "tail.3 restarted: api was started anew")
}

// TestKilledByHand: what the engine does not start again, the supervisor does, and at once.
func TestKilledByHand(t *testing.T) {
	s := newStage(t)
	s.Ended(s.now, s.now, "db", Exit{Code: 137})
	s.Ended(s.now, s.now, "db", Exit{Code: 137}) // seen twice, it is still one
	s.pass(100 * time.Millisecond)
	s.expect("db.1 exited: ended with status 137", "do start db", "db.1 started: ended with status 137")
	s.Running(s.now, "db", s.now.Add(-100*time.Millisecond))
	s.Checked(s.now, "db", true, "")
	s.expect("db.1 recovered: after 100ms")
}

// TestEngineForgets: an engine that said it would start a container, and does not, is not waited for.
func TestEngineForgets(t *testing.T) {
	s := newStage(t)
	s.Ended(s.now, s.now, "db", Exit{Code: 1, Restarting: true})
	s.pass(DefaultLimits().EnginePause + time.Second)
	s.expect("db.1 exited: ended with status 1", "do start db", "db.1 started: ")
}

// TestUnhealthyIsRestarted: at once the first time, later and later then, and not for ever.
func TestUnhealthyIsRestarted(t *testing.T) {
	s := newStage(t)
	for i := range DefaultLimits().Most / unhealthyWeight {
		s.Checked(s.now, "db", false, "no answer")
		s.Checked(s.now, "db", false, "no answer") // it stays unhealthy until it is restarted
		s.pass(100 * time.Millisecond)
		if i == 0 {
			s.expect("db.1 unhealthy: its check fails", "do restart db", "db.1 restarted: its check fails: no answer")
			continue
		}
		s.expect("db.1 unhealthy: its check fails")
		s.pass(time.Minute + time.Second)
		s.expect("do restart db", "db.1 restarted: its check fails: no answer")
	}
	s.Checked(s.now, "db", false, "no answer")
	s.pass(time.Second)
	s.expect("db.1 unhealthy: ", "do give up db", "db.1 gave up: it failed too often within 15m0s; last: its check fails: no answer; \"copse start db\" tries again")
	if !s.Failed("db") {
		t.Error("db is not failed")
	}
	s.Ended(s.now, s.now, "db", Exit{Code: 0})
	s.pass(time.Hour)
	s.expect()

	// "copse start" is a change: it begins anew.
	s.hold("db", true)
	s.hold("db", false)
	if got := s.Unseen(); len(got) != 1 || got[0] != "db" || s.Failed("db") {
		t.Errorf("unseen %v, failed %t; want db looked at anew", got, s.Failed("db"))
	}
	s.Running(s.now, "db", s.now)
	s.Checked(s.now, "db", false, "no answer")
	s.pass(100 * time.Millisecond)
	s.expect("db.1 unhealthy", "do restart db", "db.1 restarted")
}

// TestRecoversBeforeTheRestart: a check that succeeds again saves the container from the restart.
func TestRecoversBeforeTheRestart(t *testing.T) {
	s := newStage(t)
	s.Checked(s.now, "db", false, "slow")
	s.pass(time.Second)
	s.Checked(s.now, "db", true, "")
	s.expect("db.1 unhealthy", "do restart db", "db.1 restarted", "db.1 recovered")
	s.Checked(s.now, "db", false, "slow")
	s.Checked(s.now.Add(100*time.Millisecond), "db", true, "")
	s.pass(time.Minute)
	s.expect("db.1 unhealthy", "db.1 recovered")
}

// TestCrashLoop: a container that keeps ending is given up, and what it said last is kept.
func TestCrashLoop(t *testing.T) {
	s := newStage(t)
	for range DefaultLimits().Most {
		s.Ended(s.now, s.now, "db", Exit{Code: 3, Restarting: true, Output: "no disk"})
		s.pass(time.Second)
		s.Running(s.now, "db", s.now)
		s.pass(time.Second)
	}
	s.lines = nil
	s.Ended(s.now, s.now, "db", Exit{Code: 3, Restarting: true, Output: "no disk"})
	s.pass(time.Second)
	s.expect("db.1 exited", "do give up db", "db.1 gave up: it failed too often within 15m0s; last: ended with status 3")
}

// TestFewFailuresAreForgotten: failures count together only within the window.
func TestFewFailuresAreForgotten(t *testing.T) {
	s := newStage(t)
	for range 3 * DefaultLimits().Most {
		s.Ended(s.now, s.now, "db", Exit{Code: 3, Restarting: true})
		s.work(Outcome{}) // what is due at once
		if s.Failed("db") {
			t.Fatal("given up for failures that are a quarter of an hour apart")
		}
		s.Running(s.now.Add(time.Second), "db", s.now.Add(time.Second))
		s.now = s.now.Add(DefaultLimits().Window)
	}
}

// TestDependencyDown: while the database is stopped, its dependents are not restarted for their
// checks and not given up for their exits; when it is back they go on at once.
func TestDependencyDown(t *testing.T) {
	s := newStage(t)
	s.hold("db", true)
	s.Checked(s.now, "api", false, "no database")
	s.pass(10 * time.Minute)
	s.expect("api.2 unhealthy: its check fails; not restarted: it needs db, which is stopped or being changed")
	s.Checked(s.now, "api", true, "")
	s.expect("api.2 recovered")
	for range 3 * DefaultLimits().Most {
		s.Ended(s.now, s.now, "api", Exit{Code: 1, Restarting: true})
		s.Running(s.now.Add(time.Second), "api", s.now.Add(time.Second))
		s.pass(2 * time.Second)
	}
	s.Ended(s.now, s.now, "api", Exit{Code: 1, Restarting: true})
	s.collect()
	for _, line := range s.lines {
		if !strings.HasPrefix(line, "api.2 exited: ended with status 1; it needs db") {
			t.Errorf("while the database is stopped: %s", line)
		}
	}
	s.lines = nil
	s.hold("db", false)
	s.Running(s.now, "db", s.now)
	s.Checked(s.now, "db", true, "")
	s.pass(time.Second)
	s.expect("do restart api", "api.2 restarted: ended with status 1; it needs db")
	if s.Failed("api") {
		t.Error("given up for a dependency")
	}
}

// TestHeld: nothing that happens to what a change works on is a failure.
func TestHeld(t *testing.T) {
	s := newStage(t)
	s.hold("db", true)
	s.Ended(s.now, s.now, "db", Exit{Code: 1})
	s.Checked(s.now, "db", false, "no")
	s.Missing(s.now, "db")
	s.pass(time.Hour)
	s.expect()
}

// TestRemovedByHand: it is said once, and not mended: that is for "copse up".
func TestRemovedByHand(t *testing.T) {
	s := newStage(t)
	s.Missing(s.now, "db")
	s.Missing(s.now, "db")
	s.pass(time.Hour)
	s.expect("db.1 removed: its container was removed by hand: \"copse up db\" makes it again")
}

// TestActionsThatFail: an engine that is away costs nothing, one that refuses does.
func TestActionsThatFail(t *testing.T) {
	s := newStage(t)
	s.Ended(s.now, s.now, "db", Exit{Code: 1})
	for range 100 {
		s.work(Outcome{Away: true})
		s.now = s.now.Add(time.Second)
	}
	s.collect()
	if got := strings.Join(s.lines[len(s.lines)-2:], ", "); got != "do start db, do start db" || s.Failed("db") {
		t.Errorf("an engine that is away: %s, failed %t", got, s.Failed("db"))
	}
	s.lines = nil
	for range 100 {
		s.work(Outcome{Err: fmt.Errorf("no such device")})
		s.now = s.now.Add(time.Minute)
		if s.Failed("db") {
			break
		}
		if s.units["db"].verb == GiveUp {
			s.work(Outcome{})
		}
	}
	if !s.Failed("db") {
		t.Errorf("never given up:\n  %s", strings.Join(s.lines, "\n  "))
	}
	s.lines = nil

	// A change that has taken it in hand meanwhile: it is looked at again.
	s.Ended(s.now, s.now, "api", Exit{Code: 1})
	s.work(Outcome{Skipped: true})
	if got := s.Unseen(); len(got) != 1 || got[0] != "api" {
		t.Errorf("unseen %v, want api", got)
	}
}

// TestOwnDoingIsNoIncident: what the engine reports of an action's own stop and start is known.
func TestOwnDoingIsNoIncident(t *testing.T) {
	s := newStage(t)
	s.Checked(s.now, "db", false, "no")
	actions := s.Due(s.now)
	if len(actions) != 1 {
		t.Fatalf("actions %v", actions)
	}
	s.Ended(s.now, s.now, "db", Exit{Code: 143})
	started := s.now.Add(2 * time.Second)
	s.Running(started, "db", started)
	s.Done(started, actions[0], Outcome{Started: started})
	s.Running(started, "db", started)
	s.Ended(started.Add(time.Second), started.Add(-time.Second), "db", Exit{Code: 143}) // told late
	s.expect("db.1 unhealthy", "db.1 restarted")
}

func TestExitInWords(t *testing.T) {
	for _, c := range []struct {
		exit Exit
		want string
	}{
		{Exit{Code: 1}, "ended with status 1"},
		{Exit{Code: 139}, "ended with status 139 (SIGSEGV)"},
		{Exit{Code: 255}, "ended with status 255"},
		{Exit{Code: 137, OOM: true}, "the kernel killed it: it needed more memory than its limit"},
		{Exit{Code: 128, Error: "not a shared mount"}, "the engine cannot start it: not a shared mount"},
	} {
		if got := c.exit.String(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.exit, got, c.want)
		}
	}
}

// TestPausesGrow: the first restart comes at once, the second after a second, and each further one after
// twice the time of the one before, up to a minute.
func TestPausesGrow(t *testing.T) {
	s := &stage{Machine: NewMachine(Limits{Most: 100, Window: time.Hour, FirstPause: time.Second, LastPause: time.Minute}), t: t, now: dawn}
	s.Sync([]Subject{{Name: "db", Generation: 1}})
	s.Running(s.now, "db", dawn)
	seconds := func(n time.Duration) time.Duration { return n * time.Second }
	for i, want := range []time.Duration{0, seconds(1), seconds(2), seconds(4), seconds(8), seconds(16), seconds(32), seconds(60), seconds(60)} {
		s.Ended(s.now, s.now, "db", Exit{Code: 1})
		due, planned := s.Next()
		if pause := due.Sub(s.now); !planned || pause != want {
			t.Errorf("restart %d comes after %s (%t), want %s", i+1, pause, planned, want)
		}
		s.now = due
		s.work(Outcome{})
		s.now = s.now.Add(time.Millisecond)
	}
}

// TestOldFailuresDoNotCount: only what failed within the window counts, however little time lies between
// one failure and the next.
func TestOldFailuresDoNotCount(t *testing.T) {
	s := newStage(t)
	limits := DefaultLimits()
	for range 5 * limits.Most {
		s.Ended(s.now, s.now, "db", Exit{Code: 3, Restarting: true})
		s.work(Outcome{})
		if s.Failed("db") {
			t.Fatalf("given up, though never more than %d failures lie within %s", limits.Most, limits.Window)
		}
		s.Running(s.now.Add(time.Second), "db", s.now.Add(time.Second))
		s.now = s.now.Add(limits.Window/time.Duration(limits.Most) + time.Second)
	}
}
