// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"slices"

	"copse/internal/tree"
)

// withoutUpgrades returns the document without the jobs that run in upgrades and rollbacks alone:
// Compose, which knows neither, would run them whenever it brings the cloud up.
func withoutUpgrades(doc *tree.Document) *tree.Document {
	left := *doc
	left.Containers = nil
	out := map[string]bool{}
	for i := range doc.Containers {
		c := doc.Containers[i]
		if c.Job != nil && slices.Contains([]tree.Phase{tree.Dump, tree.Rehearse, tree.Revert, tree.Restore}, c.Job.Phase) {
			out[c.Name] = true
			continue
		}
		left.Containers = append(left.Containers, c)
	}
	for i := range left.Containers {
		c := &left.Containers[i]
		c.Depends = slices.DeleteFunc(slices.Clone(c.Depends), func(d tree.Dependency) bool { return out[d.Name] })
	}
	return &left
}
