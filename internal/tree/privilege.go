// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"slices"
	"strings"
)

// Privilege is something that a container may do beyond what Copse gives by default, and why.
type Privilege struct {
	// Name is as in the Compose file: "cap_add NET_ADMIN", "pid host", "bind /run/netns"…
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Declared names everything in a specification that goes beyond the default, which is the host's
// network and nothing else. Names are those of the Compose file, e.g. "cap_add NET_ADMIN". Each of
// them needs a reason.
func (e *Spec) Declared() []string {
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
		if !noNewPrivileges(option) {
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
		if mount.Type == Bind {
			names = append(names, "bind "+mount.Source)
		}
	}
	return names
}

func noNewPrivileges(option string) bool {
	return option == "no-new-privileges" || option == "no-new-privileges:true"
}

// Granted returns all that a container may do beyond the default, with the reasons: what its file
// declares, and what follows from what the file leaves out.
func (c *Container) Granted() []Privilege {
	var granted []Privilege
	for _, name := range c.Spec.Declared() {
		granted = append(granted, Privilege{name, c.Privileges[name]})
	}
	add := func(when bool, name, reason string) {
		if when {
			granted = append(granted, Privilege{name, reason})
		}
	}
	e := &c.Spec
	user, _, _ := strings.Cut(e.User, ":")
	all := slices.Contains(e.CapDrop, "ALL") || e.Privileged
	add(user == "" || user == "0" || user == "root", "user root", "root inside the container: what it may do beyond that stands in this list")
	add(!all, "default capabilities", "cap_drop: [ALL] is missing")
	add(!slices.ContainsFunc(e.SecurityOpt, noNewPrivileges), "new privileges", "its programs may become another user, as sudo does")
	add(!e.ReadOnly, "writable root", "read_only is missing")
	add(c.OwnCgroup, "own control group", "what it starts outlives it, and its limits do not apply")
	return granted
}
