// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"net/netip"
	"strings"
	"testing"

	"copse/internal/tree"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
)

// pair is a finished pair of interfaces among others.
func pair(modify func(map[string]linkFact)) map[string]linkFact {
	links := map[string]linkFact{
		"eth0": {index: 2, kind: "device", up: true, mtu: 1500, addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24")}},
		"ext":  {index: 5, kind: "veth", peer: 6, up: true, mtu: 1500, addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}},
		"extb": {index: 6, kind: "veth", peer: 5, up: true, mtu: 1500},
	}
	if modify != nil {
		modify(links)
	}
	return links
}

func set(name string, modify func(*linkFact)) func(map[string]linkFact) {
	return func(links map[string]linkFact) {
		l := links[name]
		modify(&l)
		links[name] = l
	}
}

func TestAssess(t *testing.T) {
	veth := tree.HostPrep{Veth: []tree.HostVeth{{Name: "ext", Peer: "extb", Address: "198.51.100.1/24", MTU: 1500}}}
	directory := tree.HostPrep{Directories: []tree.HostDirectory{{Path: "/run/x", Mode: 0o1775, UID: 1, GID: 2}}}
	shared := tree.HostPrep{SharedMounts: []string{"/run/x"}}
	module := tree.HostPrep{Modules: []tree.HostModule{{Name: "m"}}}
	optional := tree.HostPrep{Modules: []tree.HostModule{{Name: "m", Optional: true}}}
	parameter := tree.HostPrep{Sysctls: map[string]string{"a.b": "1 2"}}
	dir := pathFact{there: true, directory: true, mode: 0o1775, uid: 1, gid: 2}
	for _, c := range []struct {
		name string
		prep tree.HostPrep
		f    facts
		want string // each need; "!" before what is refused
	}{
		{"nothing asked", tree.HostPrep{}, facts{}, ""},
		{"directory", directory, facts{paths: map[string]pathFact{"/run/x": dir}}, ""},
		{"no directory", directory, facts{}, "directory /run/x does not exist"},
		{"owner", directory, facts{paths: map[string]pathFact{"/run/x": {there: true, directory: true, mode: 0o755}}},
			"directory /run/x is 0755 0:0 instead of 1775 1:2"},
		{"file", directory, facts{paths: map[string]pathFact{"/run/x": {there: true}}}, "!/run/x is there and is no directory: move it away"},
		{"shared", shared, facts{paths: map[string]pathFact{"/run/x": dir}, shared: map[string]bool{"/run/x": true}}, ""},
		{"not shared", shared, facts{paths: map[string]pathFact{"/run/x": dir}}, "/run/x is not a shared mount"},
		{"to be made on a shared mount", shared, facts{shared: map[string]bool{"/run/x": true}}, "/run/x is not a shared mount"},
		{"shared file", shared, facts{paths: map[string]pathFact{"/run/x": {there: true}}}, "!/run/x is no directory and cannot become a shared mount: move it away"},
		{"loaded", module, facts{modules: map[string]moduleFact{"m": {loaded: true}}}, ""},
		{"to load", module, facts{modules: map[string]moduleFact{"m": {available: true, loadable: true}}}, "kernel module m is not loaded"},
		{"no module", module, facts{modules: map[string]moduleFact{"m": {loadable: true}}},
			"!the kernel has no module m, and nothing of that name in /lib/modules: install the package that brings it"},
		{"may not load", module, facts{modules: map[string]moduleFact{"m": {available: true}}},
			`!kernel module m is not loaded, and the agent may not load it: run "modprobe m" on the host`},
		{"optional to load", optional, facts{modules: map[string]moduleFact{"m": {available: true, loadable: true}}}, "kernel module m is not loaded"},
		{"no optional module", optional, facts{modules: map[string]moduleFact{"m": {loadable: true}}}, ""},
		{"may not load an optional one", optional, facts{modules: map[string]moduleFact{"m": {available: true}}}, ""},
		{"parameter", parameter, facts{parameters: map[string]string{"a.b": "1\t2"}}, ""},
		{"another value", parameter, facts{parameters: map[string]string{"a.b": "12"}}, "kernel parameter a.b is 12 instead of 1 2"},
		{"no parameter", parameter, facts{}, "kernel parameter a.b is not there"},
		{"pair", veth, facts{links: pair(nil)}, ""},
		{"no pair", veth, facts{}, "the interfaces ext and extb do not exist"},
		{"down", veth, facts{links: pair(set("extb", func(l *linkFact) { l.up = false }))}, "interface extb is down"},
		{"MTU and address", veth, facts{links: pair(set("ext", func(l *linkFact) { l.mtu, l.addresses = 1400, nil }))},
			"interface ext has an MTU of 1400 instead of 1500, interface ext does not have the address 198.51.100.1/24"},
		{"other length of the prefix", veth, facts{links: pair(set("ext", func(l *linkFact) { l.addresses[0] = netip.MustParsePrefix("198.51.100.1/25") }))},
			"interface ext does not have the address 198.51.100.1/24"},
		{"more addresses", veth, facts{links: pair(set("ext", func(l *linkFact) {
			l.addresses = append(l.addresses, netip.MustParsePrefix("fe80::1/64"))
		}))}, ""},
		{"no veth", veth, facts{links: pair(set("ext", func(l *linkFact) { l.kind = "bridge" }))},
			"!interface ext is there and is no veth (bridge): rename it, or choose another name"},
		{"peer is no veth", veth, facts{links: map[string]linkFact{"extb": {kind: "device"}}},
			"!interface extb is there and is no veth (device): rename it, or choose another name"},
		{"alone", veth, facts{links: pair(func(l map[string]linkFact) { delete(l, "extb") })},
			"!interface ext is there without its other end extb: remove it (ip link delete ext), or choose another name"},
		{"no pair of each other", veth, facts{links: pair(set("ext", func(l *linkFact) { l.peer = 9 }))},
			"!interfaces ext and extb are there and are no pair: remove them, or choose other names"},
		{"address elsewhere", veth, facts{links: map[string]linkFact{"br-ex": {addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/32")}}}},
			"!address 198.51.100.1 belongs to interface br-ex already: remove it there, or choose another network"},
		{"network elsewhere", veth, facts{links: map[string]linkFact{"eth0": {addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.77/25")}}}},
			"!network 198.51.100.0/24 overlaps with that of interface eth0 (198.51.100.77/25), which would be cut off: choose another network"},
		{"all together, in order", tree.HostPrep{
			SharedMounts: shared.SharedMounts, Directories: directory.Directories, Modules: []tree.HostModule{{Name: "m"}},
			Sysctls: parameter.Sysctls, Veth: veth.Veth,
		}, facts{modules: map[string]moduleFact{"m": {available: true, loadable: true}}},
			"kernel module m is not loaded; directory /run/x does not exist; /run/x is not a shared mount; the interfaces ext and extb do not exist; kernel parameter a.b is not there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, n := range assess(&c.prep, &c.f) {
				if n.refused == (n.mend != nil) {
					t.Errorf("%q is both refused and mended, or neither", n.lacks)
				}
				if n.refused {
					n.lacks = "!" + n.lacks
				}
				got = append(got, n.lacks)
			}
			if diff := cmp.Diff(c.want, strings.Join(got, "; ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestIsShared(t *testing.T) {
	for line, want := range map[string]bool{
		`36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`:             false,
		`37 35 0:5 / /run/a\040b rw shared:12 master:1 - tmpfs tmpfs rw`:             true,
		`37 35 0:5 / /run/b rw master:1 propagate_from:3 shared:12 - tmpfs tmpfs rw`: true,
		`38 35 0:5 / /x rw - tmpfs shared:1 rw`:                                      false,
	} {
		mounts, err := mountinfo.GetMountsFromReader(strings.NewReader(line+"\n"), nil)
		if err != nil || len(mounts) != 1 {
			t.Fatalf("%q: %v, %v", line, mounts, err)
		}
		if got := isShared(mounts[0]); got != want {
			t.Errorf("%q is shared: %t, want %t", line, got, want)
		}
	}
}
