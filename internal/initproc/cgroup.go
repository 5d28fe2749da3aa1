// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package initproc

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// hierarchy is one tree of control groups this process is in.
type hierarchy struct {
	// controllers are v1's ("memory", "name=systemd"); none for v2.
	controllers []string
	// current is the group of this process, as /proc/self/cgroup has it.
	current string
	// root is the directory where the host's root of the tree is mounted.
	root string
}

func (h hierarchy) String() string {
	if len(h.controllers) == 0 {
		return "cgroup v2"
	}
	return "cgroup " + strings.Join(h.controllers, ",")
}

// parseCgroups reads /proc/self/cgroup (cgroups(7)): lines of
// "number:controllers:path".
func parseCgroups(text string) ([]hierarchy, error) {
	var hierarchies []hierarchy
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) != 3 || !path.IsAbs(fields[2]) {
			return nil, fmt.Errorf("cannot read /proc/self/cgroup: %q has not three fields", line)
		}
		parsed := hierarchy{current: fields[2]}
		if fields[1] != "" {
			parsed.controllers = strings.Split(fields[1], ",")
		}
		hierarchies = append(hierarchies, parsed)
	}
	return hierarchies, nil
}

// cgroupMount is a mounted control group file system.
type cgroupMount struct {
	root, point string
	v2          bool
	options     []string
}

// parseMounts picks the control group file systems out of
// /proc/self/mountinfo (proc_pid_mountinfo(5)).
func parseMounts(text string) []cgroupMount {
	var mounts []cgroupMount
	for line := range strings.Lines(text) {
		before, after, found := strings.Cut(line, " - ")
		fields, tail := strings.Fields(before), strings.Fields(after)
		if !found || len(fields) < 6 || len(tail) < 3 || (tail[0] != "cgroup" && tail[0] != "cgroup2") {
			continue
		}
		mounts = append(mounts, cgroupMount{
			root:    unescape(fields[3]),
			point:   unescape(fields[4]),
			v2:      tail[0] == "cgroup2",
			options: strings.Split(tail[2], ","),
		})
	}
	return mounts
}

// unescaper undoes mountinfo's octal escapes of white space and backslash.
var unescaper = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

func unescape(field string) string { return unescaper.Replace(field) }

// locate finds the directory of each hierarchy's root. The error says what
// to mount: a container sees the whole tree only if it was given it.
//
// In a namespace of its own a process sees its own group as "/", and what is
// mounted from above it as "/..": then only such a mount is the host's root.
func locate(hierarchies []hierarchy, mounts []cgroupMount, ownNamespace bool) ([]hierarchy, error) {
	var located []hierarchy
	for _, h := range hierarchies {
		climbed := -1
		for _, m := range mounts {
			if !h.mountedAt(m) {
				continue
			}
			// Of several mounts the one from furthest up is the root.
			up, isAbove := above(m.root)
			if isAbove && up > climbed && (up > 0 || !ownNamespace || h.current != "/") {
				climbed, h.root = up, m.point
			}
		}
		if climbed < 0 {
			if h.current == "/" && !ownNamespace {
				// The kernel lists v2 even where nobody mounts it. Nobody has
				// put this process into a group there, so none is to be left.
				continue
			}
			return nil, fmt.Errorf("cannot leave the engine's control group: the root of %s is not mounted; "+
				"give the container the host's /sys/fs/cgroup, writable, and the host's cgroup namespace", h)
		}
		located = append(located, h)
	}
	return located, nil
}

func (h hierarchy) mountedAt(m cgroupMount) bool {
	if len(h.controllers) == 0 || m.v2 {
		return m.v2 && len(h.controllers) == 0
	}
	for _, controller := range h.controllers {
		if !slices.Contains(m.options, controller) {
			return false
		}
	}
	return true
}

// above counts how far up a mount's root lies: 0 for "/", 2 for "/../..".
func above(root string) (levels int, ok bool) {
	for part := range strings.SplitSeq(strings.Trim(root, "/"), "/") {
		switch part {
		case "":
		case "..":
			levels++
		default:
			return 0, false
		}
	}
	return levels, true
}

// validGroupName keeps a group directly below /copse.
func validGroupName(name string) error {
	ok := name != "" && name[0] != '.'
	for _, r := range []byte(name) {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '_', r == '-', r == '.':
		default:
			ok = false
		}
	}
	// A controller's name and a dot begin the kernel's own files in a group.
	if !ok || strings.HasPrefix(name, "cgroup.") {
		return fmt.Errorf("--own-cgroup: %q cannot be the name of a control group", name)
	}
	return nil
}
