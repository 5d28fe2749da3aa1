// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"copse/internal/change"
	"copse/internal/plan"
	"copse/internal/store"
	"copse/internal/tree"
)

// pinChange is what becomes of the pin of one container; nil is none.
type pinChange struct {
	Container string    `json:"container"`
	Pin       *tree.Pin `json:"pin,omitempty"`
}

// Pins returns the pins of all containers of the host, by name.
func (d *Deployer) Pins() ([]tree.Pin, error) {
	var pins []tree.Pin
	err := d.Store.View(func(tx *store.Tx) (err error) {
		pins, err = allPins(tx, d.HostName)
		return err
	})
	return pins, err
}

// allPins reads the pins of a host in the order of the containers' names; none is not nil.
func allPins(tx *store.Tx, host string) ([]tree.Pin, error) {
	pins := []tree.Pin{}
	err := store.EachPrefix(tx, pinBucket, host+"/", func(_ string, p tree.Pin) error {
		pins = append(pins, p)
		return nil
	})
	return pins, err
}

func pinsByName(tx *store.Tx, host string) (map[string]tree.Pin, error) {
	pins, err := allPins(tx, host)
	byName := make(map[string]tree.Pin, len(pins))
	for _, p := range pins {
		byName[p.Container] = p
	}
	return byName, err
}

// loadPin reads the pin of one container; nil where there is none.
func loadPin(tx *store.Tx, host, name string) (*tree.Pin, error) {
	var p tree.Pin
	found, err := store.Get(tx, pinBucket, containerKey(host, name), &p)
	if err != nil || !found {
		return nil, err
	}
	return &p, nil
}

func savePin(tx *store.Tx, host string, c pinChange) error {
	if c.Pin == nil {
		return store.Delete(tx, pinBucket, containerKey(host, c.Container))
	}
	return store.Put(tx, pinBucket, containerKey(host, c.Container), c.Pin)
}

// pinned returns the document to plan with, and completes the state for it: a document that is declared
// anew must have been made with the pins in force, else it would take back what was done since.
func (d *Deployer) pinned(ctx context.Context, r Request, doc *tree.Document, state *plan.State) (*tree.Document, error) {
	switch {
	case r.Kind == plan.Rollback && r.Document != nil:
		return nil, fmt.Errorf("%w: a rollback goes back to what was, and takes no document", ErrInvalid)
	case r.Document == nil:
		current := *doc
		current.Pins = nil
		for _, name := range tree.SortedKeys(state.Pins) {
			current.Pins = append(current.Pins, state.Pins[name])
		}
		doc = &current
	case r.Kind == plan.Up || r.Kind == plan.Upgrade:
		if err := d.checkPins(r, doc, state.Pins); err != nil {
			return nil, err
		}
	}
	var images []string
	for name, kept := range state.Kept {
		for _, g := range kept {
			if r.Kind == plan.Rollback || state.Pins[name].Generation != 0 {
				images = append(images, g.Container.Spec.Image)
			}
		}
	}
	for name := range state.Pins {
		if active := state.Active[name]; active != nil {
			images = append(images, active.Container.Spec.Image)
		}
	}
	slices.Sort(images)
	for _, image := range slices.Compact(images) {
		if err := d.lookUp(ctx, state, image); err != nil {
			return nil, err
		}
	}
	return doc, nil
}

// checkPins refuses a document whose pins are not those in force. What the request itself pins or
// unpins is its own affair, and a pin that says what the document says need not be in it.
func (d *Deployer) checkPins(r Request, doc *tree.Document, inForce map[string]tree.Pin) error {
	selected, err := plan.Selected(r.Kind, doc, r.Options.Names)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	carried := map[string]tree.Pin{}
	for _, p := range doc.Pins {
		if p.Host == d.HostName {
			carried[p.Container] = p
		}
	}
	names := slices.Collect(maps.Keys(carried))
	names = slices.AppendSeq(names, maps.Keys(inForce))
	slices.Sort(names)
	var differ []string
	for _, name := range slices.Compact(names) {
		c := doc.Container(name)
		if c == nil || selected[name] && (r.Kind == plan.Upgrade || r.Options.Unpin) {
			continue
		}
		has, carries := carried[name]
		holds, held := inForce[name]
		switch {
		case carries && held && has.Release == holds.Release && has.Generation == holds.Generation:
		case !carries && held && holds.Generation == 0 && holds.Release == c.Release:
		default:
			differ = append(differ, name)
		}
	}
	if len(differ) > 0 {
		return fmt.Errorf("%w: %s was upgraded, rolled back or released since: run the command again", ErrStale, strings.Join(differ, ", "))
	}
	return nil
}

