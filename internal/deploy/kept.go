// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"slices"

	"copse/internal/store"
	"copse/internal/tree"
)

// keptGenerations is how many superseded generations of a container or job are kept to go back to,
// besides those that a pin names; as many that failed or were removed are kept for the history.
const keptGenerations = 3

// allKept reads the generations of a host that can be gone back to, oldest first, by container name.
func allKept(tx *store.Tx, host string) (map[string][]*tree.Generation, error) {
	all, err := allGenerations(tx, host)
	if err != nil {
		return nil, err
	}
	kept := map[string][]*tree.Generation{}
	for i := range all {
		if g := &all[i]; g.State == tree.Superseded && !g.Activated.IsZero() {
			kept[g.Container.Name] = append(kept[g.Container.Name], g)
		}
	}
	return kept, nil
}

// forget drops the records of a container's generations beyond those that are kept. What failed never
// pushes out something to go back to.
func forget(tx *store.Tx, host, name string) error {
	pin, err := loadPin(tx, host, name)
	if err != nil {
		return err
	}
	var stable, history []int
	err = store.EachPrefix(tx, generationBucket, containerKey(host, name)+"/", func(_ string, g tree.Generation) error {
		switch g.State {
		case tree.Superseded:
			if pin == nil || pin.Generation != g.Number {
				stable = append(stable, g.Number)
			}
		case tree.Failed, tree.Removed:
			history = append(history, g.Number)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, numbers := range [][]int{stable, history} {
		slices.Sort(numbers)
		for len(numbers) > keptGenerations {
			if err := store.Delete(tx, generationBucket, generationKey(host, name, numbers[0])); err != nil {
				return err
			}
			numbers = numbers[1:]
		}
	}
	return nil
}
