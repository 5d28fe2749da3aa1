// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"copse/internal/engine"
	"copse/internal/tree"
)

// The pause before a restart by policy doubles from the first to the last, and begins anew
// after a run that lasted: as in the Docker Engine.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = time.Minute
	lastingRun = 10 * time.Second
)

// Exit statuses of a process that a signal ended: 128 and the signal's number.
const killedCode = 128 + 9

// containerState is a container.
//
//	created ──Start──→ running ──exit──→ exited ──Start──→ running
//	                      │ exit, policy             ↑
//	                      └────→ restarting ─due─→ running; Stop → exited
type containerState struct {
	engine.Container
	spec    tree.Spec
	program Program
	// stopped: by a caller, so that the policy does not bring it back.
	stopped bool
	// started: at least once; the engine brings back no other at its own start.
	started bool
	pause   time.Duration
	// due is when the process writes a line or exits by itself (running), or comes back
	// (restarting); zero: never.
	due time.Time
	// unwritten are the lines that the process has yet to write.
	unwritten []Line
	exits     int // how often a process of it ended
	logs      []engine.LogLine
	files     map[string]File
}

// running reports whether there is a process.
func (c *containerState) running() bool {
	return c.State == engine.Running || c.State == engine.Paused
}

// active reports what the engine treats as running.
func (c *containerState) active() bool { return c.running() || c.State == engine.Restarting }

