// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package plan compares what is declared with what is observed and says, without doing
// anything, what a change would do. It is pure: the same input gives the same plan, byte for
// byte, and `copse plan` is exactly what `copse up` then does.
package plan

import (
	"fmt"
	"strings"

	"copse/internal/tree"
)

// Kind is the kind of change that a plan is for; it is the command's name.
type Kind string

// The kinds of change.
const (
	Up      Kind = "up"
	Start   Kind = "start"
	Stop    Kind = "stop"
	Restart Kind = "restart"
	Down    Kind = "down"
	// Upgrade is Up with the pins of the request's document.
	Upgrade  Kind = "upgrade"
	Rollback Kind = "rollback"
	// RunNow runs jobs at an operator's word, Scheduled those that are due.
	RunNow    Kind = "run"
	Scheduled Kind = "scheduled"
)

// Action is what a step does to one container.
type Action string

// The actions of steps.
const (
	// Create makes a first generation.
	Create Action = "create"
	// Replace makes a new generation in place of one that is there.
	Replace Action = "replace"
	// Recreate makes the present generation again: its container has gone from the engine.
	Recreate Action = "recreate"
	// StartOnly starts the present generation.
	StartOnly Action = "start"
	// StopOnly stops the present generation.
	StopOnly Action = "stop"
	// RestartOnly stops and starts the present generation.
	RestartOnly Action = "restart"
	// Run runs a job.
	Run Action = "run"
	// Remove stops and removes a container.
	Remove Action = "remove"
	// RemoveVolume removes a volume and the data in it.
	RemoveVolume Action = "remove-volume"
	// PrepareHost makes true of the host what must be before containers start.
	PrepareHost Action = "prepare-host"
	// RemoveStray removes a container that carries the cloud's labels and belongs to nothing in use.
	RemoveStray Action = "remove-stray"
)

// Step is one thing that a change does.
type Step struct {
	Host      string `json:"host"`
	Set       string `json:"set,omitempty"`
	Container string `json:"container"` // the volume's name for remove-volume, the host's for prepare-host
	Component string `json:"component,omitempty"`
	Action    Action `json:"action"`
	// Causes say in words why ("image changed", "environment NOVA_WORKERS 2 → 4").
	Causes []string `json:"causes"`
	// Drift is set where the engine differs from what Copse last made, rather than the
	// declaration from what it was.
	Drift bool `json:"drift,omitempty"`
	// Impact says what a user of the service will notice.
	Impact   string     `json:"impact,omitempty"`
	Strategy tree.Order `json:"strategy,omitempty"`
	// From is the generation there is, 0 for none.
	From int `json:"from,omitempty"`
	// To is the generation whose content is made again in a rollback, or by a pin; 0 for none.
	To      int    `json:"to,omitempty"`
	Release string `json:"release,omitempty"`
	Image   string `json:"image,omitempty"`
	// EngineID is the engine's container that a remove-stray step is about.
	EngineID string `json:"engine_id,omitempty"`
	// Sets are those that a prepare-host step is for.
	Sets []string `json:"sets,omitempty"`
	// After names the containers whose steps come first.
	After []string `json:"after,omitempty"`
	// Phase is the job's.
	Phase tree.Phase `json:"phase,omitempty"`
	// Rollback is the class of the container, where its release changes.
	Rollback tree.RollbackClass `json:"rollback,omitempty"`
	// NoReturn marks the step after which the release before cannot be gone back to without loss.
	NoReturn bool `json:"no_return,omitempty"`
	// Window is what to expect, from what was measured the last times; nil: nothing to go by.
	Window *tree.Window `json:"window,omitempty"`
	// Dangerous steps lose data or end virtual machines; they are asked about.
	Dangerous bool `json:"dangerous,omitempty"`
}

// Plan is what a change would do, in an order in which it can be done.
type Plan struct {
	Kind Kind `json:"kind"`
	// Revision is the state of the store that the plan was made from; a change made from a
	// plan is refused when the store has moved on.
	Revision uint64 `json:"revision"`
	Steps    []Step `json:"steps"`
	// Unchanged is the number of containers that need nothing.
	Unchanged int `json:"unchanged"`
	// Build names the images that are not there yet.
	Build []string `json:"build,omitempty"`
	// Notes say what the operator should know: disagreements, what will happen to virtual machines.
	Notes []string `json:"notes,omitempty"`
	// Findings are what preflight has found on the host; Decide leaves them out.
	Findings []Finding `json:"findings,omitempty"`
}

// Empty reports whether there is nothing to do.
func (p *Plan) Empty() bool { return len(p.Steps) == 0 }

// String renders the plan as deterministic text, one step a line; it is the golden value of tests.
func (p *Plan) String() string {
	var b strings.Builder
	for _, image := range p.Build {
		fmt.Fprintf(&b, "build %s\n", image)
	}
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "%s %s", s.Action, s.Container)
		if s.From != 0 {
			fmt.Fprintf(&b, ".%d", s.From)
		}
		if s.Strategy != "" {
			fmt.Fprintf(&b, " [%s]", s.Strategy)
		}
		if s.To != 0 {
			fmt.Fprintf(&b, " of generation %d", s.To)
		}
		if s.NoReturn {
			b.WriteString(" (no return)")
		}
		if s.Drift {
			b.WriteString(" (drift)")
		}
		if len(s.Causes) > 0 {
			fmt.Fprintf(&b, ": %s", strings.Join(s.Causes, "; "))
		}
		if len(s.After) > 0 {
			fmt.Fprintf(&b, " after %s", strings.Join(s.After, ", "))
		}
		b.WriteByte('\n')
	}
	for _, note := range p.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	fmt.Fprintf(&b, "%d unchanged\n", p.Unchanged)
	return b.String()
}
