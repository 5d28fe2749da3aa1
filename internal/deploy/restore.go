// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"fmt"

	"copse/internal/change"
	"copse/internal/plan"
	"copse/internal/store"
	"copse/internal/tree"
)

// begun are the first tasks of a container that is stopped before its component's data is put back.
type begun struct {
	lane            int
	create, stopped change.TaskID
}

// stopAll has all containers of a component stopped that a rollback replaces, once everything for their
// successors is ready: the data that is put back next is theirs. Jobs that come before them still find them.
func (b *builder) stopAll(p *plan.Plan, component string) {
	var creates []change.TaskID
	group := map[string]begun{}
	for i, s := range p.Steps {
		if s.Action != plan.Replace || s.Component != component {
			continue
		}
		b.lane = i + 1
		g := begun{lane: b.lane, create: b.create(s, b.declared(s))}
		group[s.Container] = g
		creates = append(creates, g.create)
	}
	for _, s := range p.Steps {
		g, grouped := group[s.Container]
		if !grouped || s.Action != plan.Replace {
			continue
		}
		b.lane = g.lane
		g.stopped = b.add(s, taskInterrupt, fmt.Sprintf("stop %s.%d", s.Container, s.From), append(b.lastOf(s.After), creates...),
			map[string]any{dataCreate: g.create, dataFrom: s.From, dataFirst: true})
		b.begun[s.Container] = g
	}
}

// stopped returns the tasks that have stopped the containers of a component for what is put back.
func (b *builder) stopped(component string) []change.TaskID {
	var tasks []change.TaskID
	for _, name := range tree.SortedKeys(b.begun) {
		if c := b.document.Container(name); c != nil && c.Component == component {
			tasks = append(tasks, b.begun[name].stopped)
		}
	}
	return tasks
}

// attachRewinds gives the runs that do not count any more to the task that records the restore.
func attachRewinds(spec *change.Spec, rewinds map[string][]plan.Rewind) {
	for i, t := range spec.Tasks {
		if t.Kind == taskCommit && len(rewinds[t.Subject]) > 0 {
			give(spec, i, dataRewinds, rewinds[t.Subject])
		}
	}
}

// rewind makes earlier runs of jobs their last success again, since the data is what they left.
func (d *Deployer) rewind(tx *store.Tx, rewinds []plan.Rewind) error {
	for _, r := range rewinds {
		if err := d.moveActive(tx, r.Job, r.From, r.To, tree.Removed); err != nil {
			return err
		}
	}
	return nil
}

// unwind takes back what rewind did.
func (d *Deployer) unwind(tx *store.Tx, rewinds []plan.Rewind) error {
	for _, r := range rewinds {
		if err := d.moveActive(tx, r.Job, r.To, r.From, tree.Superseded); err != nil {
			return err
		}
	}
	return nil
}

// removeRewound removes the containers of runs that do not count any more.
func (d *Deployer) removeRewound(ctx context.Context, t *change.Run) error {
	var rewinds []plan.Rewind
	if _, err := t.Get(dataRewinds, &rewinds); err != nil {
		return err
	}
	for _, r := range rewinds {
		name := tree.GenerationName(r.Job, r.From)
		if err := d.removeContainer(ctx, name); err != nil {
			return fmt.Errorf("cannot remove %s, whose work has been taken back: %w", name, err)
		}
		if err := d.Host.RemoveAll(d.generationDir(r.Job, r.From)); err != nil {
			return err
		}
	}
	return nil
}

// moveActive makes generation to the active one instead of from, which gets a state; 0 is none.
func (d *Deployer) moveActive(tx *store.Tx, name string, from, to int, state tree.GenerationState) error {
	set := func(number int, state tree.GenerationState) error {
		g, err := loadGeneration(tx, d.HostName, name, number)
		if err != nil || g == nil {
			return err
		}
		g.State = state
		return saveGeneration(tx, g)
	}
	if from != 0 {
		if err := set(from, state); err != nil {
			return err
		}
	}
	if to == 0 {
		return store.Delete(tx, activeBucket, containerKey(d.HostName, name))
	}
	if err := set(to, tree.Active); err != nil {
		return err
	}
	return store.Put(tx, activeBucket, containerKey(d.HostName, name), to)
}
