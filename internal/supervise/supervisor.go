// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"copse/internal/engine"
	"copse/internal/health"
	"copse/internal/store"
	"copse/internal/tree"
)

// Engine is what a Supervisor asks of a container engine.
type Engine interface {
	Inspect(ctx context.Context, id string) (engine.Container, error)
	Logs(ctx context.Context, id string, options engine.LogOptions, handle func(engine.LogLine)) error
	Events(ctx context.Context, labels map[string]string, handle func(engine.Event)) error
}

// ErrHandsOff is what an Actor returns where it has done nothing, since a change has the container
// in hand, or it is not the active generation any more.
var ErrHandsOff = errors.New("a change has it in hand")

// Actor does what is decided.
type Actor interface {
	// Bounce starts a generation's container, and stops it before where stop is set.
	Bounce(ctx context.Context, name string, generation int, stop bool) error
	// Abandon stops it for as long as nobody starts it.
	Abandon(ctx context.Context, name string, generation int) error
	// Ready waits until it is ready, after Bounce.
	Ready(ctx context.Context, name string) error
}

// Unit is a container that is meant to run.
type Unit struct {
	Subject
	// Engine is the engine's name of it, e.g. "keystone.3".
	Engine string
	Check  *tree.Check
	// Worked is when a task of a change last worked on it, zero for never.
	Worked time.Time
	// Binds are the host's directories that it sees.
	Binds []string
}

// Options are what a Supervisor works with. All fields are required but Log and Limits.
type Options struct {
	Engine  Engine
	Actor   Actor
	Store   *store.Store
	Monitor *health.Monitor
	// Units lists what is meant to run on this host, what is held included.
	Units func() ([]Unit, error)
	// Overloaded says whether the host has far more to do than it can.
	Overloaded func() bool
	// Hide takes secrets out of what containers wrote; nil leaves it as it is.
	Hide   func(string) string
	Host   string
	Limits Limits
	Log    *slog.Logger
}

// Intervals of the supervisor.
const (
	// syncInterval is how often what is meant to run is looked up where nothing happens.
	syncInterval = 5 * time.Second
	// reconnectPause is the pause before an engine that has gone is asked again.
	reconnectPause = 250 * time.Millisecond
	// lookTimeout bounds one question to the engine.
	lookTimeout = 10 * time.Second
	// parallelActions bounds what is started and stopped at the same time.
	parallelActions = 4
	// overloadedFactor is how many times as patient the supervisor is on an overloaded host.
	overloadedFactor = 4
	// outputLines is how many of a container's last lines an incident keeps.
	outputLines = 5
	// mostInLine is how much of each of these is kept, in bytes: thousands of incidents are, and whoever asks
	// for them has all in memory.
	mostInLine = 2000
)

// Supervisor keeps a host's containers running. Its methods are safe for concurrent use.
type Supervisor struct {
	Options
	wake    chan struct{}
	asked   atomic.Bool // the loop is to look up what is meant to run
	actions chan struct{}

	mu        sync.Mutex
	machine   *Machine
	units     map[string]Unit
	byEngine  map[string]string // container name by the engine's name
	connected bool
	booting   map[string]bool
}

