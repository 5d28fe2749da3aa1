// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"

	"copse/internal/tree"
)

// allCapabilities is the name that cap_add and cap_drop have for all of them.
const allCapabilities = "ALL"

// setPrivileges asks for privileged and for capabilities in a way that the host can grant.
//
// An engine without trait clips asks the kernel for every capability that exists, and where
// the engine's own bounding set lacks one the container cannot be started. There, "privileged"
// is spelled out without the missing capabilities: all others, no seccomp and AppArmor
// profile, all devices of the host with /dev itself, /sys writable, nothing masked. Two
// differences to privileged remain: /dev is the host's file system rather than a copy, and
// /sys shows the host's network interfaces even where the container has others.
//
// A missing capability that is asked for by its own name is an error: the specification says
// that the program needs it.
func (e *Engine) setPrivileges(host *container.HostConfig, spec tree.Spec) error {
	for _, name := range spec.CapAdd {
		if slices.Contains(e.missing, capabilityName(name)) {
			return fmt.Errorf("cap_add %s: the container engine's own process lacks this capability, so this host cannot give it; remove it from cap_add, or run the engine with it", name)
		}
	}
	if !e.lacking() {
		host.Privileged = spec.Privileged
		return nil
	}
	if spec.Privileged {
		composePrivileged(host, spec)
	}
	if hasAll(host.CapAdd) {
		// Clone: the specification's own list must not change.
		host.CapDrop = append(slices.Clone(host.CapDrop), e.missing...)
	}
	return nil
}

// lacking reports whether the engine would ask for capabilities that it cannot give.
func (e *Engine) lacking() bool { return len(e.missing) > 0 && !e.traits.clips }

// hasAll reports whether a list of capabilities has the name of all.
func hasAll(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return capabilityName(name) == allCapabilities })
}

// composePrivileged spells out "privileged" but for the capabilities to drop.
func composePrivileged(host *container.HostConfig, spec tree.Spec) {
	host.CapAdd = append(slices.Clone(host.CapAdd), allCapabilities)
	// As with privileged itself: a seccomp profile has no effect, an AppArmor profile has.
	host.SecurityOpt = slices.DeleteFunc(host.SecurityOpt, func(option string) bool {
		return strings.HasPrefix(option, "seccomp=")
	})
	host.SecurityOpt = append(host.SecurityOpt, "seccomp=unconfined")
	if !slices.ContainsFunc(host.SecurityOpt, func(option string) bool { return strings.HasPrefix(option, "apparmor=") }) {
		host.SecurityOpt = append(host.SecurityOpt, "apparmor=unconfined")
	}
	host.SecurityOpt = append(host.SecurityOpt, "label=disable")
	host.MaskedPaths, host.ReadonlyPaths = []string{}, []string{}
	host.DeviceCgroupRules = append(slices.Clone(host.DeviceCgroupRules), "a *:* rwm")
	for _, path := range []string{"/dev", "/sys"} {
		mounted := slices.ContainsFunc(spec.Mounts, func(m tree.Mount) bool {
			return strings.TrimRight(m.Target, "/") == path
		})
		if !mounted {
			host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeBind, Source: path, Target: path})
		}
	}
}
