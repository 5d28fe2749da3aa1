// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import "copse/internal/tree"

// pins returns those that say something else than the cloud file, with what that says. One of a
// container that is not made here says nothing.
func (b *builder) pins() []tree.Pin {
	var pins []tree.Pin
	for _, c := range b.made {
		pin := b.pin(c.Name)
		if pin == nil {
			continue
		}
		kept := *pin
		kept.Declared = orDefault(b.input.cloud.Releases[c.Component], b.input.cloud.Release)
		if kept.Generation != 0 || kept.Release != kept.Declared {
			pins = append(pins, kept)
		}
	}
	return pins
}
