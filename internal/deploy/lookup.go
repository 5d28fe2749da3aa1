// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"

	"copse/internal/change"
	"copse/internal/store"
	"copse/internal/tree"
)

// generation returns the generation that a task is about: the one that its lane's create task
// made, else the one it was told.
func (d *Deployer) generation(t *change.Run) (*tree.Generation, error) {
	number := 0
	var create change.TaskID
	made, err := t.Get(dataCreate, &create)
	if err != nil {
		return nil, err
	}
	if made {
		_, err = t.Of(create, dataGeneration, &number)
	} else {
		_, err = t.Get(dataFrom, &number)
	}
	if err != nil {
		return nil, err
	}
	return d.record(t, number)
}

// previous returns the generation that is replaced, nil for none or one that is not kept any more.
func (d *Deployer) previous(t *change.Run) (*tree.Generation, error) {
	var number int
	if _, err := t.Get(dataFrom, &number); err != nil || number == 0 {
		return nil, err
	}
	return d.load(t.Task().Subject, number)
}

// load reads a generation of a container; nil where it is not kept.
func (d *Deployer) load(name string, number int) (g *tree.Generation, err error) {
	err = d.Store.View(func(tx *store.Tx) (err error) {
		g, err = loadGeneration(tx, d.HostName, name, number)
		return err
	})
	return g, err
}

// present returns the generation that a task was told, nil where it is not the active one any more.
func (d *Deployer) present(t *change.Run) (*tree.Generation, error) {
	g, err := d.previous(t)
	if err != nil || g == nil {
		return nil, err
	}
	if active, err := d.isActive(g); err != nil || !active {
		return nil, err
	}
	return g, nil
}

// isActive reports whether a generation is still the one that is meant to be there. What was stuck may be
// undone when other changes have gone on from it long since.
func (d *Deployer) isActive(g *tree.Generation) (bool, error) {
	active := false
	err := d.Store.View(func(tx *store.Tx) error {
		var number int
		_, err := store.Get(tx, activeBucket, containerKey(d.HostName, g.Container.Name), &number)
		active = number == g.Number
		return err
	})
	return active, err
}

// record returns a generation of a task's container that must be there.
func (d *Deployer) record(t *change.Run, number int) (*tree.Generation, error) {
	name := t.Task().Subject
	g, err := d.load(name, number)
	if err == nil && g == nil {
		err = fmt.Errorf("cannot find generation %d of %s in the store", number, name)
	}
	return g, err
}

// update changes a generation's record in a transaction.
func (d *Deployer) update(g *tree.Generation, modify func(*tree.Generation)) error {
	return d.Store.Update(func(tx *store.Tx) error {
		now, err := loadGeneration(tx, d.HostName, g.Container.Name, g.Number)
		if err != nil || now == nil {
			return err
		}
		modify(now)
		return saveGeneration(tx, now)
	})
}
