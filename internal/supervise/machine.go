// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"fmt"
	"slices"
	"time"

	"copse/internal/tree"
)

// Limits say how patient a Machine is.
type Limits struct {
	// Most is the weight of failures within Window after which a container is given up.
	Most   int
	Window time.Duration
	// FirstPause is the pause before the second restart in a row (the first comes at once); it
	// doubles with each, up to LastPause.
	FirstPause, LastPause time.Duration
	// EnginePause is how long the engine may take to start again what it said that it would;
	// after that the supervisor does.
	EnginePause time.Duration
}

// DefaultLimits are those of an agent.
func DefaultLimits() Limits {
	return Limits{Most: 8, Window: 15 * time.Minute, FirstPause: time.Second, LastPause: time.Minute, EnginePause: 75 * time.Second}
}

// The weights of failures.
const (
	exitWeight      = 1
	unhealthyWeight = 2
)

// Subject is a container that is meant to run, with what is known of its generation.
type Subject struct {
	Name       string
	Generation int
	// Depends are the services that it needs, also by way of jobs.
	Depends []string
	// Follows are those after whose restart it must be restarted (depends_on, restart: true).
	Follows []string
	Checked bool
	// Held: a change works on it, or an operator has stopped it.
	Held bool
	// Failed: it was given up before, and nobody has started it since.
	Failed bool
}

// Exit says how a container's process ended.
type Exit struct {
	Code int
	// OOM: the kernel killed it for the memory that it used.
	OOM bool
	// Error is the engine's, where it could not start it.
	Error string
	// Restarting: the engine will start it again by itself.
	Restarting bool
	Output     string // the last lines that it wrote
}

// Verb is what is to be done.
type Verb string

// What a Machine asks for.
const (
	Start   Verb = "start"
	Restart Verb = "restart"
	GiveUp  Verb = "give up"
)

// Action is something to be done about a container. Its end is told by Done.
type Action struct {
	Verb       Verb
	Name       string
	Generation int
	Cause      string
}

type phase string

const (
	fresh  phase = ""       // not seen yet
	up     phase = "up"     // it runs
	down   phase = "down"   // it does not, and will be started at due
	sick   phase = "sick"   // its check fails; it will be restarted at due
	acting phase = "acting" // an action is under way
	failed phase = "failed"
	gone   phase = "gone"
	held   phase = "held"
)

// strike is a failure.
type strike struct {
	at     time.Time
	weight int
}

// unit is what is known of one container.
type unit struct {
	Subject
	phase phase
	// started is when its process started, as the engine says.
	started time.Time
	healthy bool
	// trouble is when the present trouble began; zero: there is none.
	trouble time.Time
	// due is when something is to be done; zero: nothing is, until something is seen.
	due    time.Time
	verb   Verb
	cause  string
	output string
	// strikes are the failures that count together, oldest first.
	strikes []strike
	// engineStarts: the engine said that it starts it again.
	engineStarts bool
}

// well reports whether others can count on it.
func (u *unit) well() bool { return u.phase == up && (u.healthy || !u.Checked) }

// Machine decides. It has no clock and does nothing by itself; it belongs to one goroutine at a time.
type Machine struct {
	limits    Limits
	units     map[string]*unit
	incidents []Incident
}

// NewMachine returns a machine that knows nothing yet.
func NewMachine(limits Limits) *Machine {
	return &Machine{limits: limits, units: map[string]*unit{}}
}

// Incidents returns what happened since it was last called, oldest first.
func (m *Machine) Incidents() []Incident {
	found := m.incidents
	m.incidents = nil
	return found
}

func (m *Machine) note(now time.Time, u *unit, what What, cause, output string) {
	m.incidents = append(m.incidents, Incident{
		At: now, Container: u.Name, Generation: u.Generation, What: what, Cause: cause, Output: output,
	})
}

// Sync tells what is meant to run. What is new, and what was held until now, has to be seen by
// Running, Ended or Missing; Unseen names it.
func (m *Machine) Sync(subjects []Subject) {
	present := make(map[string]bool, len(subjects))
	for _, s := range subjects {
		present[s.Name] = true
		u := m.units[s.Name]
		if u == nil || u.Generation != s.Generation {
			u = &unit{}
			m.units[s.Name] = u
		}
		u.Subject = s
		switch {
		case s.Held:
			// An operator or a change has it in hand: it begins anew.
			*u = unit{Subject: s, phase: held, started: u.started}
		case u.phase == held:
			*u = unit{Subject: s}
		case s.Failed && u.phase == fresh:
			u.phase = failed
		}
	}
	for name := range m.units {
		if !present[name] {
			delete(m.units, name)
		}
	}
}

// Unseen names the containers that the machine knows nothing of.
func (m *Machine) Unseen() []string {
	var names []string
	for _, name := range tree.SortedKeys(m.units) {
		if m.units[name].phase == fresh {
			names = append(names, name)
		}
	}
	return names
}

