// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package initproc

import "copse/internal/procfs"

// descendants lists the processes below one, those of a table that cannot be
// read being nobody's. Children come after their parents.
func descendants(ancestor int) []int {
	processes, err := procfs.Processes()
	if err != nil {
		return nil
	}
	children := map[int][]int{}
	for _, p := range processes {
		children[p.PPID] = append(children[p.PPID], p.PID)
	}
	found := []int{ancestor}
	for next := 0; next < len(found); next++ {
		found = append(found, children[found[next]]...)
	}
	return found[1:]
}
