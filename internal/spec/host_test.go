// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"context"
	"strings"
	"testing"
	"testing/fstest"

	"copse/internal/tree"

	"github.com/google/go-cmp/cmp"
)

// withHost is the small catalogue whose set "base" asks this of its host.
func withHost(t *testing.T, host string) Options {
	t.Helper()
	opts := defaults(t)
	opts.Catalogue = with(t, baseFile, "x-copse: {description: the base}", "x-copse:\n  description: the base\n  host:\n    "+host)
	return opts
}

func TestHost(t *testing.T) {
	opts := withHost(t, `shared_mounts: [/run/netns, "/var/lib/x${WORKERS}"]
    directories: [{path: /run/openvswitch, mode: "1755", uid: 42424, gid: "${WORKERS}"}, {path: /run/plain}]
    modules: [{name: openvswitch, optional: true}, {name: vhost-net}]
    sysctls: {net.ipv4.ip_forward: "1", net.ipv4.conf.eth0-x.rp_filter: 0}
    veth: [{name: copse-ext, peer: copse-ext-br, address: 198.51.100.1/24, mtu: 1500}, {name: a, peer: b}]`)
	doc, err := Load(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	want := []tree.HostPrep{{
		Host: opts.Host, Set: "base",
		SharedMounts: []string{"/run/netns", "/var/lib/x2"},
		Directories:  []tree.HostDirectory{{Path: "/run/openvswitch", Mode: 0o1755, UID: 42424, GID: 2}, {Path: "/run/plain", Mode: 0o755}},
		Modules:      []tree.HostModule{{Name: "openvswitch", Optional: true}, {Name: "vhost-net"}},
		Sysctls:      map[string]string{"net.ipv4.ip_forward": "1", "net.ipv4.conf.eth0-x.rp_filter": "0"},
		Veth:         []tree.HostVeth{{Name: "copse-ext", Peer: "copse-ext-br", Address: "198.51.100.1/24", MTU: 1500}, {Name: "a", Peer: "b"}},
	}}
	if diff := cmp.Diff(want, doc.HostPreps(opts.Host, nil)); diff != "" {
		t.Error(diff)
	}
	if got := doc.HostPreps("elsewhere", nil); got != nil {
		t.Errorf("another host is asked for %v", got)
	}
	if got := doc.HostPreps(opts.Host, func(set string) bool { return set == "edge" }); got != nil {
		t.Errorf("another set asks for %v", got)
	}
}

// TestHostIsNoIdentity holds that preparing a host replaces no container.
func TestHostIsNoIdentity(t *testing.T) {
	plain := defaults(t)
	plain.Catalogue = small()
	before, err := Load(context.Background(), plain)
	if err != nil {
		t.Fatal(err)
	}
	after, err := Load(context.Background(), withHost(t, "shared_mounts: [/run/netns]"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range before.Containers {
		if before.Containers[i].Identity(nil) != after.Containers[i].Identity(nil) {
			t.Errorf("%s has another identity", before.Containers[i].Name)
		}
	}
}

func TestHostLeftOut(t *testing.T) {
	opts := withHost(t, "shared_mounts: [/run/netns]")
	opts.Catalogue.(fstest.MapFS)[proxyFile] = &fstest.MapFile{
		Data: []byte("services: {alone: {image: 'x:1', healthcheck: {test: [CMD, x]}, x-copse: {component: x}}}"),
	}
	opts.CloudFile = write(t, "cloud.yaml", "sets: [edge]\n")
	doc, err := Load(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if len(doc.HostPrep) != 0 {
		t.Errorf("a set that is left out asks for %v", doc.HostPrep)
	}
}

func TestHostFaults(t *testing.T) {
	const at = "catalog/sets/base/compose.yaml:"
	for _, c := range []struct{ name, host, want string }{
		{"unknown key", "shared_mount: [/run/netns]", at + `5: x-copse.host.shared_mount: unknown key; did you mean "shared_mounts"?`},
		{"unknown key of a directory", "directories: [{path: /run/x, owner: 1}]", `x-copse.host.directories.0.owner: unknown key`},
		{"relative", "shared_mounts: [run/netns]", `x-copse.host.shared_mounts.0: "run/netns" is no absolute path`},
		{"climbing", "shared_mounts: [/run/x/../..]", `shared_mounts.0: "/run/x/../.." is not written plainly; did you mean "/"?`},
		{"root", "shared_mounts: [/]", `shared_mounts.0: / belongs to the system`},
		{"etc", "directories: [{path: /etc}]", `directories.0.path: /etc belongs to the system`},
		{"the kernel's", "directories: [{path: /sys/fs/x}]", `directories.0.path: /sys/fs/x is the kernel's`},
		{"unknown value", "shared_mounts: ['/run/${WORKRES}']", `x-copse.host.shared_mounts.0: ${WORKRES} is no declared value`},
		{"mode", "directories: [{path: /run/x, mode: rwx}]", `directories.0.mode: "rwx" is no file mode`},
		{"decimal mode", "directories: [{path: /run/x, mode: 99}]", `directories.0.mode: "99" is no file mode`},
		{"owner", "directories: [{path: /run/x, uid: nova}]", `directories.0.uid: "nova" is no whole number`},
		{"negative owner", "directories: [{path: /run/x, gid: -1}]", `directories.0: an owner is a number from 0`},
		{"module", "modules: [{name: ../x}]", `modules.0.name: "../x" is no name of a kernel module`},
		{"no module", "modules: [{optional: true}]", `modules.0.name: "" is no name of a kernel module`},
		{"optional", "modules: [{name: x, optional: perhaps}]", `modules.0.optional: "perhaps" is neither true nor false`},
		{"parameter", "sysctls: {net/ipv4/ip_forward: 1}", `is no name of a kernel parameter`},
		{"climbing parameter", "sysctls: {net...x: 1}", `is no name of a kernel parameter`},
		{"no value", "sysctls: {net.ipv4.ip_forward: ''}", `x-copse.host.sysctls.net.ipv4.ip_forward: "" is no value`},
		{"long name", "veth: [{name: copse-external-1, peer: b}]", `veth.0.name: "copse-external-1" has 16 characters, and the kernel takes 15`},
		{"long peer", "veth: [{name: a, peer: copse-external-1}]", `veth.0.peer: "copse-external-1" has 16`},
		{"no peer", "veth: [{name: a}]", `veth.0.peer: is missing`},
		{"slash", "veth: [{name: a/b, peer: c}]", `veth.0.name: "a/b" is no name of a network interface`},
		{"both ends", "veth: [{name: a, peer: a}]", `veth.0.peer: both ends are named "a"`},
		{"no prefix", "veth: [{name: a, peer: b, address: 198.51.100.1}]", `veth.0.address: "198.51.100.1" is no address with the length of its prefix`},
		{"network", "veth: [{name: a, peer: b, address: 198.51.100.0/24}]", `veth.0.address: 198.51.100.0/24 is the network itself; give the interface an address in it, like 198.51.100.1/24`},
		{"mtu", "veth: [{name: a, peer: b, mtu: 10}]", `veth.0.mtu: 10 is not between`},
		{"list", "veth: {name: a}", `x-copse.host.veth: a list is expected`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(context.Background(), withHost(t, c.host))
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), at) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error\n\t%v\ndoes not say\n\t%s", err, c.want)
			}
		})
	}
}