// New returns a supervisor that has yet to Run.
func New(options Options) *Supervisor {
	if options.Limits == (Limits{}) {
		options.Limits = DefaultLimits()
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	return &Supervisor{
		Options: options, wake: make(chan struct{}, 1), actions: make(chan struct{}, parallelActions),
		machine: NewMachine(options.Limits), units: map[string]Unit{}, byEngine: map[string]string{}, booting: map[string]bool{},
	}
}

// Run supervises until ctx ends, and returns when all that it has begun has ended. prepared names
// the directories of the host that were mounted anew just now: who saw them before is restarted.
func (s *Supervisor) Run(ctx context.Context, prepared []string) {
	var group sync.WaitGroup
	defer group.Wait()
	boot := s.newBoot(prepared)
	group.Go(func() { s.follow(ctx) })
	group.Go(func() { boot.run(ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	var synced time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.wake:
		}
		if s.asked.Swap(false) || time.Since(synced) >= syncInterval {
			s.sync(ctx)
			synced = time.Now()
		}
		for _, a := range s.due() {
			group.Go(func() { s.act(ctx, a) })
		}
		timer.Reset(s.pause())
	}
}

// Kick has the supervisor look at once at what is meant to run.
func (s *Supervisor) Kick() {
	s.asked.Store(true)
	s.nudge()
}

// nudge has the loop look at what is due.
func (s *Supervisor) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Failed says whether a container was given up.
func (s *Supervisor) Failed(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machine.Failed(name)
}

// Bringing says whether a container that does not run is about to be started.
func (s *Supervisor) Bringing(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.booting[name] || s.machine.Bringing(name)
}

// Told is for the monitor: it hears what a check says. It returns at once where that is nothing new.
func (s *Supervisor) Told(t health.Target, r health.Result) {
	s.tell(func(now time.Time) {
		name, ok := s.byEngine[t.Name]
		if !ok || r.State == health.Starting {
			return
		}
		switch {
		case r.State == health.Healthy && r.Failures == 0:
			s.machine.Checked(now, name, true, r.Output)
		case r.State == health.Unhealthy && r.Failures >= s.enough(t.Check):
			s.machine.Checked(now, name, false, r.Output)
		}
	})
}

// enough is how many failures in a row have a consequence. A host that has far more to do than it
// can makes services miss the time limits of their checks, and restarting them gives it yet more to
// do: there it takes several times as many.
func (s *Supervisor) enough(check *tree.Check) int {
	failures := max(check.Retries, 1)
	if s.Overloaded() {
		return failures * overloadedFactor
	}
	return failures
}

// tell gives the machine something, writes down what comes of it, and has the loop look.
func (s *Supervisor) tell(what func(now time.Time)) {
	s.mu.Lock()
	what(time.Now())
	incidents := s.machine.Incidents()
	targets := s.targets()
	_, due := s.machine.Next()
	// Under the lock: what happened is written in its order, and sync reads what was given up under it too.
	s.write(incidents)
	s.mu.Unlock()
	s.Monitor.Set(targets)
	if due || len(incidents) > 0 {
		s.nudge()
	}
}

func (s *Supervisor) write(incidents []Incident) {
	if len(incidents) == 0 {
		return
	}
	for _, i := range incidents {
		level := slog.LevelWarn
		switch i.What {
		case GaveUp, CannotStart:
			level = slog.LevelError
		case Recovered, Started, Booted:
			level = slog.LevelInfo
		}
		s.Log.Log(context.Background(), level, "incident", "container", tree.GenerationName(i.Container, i.Generation),
			"what", i.What, "cause", i.Cause, "output", i.Output)
	}
	if err := record(s.Store, s.Host, incidents); err != nil {
		s.Log.Error("cannot write down what happened", "error", err)
	}
}

// targets are what the monitor is to check. The lock is held.
func (s *Supervisor) targets() []health.Target {
	var targets []health.Target
	for name, started := range s.machine.Up() {
		if u := s.units[name]; u.Check != nil {
			targets = append(targets, health.Target{Name: u.Engine, Check: u.Check, Started: started})
		}
	}
	return targets
}

func (s *Supervisor) due() []Action {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.connected {
		return nil
	}
	return s.machine.Due(time.Now())
}

func (s *Supervisor) pause() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	pause := syncInterval
	if due, ok := s.machine.Next(); ok && s.connected {
		pause = min(pause, max(0, time.Until(due)))
	}
	return pause
}

// sync tells the machine what is meant to run, and looks at what it knows nothing of.
func (s *Supervisor) sync(ctx context.Context) {
	units, err := s.Units()
	if err != nil {
		s.Log.Error("cannot see what is meant to run", "error", err)
		return
	}
	s.mu.Lock()
	given, err := failures(s.Store, s.Host)
	if err != nil {
		s.mu.Unlock()
		s.Log.Error("cannot see what was given up", "error", err)
		return
	}
	var subjects []Subject
	s.units, s.byEngine = make(map[string]Unit, len(units)), make(map[string]string, len(units))
	var forgiven []string
	for _, u := range units {
		generation, failed := given[u.Name]
		u.Failed = failed && generation == u.Generation
		if failed && (u.Held || !u.Failed) {
			forgiven = append(forgiven, u.Name)
			u.Failed = false
		}
		u.Held = u.Held || s.booting[u.Name]
		s.units[u.Name], s.byEngine[u.Engine] = u, u.Name
		subjects = append(subjects, u.Subject)
	}
	s.machine.Sync(subjects)
	var unseen []Unit
	if s.connected {
		for _, name := range s.machine.Unseen() {
			unseen = append(unseen, s.units[name])
		}
	}
	targets := s.targets()
	s.mu.Unlock()
	s.Monitor.Set(targets)
	if err := forgive(s.Store, s.Host, forgiven); err != nil {
		s.Log.Error("cannot forget that containers were given up", "error", err)
	}
	for _, u := range unseen {
		s.look(ctx, u, time.Time{})
	}
}

// look asks the engine about a container and tells the machine. ended is when an event said that
// it ended, zero where none did.
func (s *Supervisor) look(ctx context.Context, u Unit, ended time.Time) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	asOf := ended
	if ended.IsZero() {
		asOf = time.Now()
	}
	c, err := s.Engine.Inspect(ctx, u.Engine)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		s.tell(func(now time.Time) { s.machine.Missing(now, u.Name) })
		return
	case err != nil:
		// The engine is away: all are looked at when it is back.
		s.Log.Debug("cannot look at a container", "container", u.Engine, "error", err)
		return
	}
	running := c.State == engine.Running || c.State == engine.Paused
	exit := Exit{Code: c.ExitCode, OOM: c.OOMKilled, Error: c.Error, Restarting: c.State == engine.Restarting}
	if !running || !ended.IsZero() {
		exit.Output = s.lastLines(ctx, u.Engine)
	}
	s.tell(func(now time.Time) {
		switch {
		case !running:
			s.machine.Ended(now, asOf, u.Name, exit)
		case !ended.IsZero():
			// It was started again before it could be looked at.
			exit.Restarting = true
			s.machine.Ended(now, asOf, u.Name, exit)
			s.machine.Running(now, u.Name, c.Started)
		default:
			s.machine.Running(now, u.Name, c.Started)
		}
	})
}