// attachPins gives each change of a pin to the task that commits the container, so that what is undone
// leaves none. The pin of a job that does not run goes with its component's containers. It returns the
// changes for which there is no such task.
func attachPins(spec *change.Spec, doc *tree.Document, pins map[string]*tree.Pin) map[string]*tree.Pin {
	commits := map[string]int{} // index of the task, by container
	for i, t := range spec.Tasks {
		if t.Kind == taskCommit {
			commits[t.Subject] = i
		}
	}
	attached := map[int][]pinChange{}
	left := map[string]*tree.Pin{}
	for _, name := range tree.SortedKeys(pins) {
		c := pinChange{Container: name, Pin: pins[name]}
		if i, found := commits[name]; found {
			attached[i] = append(attached[i], c)
			continue
		}
		found := false
		if job := doc.Container(name); job != nil && job.Job != nil {
			for _, other := range doc.Containers {
				if i, committed := commits[other.Name]; committed && other.Job == nil && other.Component == job.Component {
					attached[i] = append(attached[i], c)
					found = true
				}
			}
		}
		if !found {
			left[name] = pins[name]
		}
	}
	for i, changes := range attached {
		give(spec, i, dataPins, changes)
	}
	return left
}

// give adds to the data of a task, which may share it with others.
func give(spec *change.Spec, i int, key string, value any) {
	data := maps.Clone(spec.Tasks[i].Data)
	data[key] = value
	spec.Tasks[i].Data = data
}

// writePins changes pins for which no task is run, on behalf of a change. Where there is none, since
// nothing is to be done, the one is named that made what is there.
func (d *Deployer) writePins(tx *store.Tx, pins map[string]*tree.Pin, id int, active map[string]*tree.Generation) error {
	if len(pins) > 0 && id == 0 {
		if _, err := tx.BumpRevision(); err != nil {
			return err
		}
	}
	for _, name := range tree.SortedKeys(pins) {
		c := pinChange{Container: name, Pin: pins[name]}
		by := id
		if by == 0 && active[name] != nil {
			by = active[name].Change
		}
		if err := savePin(tx, d.HostName, c.by(by)); err != nil {
			return err
		}
	}
	return nil
}

// by fills in which change makes a pin that does not say.
func (c pinChange) by(change int) pinChange {
	if c.Pin != nil && c.Pin.Change == 0 {
		pin := *c.Pin
		pin.Change = change
		c.Pin = &pin
	}
	return c
}

// rememberPins returns what a commit is to make of pins, and keeps for its undo what they are.
func (d *Deployer) rememberPins(t *change.Run) ([]pinChange, error) {
	var changes, former []pinChange
	if found, err := t.Get(dataPins, &changes); err != nil || !found {
		return nil, err
	}
	err := d.Store.View(func(tx *store.Tx) error {
		for _, c := range changes {
			pin, err := loadPin(tx, d.HostName, c.Container)
			if err != nil {
				return err
			}
			former = append(former, pinChange{Container: c.Container, Pin: pin})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, c := range changes {
		changes[i] = c.by(t.Task().Change)
	}
	return changes, t.Set(dataFormerPins, former)
}

func (d *Deployer) savePins(tx *store.Tx, changes []pinChange) error {
	for _, c := range changes {
		if err := savePin(tx, d.HostName, c); err != nil {
			return err
		}
	}
	return nil
}