// Running tells that a container runs, since when.
func (m *Machine) Running(now time.Time, name string, started time.Time) {
	u := m.units[name]
	if u == nil || u.phase == held {
		return
	}
	if u.phase == acting {
		u.started = started
		return
	}
	same := u.started.Equal(started)
	if same && (u.phase == up || u.phase == sick) {
		return
	}
	switch u.phase {
	case up, sick:
		if u.trouble.IsZero() {
			u.trouble = now
		}
		m.note(now, u, Exited, "it was started again while nobody looked", "")
	case failed:
		u.strikes = nil
		m.note(now, u, Started, "somebody started it", "")
	case gone:
		m.note(now, u, Started, "its container is there again", "")
	}
	u.phase, u.started, u.healthy, u.due, u.engineStarts = up, started, false, time.Time{}, false
	if !u.Checked {
		m.recovered(now, u)
	}
	m.follow(now)
}

// Ended tells that a container does not run, though it is meant to, as of some time: what is
// older than its last start is no news.
func (m *Machine) Ended(now, asOf time.Time, name string, exit Exit) {
	u := m.units[name]
	if u == nil || u.phase == held || u.phase == acting || u.phase == failed || asOf.Before(u.started) {
		return
	}
	if u.phase == down && !exit.Restarting && !u.due.IsZero() && !u.engineStarts {
		return // it is known, and will be started
	}
	if u.trouble.IsZero() {
		u.trouble = now
	}
	cause := exit.String()
	waits := m.waitsFor(u)
	if waits != "" {
		cause += "; " + waits
	}
	m.note(now, u, Exited, cause, exit.Output)
	u.healthy, u.cause, u.output = false, cause, exit.Output
	if waits == "" && m.strike(now, u, exitWeight) {
		return
	}
	u.phase, u.verb, u.engineStarts = down, Start, exit.Restarting
	u.due = now.Add(m.pause(now, u))
	if exit.Restarting {
		u.due = now.Add(m.limits.EnginePause)
	}
}

// Missing tells that the engine has no such container.
func (m *Machine) Missing(now time.Time, name string) {
	u := m.units[name]
	if u == nil || u.phase == held || u.phase == gone || u.phase == acting {
		return
	}
	m.note(now, u, Removed, fmt.Sprintf("its container was removed by hand: \"copse up %s\" makes it again", name), "")
	*u = unit{Subject: u.Subject, phase: gone}
}

// Checked tells what a container's check says: that it is healthy, or unhealthy after as many
// failures in a row as it allows.
func (m *Machine) Checked(now time.Time, name string, healthy bool, output string) {
	u := m.units[name]
	if u == nil || (u.phase != up && u.phase != sick) {
		return
	}
	if healthy {
		u.healthy = true
		u.phase, u.due = up, time.Time{}
		m.recovered(now, u)
		m.hurry(now)
		m.follow(now)
		return
	}
	u.healthy, u.output = false, output
	if u.phase == sick {
		return
	}
	if u.trouble.IsZero() {
		u.trouble = now
	}
	u.phase, u.verb, u.cause = sick, Restart, "its check fails: "+output
	cause := "its check fails"
	if waits := m.waitsFor(u); waits != "" {
		cause += "; not restarted: " + waits
		u.due = time.Time{} // until that is well again
		m.note(now, u, Unhealthy, cause, output)
		return
	}
	m.note(now, u, Unhealthy, cause, output)
	m.restartLater(now, u)
}

// restartLater counts a failed check and plans the restart for it.
func (m *Machine) restartLater(now time.Time, u *unit) {
	pause := m.pause(now, u)
	if !m.strike(now, u, unhealthyWeight) {
		u.due = now.Add(pause)
	}
}

// recovered ends a trouble.
func (m *Machine) recovered(now time.Time, u *unit) {
	if u.trouble.IsZero() {
		return
	}
	m.note(now, u, Recovered, fmt.Sprintf("after %s", now.Sub(u.trouble).Round(10*time.Millisecond)), "")
	u.trouble = time.Time{}
}

// strike counts a failure; where that was one too many, it plans to give up and returns true.
func (m *Machine) strike(now time.Time, u *unit, weight int) bool {
	u.strikes = append(u.strikes, strike{now, weight})
	if m.weight(now, u) <= m.limits.Most {
		return false
	}
	u.phase, u.verb, u.due = down, GiveUp, now
	return true
}

// weight is that of the failures within the window; older ones are forgotten.
func (m *Machine) weight(now time.Time, u *unit) int {
	u.strikes = slices.DeleteFunc(u.strikes, func(s strike) bool { return now.Sub(s.at) >= m.limits.Window })
	sum := 0
	for _, s := range u.strikes {
		sum += s.weight
	}
	return sum
}

// pause is how long to wait before the next restart.
func (m *Machine) pause(now time.Time, u *unit) time.Duration {
	weight := m.weight(now, u)
	if weight <= exitWeight {
		return 0
	}
	pause := m.limits.FirstPause
	for range weight - exitWeight - 1 {
		if pause *= 2; pause >= m.limits.LastPause {
			return m.limits.LastPause
		}
	}
	return pause
}