// sorted returns the containers by name.
func (e *Engine) sorted() []*containerState {
	all := slices.Collect(maps.Values(e.containers))
	slices.SortFunc(all, func(a, b *containerState) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// find returns a container by name or id.
func (e *Engine) find(id string) (*containerState, error) {
	if c, found := e.containers[id]; found {
		return c, nil
	}
	for _, c := range e.containers {
		if c.Name == id {
			return c, nil
		}
	}
	return nil, fmt.Errorf("no such container: %w", engine.ErrNotFound)
}

// nameOf is the name of the container with that name or id, or id itself.
func (e *Engine) nameOf(id string) string {
	e.lock()
	defer e.mu.Unlock()
	if c, err := e.find(id); err == nil {
		return c.Name
	}
	return id
}

// Tick does what is due: exits of programs and restarts by policy. A simulator calls it after
// it has moved its clock; each operation does it as well.
func (e *Engine) Tick() {
	e.lock()
	defer e.mu.Unlock()
	if !e.down {
		e.tick()
	}
}

// NextDue is when something is due next; ok is false when nothing is.
func (e *Engine) NextDue() (due time.Time, ok bool) {
	e.lock()
	defer e.mu.Unlock()
	due = e.nextDue()
	return due, !due.IsZero()
}

func (e *Engine) nextDue() time.Time {
	var next time.Time
	for _, c := range e.containers {
		if !c.due.IsZero() && (next.IsZero() || c.due.Before(next)) {
			next = c.due
		}
	}
	return next
}

// plan sets when a running process does something next.
func (c *containerState) plan() {
	c.due = time.Time{}
	if len(c.unwritten) > 0 {
		c.due = c.Started.Add(c.unwritten[0].After)
	} else if c.program.Exit != nil {
		c.due = c.Started.Add(c.program.Exit.After)
	}
}

// tick does what is due, the earliest first. It ends, since a restart is due later than the
// exit that it follows.
func (e *Engine) tick() {
	now := e.now()
	for {
		var first *containerState
		for _, c := range e.sorted() {
			if !c.due.IsZero() && !c.due.After(now) && (first == nil || c.due.Before(first.due)) {
				first = c
			}
		}
		if first == nil {
			return
		}
		at := first.due
		first.due = time.Time{}
		if first.State == engine.Restarting {
			first.RestartCount++
			// A start that fails has set the state that it leaves behind.
			_ = e.launch(first, at)
			continue
		}
		if len(first.unwritten) > 0 {
			line := first.unwritten[0]
			first.unwritten = first.unwritten[1:]
			e.write(first, line.Stream, line.Text, at)
			first.plan()
			e.notify()
			continue
		}
		exit := *first.program.Exit
		first.OOMKilled = exit.OOM
		if exit.OOM {
			e.publish(first, "oom", at, 0)
		}
		e.ended(first, exit.Code, at)
	}
}

// launch starts a container's process.
func (e *Engine) launch(c *containerState, at time.Time) error {
	c.program = Program{}
	if e.Program != nil {
		c.program = e.Program(c.Name, c.spec)
	}
	c.OOMKilled, c.Error = false, ""
	if c.program.StartError != "" {
		c.Error = c.program.StartError
		c.ExitCode = 128
		if c.State != engine.Created {
			c.State = engine.Exited
		}
		e.notify()
		return errors.New(c.Error)
	}
	e.count++
	c.State, c.PID, c.Started, c.started, c.stopped = engine.Running, 1000+e.count, at, true, false
	c.ExitCode = 0
	e.publish(c, "start", at, 0)
	e.checkVolumes(c)
	if taken := e.takenPort(c); taken != "" {
		c.program.Lines = []Line{{Stream: "stderr", Text: "cannot listen on port " + taken + ": address already in use"}}
		c.program.Exit = &Exit{Code: 1}
	}
	c.unwritten = c.program.Lines
	c.plan()
	e.notify()
	return nil
}

// ended notes that a container's process is gone, and plans its return where the policy says so.
func (e *Engine) ended(c *containerState, code int, at time.Time) {
	ran := at.Sub(c.Started)
	c.State, c.PID, c.ExitCode, c.Finished, c.due = engine.Exited, 0, code, at, time.Time{}
	c.unwritten = nil
	c.exits++
	e.publish(c, "die", at, code)
	if !c.stopped && comesBack(c.RestartPolicy, code, c.RestartCount) {
		switch {
		case c.pause == 0 || ran >= lastingRun:
			c.pause = firstPause
		default:
			c.pause = min(2*c.pause, lastPause)
		}
		c.State, c.due = engine.Restarting, at.Add(c.pause)
	}
	e.notify()
}

// comesBack reports whether a policy restarts a container whose process ended by itself.
func comesBack(policy string, code, restarts int) bool {
	name, count, counted := strings.Cut(policy, ":")
	switch name {
	case "always", "unless-stopped":
		return true
	case "on-failure":
		limit, _ := strconv.Atoi(count) // checked when it was set
		return code != 0 && (!counted || restarts < limit)
	}
	return false
}

// Exit ends the process of a running container, as a crash would.
func (e *Engine) Exit(id string, code int) error {
	return e.crash(id, code, false)
}

// RunOutOfMemory ends the process of a running container as the kernel would.
func (e *Engine) RunOutOfMemory(id string) error {
	return e.crash(id, killedCode, true)
}

func (e *Engine) crash(id string, code int, oom bool) error {
	e.lock()
	defer e.mu.Unlock()
	c, err := e.find(id)
	if err != nil {
		return err
	}
	if !c.running() {
		return fmt.Errorf("container %s does not run: %w", c.Name, engine.ErrConflict)
	}
	now := e.now()
	c.OOMKilled = oom
	if oom {
		e.publish(c, "oom", now, 0)
	}
	e.ended(c, code, now)
	return nil
}

// Down takes the engine away: calls and streams end with engine.ErrUnavailable until Boot.
// Processes go on; what becomes of them is decided by Boot.
func (e *Engine) Down() {
	e.lock()
	defer e.mu.Unlock()
	e.down = true
	for s := range e.streams {
		s.lost = true
	}
	e.notify()
}

// Boot brings the engine back after Down. Without LiveRestore all processes have ended. What
// has the policy "always" is started, whoever stopped it; with "unless-stopped", unless a
// caller stopped it; with "on-failure", if it failed.
func (e *Engine) Boot() { e.boot(e.Description.LiveRestore) }

// Restart is Down and Boot.
func (e *Engine) Restart() {
	e.Down()
	e.Boot()
}

// Reboot restarts the whole host: no process survives it.
func (e *Engine) Reboot() {
	e.Down()
	e.boot(false)
}

func (e *Engine) boot(survive bool) {
	e.lock()
	defer e.mu.Unlock()
	now := e.now()
	e.down = false
	for _, c := range e.sorted() {
		stopped := c.stopped
		if c.running() && !survive {
			c.stopped = true // its return is decided below
			e.ended(c, killedCode, now)
			c.stopped = stopped
		}
		if c.running() || !c.started {
			continue
		}
		c.State, c.due = engine.Exited, time.Time{} // it may have waited to be restarted
		policy, _, _ := strings.Cut(c.RestartPolicy, ":")
		back := policy == "always" || policy == "unless-stopped" && !stopped ||
			policy == "on-failure" && !stopped && c.ExitCode != 0
		if back {
			c.pause = 0
			// A start that fails has set the state that it leaves behind.
			_ = e.launch(c, now)
		}
	}
	e.notify()
}
