// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"encoding/json"
	"maps"
	"regexp"
	"slices"

	"copse/internal/change"
	"copse/internal/engine"
	"copse/internal/plan"
	"copse/internal/tree"
)

// snapshot is what the store says has been acknowledged: the active generations and the pins.
type snapshot struct {
	active map[string]*tree.Generation // no jobs
	pins   map[string]tree.Pin
}

func (s *simulation) snapshot() snapshot {
	s.w.t.Helper()
	l := s.w.begin(0)
	defer l.end()
	active, err := l.deployer.Active()
	if err != nil {
		s.w.t.Fatal(err)
	}
	pins, err := l.deployer.Pins()
	if err != nil {
		s.w.t.Fatal(err)
	}
	maps.DeleteFunc(active, func(_ string, g *tree.Generation) bool { return g.Container.Job != nil })
	taken := snapshot{active: active, pins: map[string]tree.Pin{}}
	for _, p := range pins {
		taken.pins[p.Container] = p
	}
	return taken
}

// checkRound holds what must be true after changes have ended, however they did.
func (s *simulation) checkRound(before snapshot, changes map[int]asked, ended map[int]*change.Change) {
	after := s.snapshot()
	s.checkAcknowledged(before, after, changes, ended)
	s.checkServing(after, ended)
	if v := s.w.engine.Violations(); len(v) > 0 {
		s.w.t.Errorf("violation: %v", v)
	}
	if held := s.w.router.heldNow(); len(held) > 0 && len(s.stuck) == 0 {
		s.w.t.Errorf("requests for %v are held after all changes have ended", held)
	}
	for id, r := range changes {
		done := ended[id].Status() == change.Done
		switch {
		case done && r.whole != nil && len(changes) == 1:
			s.applied = r.whole
		case done && r.Kind == plan.Rollback:
			// What was rolled back is held, so what was applied leaves nothing to do all the same.
		default:
			s.applied = nil
		}
	}
	if len(changes) > 0 && s.applied != nil {
		s.checkNothingLeft()
	}
	if s.w.t.Failed() {
		s.tell(ended)
	}
}

// tell shows how changes went, after a violation.
func (s *simulation) tell(ended map[int]*change.Change) {
	for id, c := range ended {
		s.w.t.Logf("change %d: %s: %s: %v", id, c.Summary, c.Status(), c.Err())
		for _, t := range c.Tasks {
			s.w.t.Logf("  %d %s: %s, %d attempts, waited for %v: %v", t.ID, t.Summary, t.Status, t.Attempts, t.WaitFor, t.Log)
		}
	}
	for _, call := range s.w.engine.Journal() {
		s.w.t.Logf("  %s done %t err %v", call, call.Done, call.Err)
	}
}

// checkAcknowledged: each commit that a change says is done is there, with its pin, and nothing else has
// become of what was there before.
func (s *simulation) checkAcknowledged(before, after snapshot, changes map[int]asked, ended map[int]*change.Change) {
	active := map[string]int{}
	for name, g := range before.active {
		active[name] = g.Number
	}
	pins, unsure := maps.Clone(before.pins), map[string]bool{}
	touched := map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(ended)) {
		c := ended[id]
		for _, t := range c.Tasks {
			switch {
			case t.Status == change.Stuck:
				unsure[t.Subject] = true
			case t.Kind == taskRemove && t.Status == change.Done:
				delete(active, t.Subject)
			case t.Kind == taskRemove && t.Attempts > 0:
				unsure[t.Subject] = true // what is removed cannot be brought back, only made again by the next up
			case t.Kind == taskCommit:
				touched[t.Subject] = true
				if t.Status != change.Done {
					continue
				}
				var create change.TaskID
				var number int
				decode(s, t.Data[dataCreate], &create)
				decode(s, c.Task(create).Data[dataGeneration], &number)
				if _, job := before.active[t.Subject]; job || phases(s.class).Container(t.Subject).Job == nil {
					active[t.Subject] = number
				}
				var changed []pinChange
				decode(s, t.Data[dataPins], &changed)
				for _, p := range changed {
					if delete(pins, p.Container); p.Pin != nil {
						pins[p.Container] = *p.by(c.ID).Pin
					}
				}
			}
		}
	}
	for _, c := range phases(s.class).Containers {
		if c.Job != nil || unsure[c.Name] {
			continue
		}
		number := 0
		if g := after.active[c.Name]; g != nil {
			number = g.Number
		}
		if number != active[c.Name] {
			s.w.t.Errorf("%s is at generation %d, and %d was acknowledged", c.Name, number, active[c.Name])
		}
		about := 0 // a second change that names it may have changed its pin without a step
		for _, r := range changes {
			if s.selected(r.Kind, &variant{class: s.class}, r.Options.Names)[c.Name] {
				about++
			}
		}
		if touched[c.Name] && about == 1 && after.pins[c.Name] != pins[c.Name] {
			s.w.t.Errorf("%s has the pin %+v, and %+v was acknowledged", c.Name, after.pins[c.Name], pins[c.Name])
		}
	}
}

