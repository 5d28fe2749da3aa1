// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"copse/internal/engine"
	"copse/internal/tree"
)

// Bits of capabilities in /proc/PID/status, see capabilities(7).
const (
	capChown    = 1 << 0
	capNetAdmin = 1 << 12
	capNetRaw   = 1 << 13
	capSysAdmin = 1 << 21
	capSysNice  = 1 << 23
	capMknod    = 1 << 27
)

// capabilities are those that a program in a container can have.
func capabilities(t *testing.T, s suite, id string) uint64 {
	t.Helper()
	text := s.see(t, id, "status", "CapBnd")
	bits, err := strconv.ParseUint(text, 16, 64)
	must(t, err)
	return bits
}

func testCapabilitiesByName(t *testing.T, s suite) {
	spec := s.spec("wait")
	spec.CapDrop, spec.CapAdd = []string{"ALL"}, []string{"NET_ADMIN", "CAP_SYS_NICE"}
	expect(t, "two capabilities", capabilities(t, s, s.start(t, "two", spec)), uint64(capNetAdmin|capSysNice))

	spec.CapDrop, spec.CapAdd = []string{"NET_RAW"}, []string{"SYS_ADMIN"}
	bits := capabilities(t, s, s.start(t, "default", spec))
	expect(t, "default, dropped and added", bits&(capChown|capNetRaw|capSysAdmin|capNetAdmin), uint64(capChown|capSysAdmin))

	spec.CapDrop, spec.CapAdd = []string{"ALL"}, nil
	expect(t, "none", capabilities(t, s, s.start(t, "none", spec)), uint64(0))
}

// all are the capabilities that the engine can give, but for those that some engines keep
// back from ALL.
const all = capChown | capNetAdmin | capNetRaw | capSysAdmin | capSysNice | capMknod

func testCapabilitiesAll(t *testing.T, s suite) {
	spec := s.spec("wait")
	spec.CapAdd = []string{"ALL"}
	expect(t, "all", capabilities(t, s, s.start(t, "all", spec))&all, uint64(all))

	spec.CapDrop = []string{"MKNOD"}
	expect(t, "all but one", capabilities(t, s, s.start(t, "but-one", spec))&all, uint64(all&^capMknod))
}

func testMissingCapability(t *testing.T, s suite) {
	// On a host that lacks nothing there is nothing to see, and nothing is looped over.
	for _, name := range infoOf(t, s).MissingCapabilities {
		spec := s.spec("wait")
		spec.CapAdd = []string{name}
		id, err := s.Create(t.Context(), s.name("a"), spec)
		if err == nil {
			s.removeLater(t, id)
			err = s.Start(t.Context(), id)
		}
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("asking for %s, which the host lacks: the error is %v, want one that names it", name, err)
		}
	}
}

func testPrivileged(t *testing.T, s suite) {
	spec := s.spec("wait")
	spec.Privileged = true
	spec.Mounts = []tree.Mount{{Type: tree.Bind, Source: s.Directory, Target: "/b"}}
	id := s.start(t, "a", spec)
	expect(t, "capabilities", capabilities(t, s, id)&all, uint64(all))
	expect(t, "seccomp", s.see(t, id, "status", "Seccomp"), "0")
	if line := s.see(t, id, "mount", "/sys"); slices.Contains(strings.Split(strings.Fields(line)[5], ","), "ro") {
		t.Errorf("/sys is %q, want it writable", line)
	}
	for _, path := range []string{"/proc/kcore", "/proc/sys", "/sys/firmware"} {
		expect(t, path, s.see(t, id, "mount", path), "not mounted")
	}
	// All devices: one that no container has by default can be opened.
	s.see(t, id, "open", "/dev/kmsg")
	result := s.execWith(t, id, engine.Exec{Privileged: true}, "status", "CapEff")
	bits, err := strconv.ParseUint(result.stdout, 16, 64)
	must(t, err)
	expect(t, "capabilities of a privileged program beside it", bits&all, uint64(all))

	// A mount of its own at /dev takes precedence.
	spec.Mounts = []tree.Mount{{Type: tree.Bind, Source: "/dev", Target: "/dev"}, {Type: tree.Bind, Source: "/sys", Target: "/sys", ReadOnly: true}}
	second := s.start(t, "b", spec)
	if line := s.see(t, second, "mount", "/sys"); !slices.Contains(strings.Split(strings.Fields(line)[5], ","), "ro") {
		t.Errorf("/sys is %q, want the read-only mount that was asked for", line)
	}
}

func testSecurityOptions(t *testing.T, s suite) {
	plain := s.start(t, "plain", s.spec("wait"))
	expect(t, "seccomp by default", s.see(t, plain, "status", "Seccomp"), "2")
	expect(t, "no_new_privs by default", s.see(t, plain, "status", "NoNewPrivs"), "0")
	if s.see(t, plain, "mount", "/proc/sys") == "not mounted" {
		t.Error("/proc/sys is not protected by default")
	}

	open := s.spec("wait")
	open.SecurityOpt = []string{"seccomp:unconfined", "systempaths=unconfined", "no-new-privileges:true"}
	id := s.start(t, "open", open)
	expect(t, "seccomp", s.see(t, id, "status", "Seccomp"), "0")
	expect(t, "no_new_privs", s.see(t, id, "status", "NoNewPrivs"), "1")
	expect(t, "/proc/sys", s.see(t, id, "mount", "/proc/sys"), "not mounted")
}
