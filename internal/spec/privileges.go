// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"slices"
	"strings"

	"copse/internal/nearest"
	"copse/internal/tree"
)

// privilegesOf names everything that a container has beyond what Copse gives by default: the
// host's network, and nothing else. Names are those of the Compose file, e.g. "cap_add
// NET_ADMIN" (R3.8).
func privilegesOf(e *tree.Spec) []string {
	var names []string
	if e.Privileged {
		names = append(names, "privileged")
	}
	for _, mode := range []struct{ key, value string }{
		{"pid", e.PID}, {"ipc", e.IPC}, {"uts", e.UTS}, {"cgroup", e.Cgroup},
	} {
		if mode.value == "host" {
			names = append(names, mode.key+" host")
		}
	}
	for _, capability := range e.CapAdd {
		names = append(names, "cap_add "+capability)
	}
	for _, option := range e.SecurityOpt {
		if option != "no-new-privileges" && option != "no-new-privileges:true" {
			names = append(names, "security_opt "+option)
		}
	}
	for _, device := range e.Devices {
		names = append(names, "devices "+device.Source)
	}
	for _, rule := range e.DeviceRules {
		names = append(names, "device_cgroup_rules "+rule)
	}
	for _, mount := range e.Mounts {
		if mount.Type == tree.Bind {
			names = append(names, "bind "+mount.Source)
		}
	}
	return names
}

// checkPrivileges holds the reasons against the privileges: each has one, and none is left over.
func checkPrivileges(d *decoder, c *madeContainer, at []string) {
	here := append(slices.Clone(at), extension, "privileges")
	names := privilegesOf(&c.Spec)
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