func decode(s *simulation, raw json.RawMessage, v any) {
	if raw == nil {
		return
	}
	if err := json.Unmarshal(raw, v); err != nil {
		s.w.t.Fatal(err)
	}
}

// named finds a container's own name in a text, and not in that of another: api is not api-restore.
func named(name string) *regexp.Regexp {
	return regexp.MustCompile(`(^|[^a-z0-9-])` + name + `($|[^a-z0-9-])`)
}

// checkServing: of each container that is meant to be there exactly the active generation runs, or a
// change has said why it does not.
func (s *simulation) checkServing(after snapshot, ended map[int]*change.Change) {
	for _, c := range ended {
		if err := c.Err(); err != nil {
			for _, container := range phases(s.class).Containers {
				if named(container.Name).MatchString(err.Error()) {
					s.excused[container.Name] = err.Error()
					// What could not be taken back is so until it is tried again.
					s.stuck[container.Name] = s.stuck[container.Name] || c.Status() == change.Stuck
				}
			}
		}
	}
	running := map[string][]string{}
	containers, err := s.w.engine.List(context.Background(), map[string]string{tree.LabelHost: testHost})
	if err != nil {
		s.w.t.Fatal(err)
	}
	for _, c := range containers {
		if c.State == engine.Running || c.State == engine.Restarting {
			running[c.Labels[tree.LabelContainer]] = append(running[c.Labels[tree.LabelContainer]], c.Name)
		}
	}
	routes := map[string]int{} // the generation that a front end's requests go to
	for _, r := range s.w.router.table() {
		for _, slot := range r.Slots {
			if slot.State == slotReady {
				routes[r.Frontend.Name] = slot.Generation
			}
		}
	}
	for _, name := range tree.SortedKeys(after.active) {
		g := after.active[name]
		if g.StoppedBy != 0 {
			continue
		}
		if f := g.Container.Frontend; f != nil && routes[f.Name] != g.Number && s.excused[name] == "" {
			s.w.t.Errorf("requests for %s go to generation %d, and the active one is %d; no change says why", name, routes[f.Name], g.Number)
		}
		runs := running[name]
		switch {
		case len(runs) == 1 && runs[0] == g.Name():
			if !s.stuck[name] {
				delete(s.excused, name)
			}
		case s.excused[name] == "":
			s.w.t.Errorf("of %s the active generation is %s and %v run; no change says why", name, g.Name(), runs)
		}
	}
}

// checkNothingLeft: after a change of the whole cloud, and rollbacks since, nothing of what is declared is
// left to do. What the engine has lost meanwhile is drift, which the plan says.
func (s *simulation) checkNothingLeft() {
	p := s.w.plan(up(s.applied.document(s.w.pins())))
	for _, step := range p.Steps {
		// A contract that waited at the newer release is due at the older one, if it was declared anew.
		if !step.Drift && step.Phase != tree.Contract {
			s.w.t.Errorf("after a change of the whole cloud that is done, there is left:\n%s", p)
			return
		}
	}
}
