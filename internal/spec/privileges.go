// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"slices"
	"strings"

	"copse/internal/nearest"
	"copse/internal/tree"
)

// checkPrivileges holds the reasons against the privileges: each has one, and none is left over.
func checkPrivileges(d *decoder, c *madeContainer, at []string) {
	here := append(slices.Clone(at), extension, "privileges")
	names := c.Spec.Declared()
	for _, name := range names {
		if strings.TrimSpace(c.Privileges[name]) == "" {
			d.fault(here, "no reason is given for %q; add a line `%s: why it is needed`, or take the privilege away", name, name)
		}
	}
	for _, name := range tree.SortedKeys(c.Privileges) {
		if !slices.Contains(names, name) {
			d.fault(append(slices.Clone(here), name), "the container has no such privilege%s", nearest.Hint(name, names))
		}
	}
}

// privileges fills values into the names of privileges, which Compose leaves alone since they are keys.
func (b *builder) privileges(d *decoder, reasons map[string]string, at []string) map[string]string {
	if len(reasons) == 0 {
		return nil
	}
	out := make(map[string]string, len(reasons))
	for _, key := range tree.SortedKeys(reasons) {
		name, err := b.interpolate(key)
		if err != nil {
			d.fault(append(slices.Clone(at), extension, "privileges", key), "%v", err)
			continue
		}
		out[name] = reasons[key]
	}
	return out
}