func TestHostConflicts(t *testing.T) {
	for _, c := range []struct{ name, first, second, want string }{
		{"directory", "directories: [{path: /run/x, uid: 1}]", "directories: [{path: /run/x}]", "directory /run/x is 0755 0:0 here and 0755 1:0 in catalog/sets/base/compose.yaml"},
		{"parameter", "sysctls: {net.ipv4.ip_forward: 1}", "sysctls: {net.ipv4.ip_forward: 0}", "parameter net.ipv4.ip_forward is 0 here and 1 in"},
		{"interface", "veth: [{name: a, peer: b}]", "veth: [{name: b, peer: c}]", "interface b is b–c"},
		{"address", "veth: [{name: a, peer: b, address: 192.0.2.1/24}]", "veth: [{name: c, peer: d, address: 192.0.2.1/24}]", "address 192.0.2.1/24 is c here and a in"},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := withHost(t, c.first)
			opts.Catalogue.(fstest.MapFS)["sets/more/compose.yaml"] = &fstest.MapFile{Data: []byte("x-copse:\n  host:\n    " + c.second + `
services: {more: {image: 'x:1', healthcheck: {test: [CMD, x]}, x-copse: {component: x}}}`)}
			_, err := Load(context.Background(), opts)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range []string{"catalog/sets/more/compose.yaml:3: x-copse.host.", c.want} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error\n\t%v\ndoes not say\n\t%s", err, want)
				}
			}
		})
	}
}
