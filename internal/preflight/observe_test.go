// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"

	"copse/internal/engine"
	"copse/internal/tree"
)

// fixed is an engine that answers what the test puts into it.
type fixed struct {
	info       engine.Info
	containers []engine.Container
	err        error
}

func (f fixed) Info(context.Context) (engine.Info, error) { return f.info, f.err }

func (f fixed) List(context.Context, map[string]string) ([]engine.Container, error) {
	return f.containers, f.err
}

// TestObserve looks at the host that the test runs on: this process listens, and is who has the port.
func TestObserve(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	tcp, udp := listener.Addr().(*net.TCPAddr).Port, packets.LocalAddr().(*net.UDPAddr).Port
	doc := &tree.Document{Containers: []tree.Container{{
		Host: here, Set: "data", Name: "db", Ports: []tree.Port{port("127.0.0.1", tcp, "tcp"), port("0.0.0.0", udp, "udp")},
		Spec: tree.Spec{Devices: []tree.Device{{Source: "/dev/null"}, {Source: "/dev/no-such-device"}}, Mounts: []tree.Mount{{Type: tree.Bind, Source: "/", Target: "/host", Propagation: "rslave"}}},
	}}}
	o := &Observer{
		Engine:    fixed{info: engine.Info{Name: "Docker Engine", DataRoot: "/"}},
		EnginePID: func(context.Context) (int, error) { return os.Getpid(), nil }, StateDir: t.TempDir(),
	}
	facts, err := o.Observe(t.Context(), doc, here)
	if err != nil {
		t.Fatal(err)
	}
	if len(facts.Unseen) != 0 {
		t.Errorf("it could not see: %q", facts.Unseen)
	}
	protocols := map[string]int{}
	for _, l := range facts.Listeners {
		if l.Owner.PID == os.Getpid() && strings.Contains(l.Owner.Command, "preflight.test") {
			protocols[l.Protocol] = l.Port
		}
	}
	if protocols["tcp"] != tcp || protocols["udp"] != udp {
		t.Errorf("this process listens at tcp %d and udp %d; seen: %+v", tcp, udp, facts.Listeners)
	}
	if !facts.Devices["/dev/null"] || facts.Devices["/dev/no-such-device"] {
		t.Errorf("devices are %v", facts.Devices)
	}
	if _, asked := facts.Shared["/"]; !asked {
		t.Error("it has not looked at the root's mount")
	}
	if len(facts.Disks) != 2 || facts.Disks[0].Free == 0 || facts.Disks[1].Free == 0 || len(facts.Addresses) == 0 {
		t.Errorf("disks %+v, addresses %v", facts.Disks, facts.Addresses)
	}
	var ports int
	for _, f := range Check(Input{Host: here, Document: doc, Starting: map[string]bool{"db": true}}, facts) {
		if f.Check == "port" && strings.Contains(f.What, "preflight.test") {
			ports++
		}
	}
	if ports != 2 {
		t.Errorf("%d of the two ports are found taken", ports)
	}

	gone := errors.New("the engine does not answer")
	o.Engine = fixed{err: gone}
	if _, err := o.Observe(t.Context(), doc, here); !errors.Is(err, gone) {
		t.Errorf("without an engine it says %v", err)
	}
	o.Engine, o.EnginePID = fixed{}, func(context.Context) (int, error) { return 0, errors.New("no process") }
	if facts, err := o.Observe(t.Context(), doc, here); err != nil || len(facts.Unseen) != 1 || facts.Unseen[0] != "no process" {
		t.Errorf("where the engine's process cannot be seen: %+v, %v", facts, err)
	}
}

func TestGroups(t *testing.T) {
	for _, c := range []struct{ groups, declared, unit string }{
		{groups: "0::/\n"},
		{groups: "12:pids:/system.slice/ssh.service\n0::/system.slice/ssh.service\n", unit: "ssh.service"},
		{groups: "0::/user.slice/user-0.slice/user@0.service/app.slice/x.service\n", unit: "x.service"},
		{groups: "4:devices:/copse/nova-libvirt\n0::/\n", declared: "nova-libvirt"},
		{groups: "4:devices:/copse/nova-libvirt/machine\n"},
	} {
		if got := ownGroup(c.groups); got != c.declared {
			t.Errorf("the own group in %q is %q, want %q", c.groups, got, c.declared)
		}
		if got := unit(c.groups); got != c.unit {
			t.Errorf("the unit in %q is %q, want %q", c.groups, got, c.unit)
		}
	}
}

func TestOnSharedMount(t *testing.T) {
	const table = `22 1 8:1 / / rw,relatime - ext4 /dev/vda rw
30 22 0:26 / /run rw,nosuid shared:5 master:1 - tmpfs tmpfs rw
31 30 0:27 / /run/netns rw - tmpfs tmpfs rw
32 31 0:27 / /run/netns rw shared:9 - tmpfs tmpfs rw
33 22 8:2 / /srv/with\040space rw shared:7 - ext4 /dev/vdb rw
`
	mounts, err := mountinfo.GetMountsFromReader(strings.NewReader(table), nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"/": false, "/var/lib": false, "/run": true, "/run/x": true, "/runaway": false, "/run/netns/qdhcp": true, "/srv/with space/x": true, "/srv": false,
	} {
		if got := onSharedMount(mounts, path); got != want {
			t.Errorf("%s lies on a shared mount: %v, want %v", path, got, want)
		}
	}
}
