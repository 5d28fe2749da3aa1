// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"copse/internal/store"
	"copse/internal/tree"
)

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