// waitsFor names what a container needs and is not well, "" for nothing.
func (m *Machine) waitsFor(u *unit) string {
	for _, name := range u.Depends {
		other := m.units[name]
		if other == nil || other.well() || (other.phase == up && !other.healthy && other.trouble.IsZero()) {
			continue
		}
		switch other.phase {
		case fresh:
			continue
		case held:
			return "it needs " + name + ", which is stopped or being changed"
		}
		return "it needs " + name + ", which is not well"
	}
	return ""
}

// hurry has those go on at once that waited for what is well again now.
func (m *Machine) hurry(now time.Time) {
	for _, name := range tree.SortedKeys(m.units) {
		u := m.units[name]
		if m.waitsFor(u) != "" {
			continue
		}
		switch {
		case u.phase == down && u.engineStarts && len(u.Depends) > 0 && m.weight(now, u) == 0:
			// Its exits were not its fault, and the engine's pause has grown with them.
			u.due, u.verb = now, Restart
		case u.phase == sick && u.due.IsZero():
			m.restartLater(now, u)
		}
	}
}

// follow plans the restarts of those that must be restarted after another was.
func (m *Machine) follow(now time.Time) {
	for _, name := range tree.SortedKeys(m.units) {
		u := m.units[name]
		if u.phase != up {
			continue
		}
		for _, first := range u.Follows {
			if other := m.units[first]; other != nil && other.well() && u.started.Before(other.started) {
				u.phase, u.verb, u.due = sick, Restart, now
				u.cause = first + " was started anew, and " + name + " has to be after it"
			}
		}
	}
}

// Next is when something is due; ok is false when nothing is.
func (m *Machine) Next() (due time.Time, ok bool) {
	for _, u := range m.units {
		if u.phase != acting && !u.due.IsZero() && (!ok || u.due.Before(due)) {
			due, ok = u.due, true
		}
	}
	return due, ok
}

// Due returns what is to be done now, in the order of names. Each action's end is told by Done.
func (m *Machine) Due(now time.Time) []Action {
	var actions []Action
	for _, name := range tree.SortedKeys(m.units) {
		u := m.units[name]
		if u.phase == acting || u.due.IsZero() || u.due.After(now) {
			continue
		}
		actions = append(actions, Action{Verb: u.verb, Name: name, Generation: u.Generation, Cause: u.cause})
		u.phase, u.due = acting, time.Time{}
	}
	return actions
}

// Outcome is how an action ended.
type Outcome struct {
	// Skipped: a change has it in hand, or it is another generation by now; nothing was done.
	Skipped bool
	// Away: the engine does not answer; it is tried again.
	Away bool
	Err  error
	// Started is when the container started, as the engine says.
	Started time.Time
}

// Done tells how an action ended.
func (m *Machine) Done(now time.Time, a Action, o Outcome) {
	u := m.units[a.Name]
	if u == nil || u.Generation != a.Generation || u.phase != acting {
		return
	}
	switch {
	case o.Skipped:
		*u = unit{Subject: u.Subject}
	case o.Away:
		u.phase, u.verb, u.due = down, a.Verb, now.Add(m.limits.FirstPause)
	case o.Err != nil:
		m.note(now, u, CannotStart, o.Err.Error(), "")
		u.cause = o.Err.Error()
		if a.Verb != GiveUp && m.strike(now, u, exitWeight) {
			return
		}
		u.phase, u.verb, u.due = down, a.Verb, now.Add(max(m.pause(now, u), m.limits.FirstPause))
	case a.Verb == GiveUp:
		m.note(now, u, GaveUp, fmt.Sprintf("it failed too often within %s; last: %s; \"copse start %s\" tries again",
			m.limits.Window, u.cause, a.Name), u.output)
		*u = unit{Subject: u.Subject, phase: failed}
	default:
		what := Started
		if a.Verb == Restart {
			what = Restarted
		}
		m.note(now, u, what, a.Cause, "")
		u.phase, u.healthy = up, false
		if !o.Started.IsZero() {
			u.started = o.Started
		}
		if !u.Checked {
			m.recovered(now, u)
		}
		m.follow(now)
	}
}

// Failed says whether a container was given up.
func (m *Machine) Failed(name string) bool {
	u := m.units[name]
	return u != nil && u.phase == failed
}

// Bringing says whether a container does not run, and is about to be started.
func (m *Machine) Bringing(name string) bool {
	u := m.units[name]
	return u != nil && u.verb != GiveUp && (u.phase == down || u.phase == acting)
}

// Up returns those that run, with the time of their start: what is to be checked.
func (m *Machine) Up() map[string]time.Time {
	found := map[string]time.Time{}
	for name, u := range m.units {
		if u.phase == up || u.phase == sick {
			found[name] = u.started
		}
	}
	return found
}