func (s *Supervisor) lastLines(ctx context.Context, container string) string {
	var lines []string
	// What cannot be read is not shown: that it ended is the message.
	_ = s.Engine.Logs(ctx, container, engine.LogOptions{Tail: outputLines}, func(l engine.LogLine) {
		text := l.Text
		if s.Hide != nil {
			text = s.Hide(text)
		}
		if len(text) > mostInLine {
			text = strings.ToValidUTF8(text[:mostInLine], "") + "…"
		}
		lines = append(lines, text)
	})
	return strings.Join(lines, "\n")
}

// follow follows the engine's events until ctx ends, over all of its restarts.
func (s *Supervisor) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.Engine.Events(ctx, map[string]string{tree.LabelHost: s.Host}, func(e engine.Event) { s.event(ctx, e) })
		if ctx.Err() != nil {
			return
		}
		s.mu.Lock()
		lost := s.connected
		s.connected = false
		s.mu.Unlock()
		if lost {
			s.Log.Warn("the container engine has gone: nothing counts as a failure until it is back", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(reconnectPause):
		}
	}
}

func (s *Supervisor) event(ctx context.Context, e engine.Event) {
	if e.Action == engine.EventConnected {
		s.reconnected(ctx)
		return
	}
	if e.Action != "die" && e.Action != "start" && e.Action != "destroy" && e.Action != "remove" {
		return
	}
	// Whether it is held must be known as of now: a change may have begun since the last look.
	s.sync(ctx)
	s.mu.Lock()
	u, ok := s.units[s.byEngine[e.Name]]
	s.mu.Unlock()
	if !ok || !e.Time.After(u.Worked) {
		return
	}
	switch e.Action {
	case "die":
		s.look(ctx, u, e.Time)
	default:
		s.look(ctx, u, time.Time{})
	}
}

// reconnected looks at everything anew: what happened while the engine was away is not known.
func (s *Supervisor) reconnected(ctx context.Context) {
	s.mu.Lock()
	s.connected = true
	units := make([]Unit, 0, len(s.units))
	for _, name := range tree.SortedKeys(s.units) {
		units = append(units, s.units[name])
	}
	s.mu.Unlock()
	for _, u := range units {
		s.look(ctx, u, time.Time{})
	}
	s.Kick()
}

// act does what the machine has decided.
func (s *Supervisor) act(ctx context.Context, a Action) {
	select {
	case s.actions <- struct{}{}:
		defer func() { <-s.actions }()
	case <-ctx.Done():
		return
	}
	var err error
	switch a.Verb {
	case Start:
		err = s.Actor.Bounce(ctx, a.Name, a.Generation, false)
	case Restart:
		err = s.Actor.Bounce(ctx, a.Name, a.Generation, true)
	case GiveUp:
		err = s.Actor.Abandon(ctx, a.Name, a.Generation)
	default:
		err = fmt.Errorf("cannot do %q", a.Verb)
	}
	if ctx.Err() != nil {
		return
	}
	o := Outcome{Err: err, Skipped: errors.Is(err, ErrHandsOff), Away: errors.Is(err, engine.ErrUnavailable)}
	if err == nil && a.Verb != GiveUp {
		s.mu.Lock()
		name := s.units[a.Name].Engine
		s.mu.Unlock()
		if c, err := s.Engine.Inspect(ctx, name); err == nil {
			o.Started = c.Started
		}
	}
	s.tell(func(now time.Time) { s.machine.Done(now, a, o) })
}
