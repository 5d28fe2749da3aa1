// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"copse/internal/engine"
	"copse/internal/plan"
	"copse/internal/tree"
)

const here = "host1"

func port(address string, number int, protocol string) tree.Port {
	return tree.Port{Name: "p", Address: address, Port: number, Protocol: protocol}
}

// cloud is a database, an API behind a proxy and a name server.
func cloud() *tree.Document {
	return &tree.Document{Containers: []tree.Container{
		{Host: here, Set: "data", Name: "db", Component: "db", Ports: []tree.Port{port("127.0.0.1", 3306, "tcp")}},
		{Host: here, Set: "api", Name: "api", Component: "api", Frontend: &tree.Frontend{Name: "api", Addresses: []string{"192.0.2.10", "127.0.0.1"}, Port: 5000}},
		{Host: here, Set: "net", Name: "dns", Component: "dns", Ports: []tree.Port{port("0.0.0.0", 53, "udp")}},
		{Host: here, Set: "ha", Name: "proxy", Component: "proxy", Proxy: &tree.Proxy{Directory: "/run/proxy"}},
	}}
}

// good is a host without a fault.
func good() *Facts {
	return &Facts{
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("::1")},
		Devices:   map[string]bool{}, Shared: map[string]bool{},
		Engine: engine.Info{
			Name: "Docker Engine", Version: "28.5.2", StorageDriver: "overlay2", LiveRestore: true, CgroupVersion: "2", Memory: 16 << 30,
			SecurityOptions: []string{"apparmor", "seccomp", "cgroupns"},
		},
		AppArmor: true,
		Disks:    []Disk{{Path: "/var/lib/copse", For: "what the agent keeps", Free: 10 << 30, Least: leastState, Little: littleState}},
	}
}

func listens(protocol, address string, number int, owner Owner) func(*tree.Document, *Facts) {
	return func(_ *tree.Document, f *Facts) {
		f.Listeners = append(f.Listeners, Listener{Protocol: protocol, Address: netip.MustParseAddr(address), Port: number, Owner: owner})
	}
}

func mount(name string, m tree.Mount) func(*tree.Document, *Facts) {
	return func(doc *tree.Document, _ *Facts) { c := doc.Container(name); c.Spec.Mounts = append(c.Spec.Mounts, m) }
}

func TestCheck(t *testing.T) {
	nc := Owner{PID: 77, Command: "nc -l 5000"}
	bind := func(source string, ro bool) tree.Mount {
		return tree.Mount{Type: tree.Bind, Source: source, Target: "/x", ReadOnly: ro}
	}
	volume := tree.Mount{Type: tree.NamedVolume, Source: "c_data", Target: "/data"}
	type steps []func(*tree.Document, *Facts)
	for _, c := range []struct {
		name string
		make steps
		// starting are the containers that start; nil is all.
		starting []string
		held     map[string][]tree.Port
		want     string // one finding a line: "severity check containers | what | do", the last two as parts
	}{
		{name: "nothing"},
		{name: "foreign listener at the same address", make: steps{listens("tcp", "127.0.0.1", 3306, Owner{PID: 9, Command: "mysqld"})},
			want: "refused port db | tcp 127.0.0.1:3306 is needed by db and taken by process 9 (mysqld) | kill 9"},
		{name: "foreign listener at every address", make: steps{listens("tcp", "0.0.0.0", 5000, nc)},
			want: "refused port proxy | tcp 192.0.2.10:5000 is needed by proxy (for api) and taken by process 77 (nc -l 5000), which listens at every address | kill 77\n" +
				"refused port proxy | tcp 127.0.0.1:5000 is needed by proxy (for api) and taken by process 77 | kill 77"},
		{name: "foreign listener at every address of both families", make: steps{listens("tcp", "::", 3306, nc)},
			want: "refused port db | which listens at every address | kill 77"},
		{name: "a listener at an address of another service", make: steps{listens("tcp", "192.0.2.10", 3306, nc), listens("tcp", "::1", 3306, nc)}},
		{name: "a listener of another protocol", make: steps{listens("udp", "0.0.0.0", 3306, nc), listens("tcp", "0.0.0.0", 53, nc)}},
		{name: "datagrams at one address, wanted at all", make: steps{listens("udp", "127.0.0.53", 53, Owner{PID: 5, Command: "systemd-resolved", Unit: "systemd-resolved.service"})},
			want: "refused port dns | udp 0.0.0.0:53 is needed by dns and taken by process 5 (systemd-resolved) of unit systemd-resolved.service, which listens at 127.0.0.53 | systemctl disable --now systemd-resolved.service"},
		{name: "a foreign container", make: steps{listens("tcp", "127.0.0.1", 3306, Owner{PID: 8, Command: "mysqld", Container: "old-mysql"})},
			want: "refused port db | process 8 (mysqld) in container old-mysql | docker stop old-mysql"},
		{name: "another container of the cloud", make: steps{listens("tcp", "127.0.0.1", 3306, Owner{PID: 8, Command: "x", Container: "dns.7", Declared: "dns"})},
			want: "refused port db | in container dns.7 | copse stop dns"},
		{name: "the container itself", make: steps{listens("tcp", "127.0.0.1", 3306, Owner{PID: 8, Command: "mariadbd", Container: "db.7", Declared: "db"})}},
		{name: "one that cannot be seen", make: steps{listens("tcp", "127.0.0.1", 3306, Owner{})},
			want: "refused port db | a process that cannot be seen from here | ss -lnp 'sport = 3306'"},
		{name: "what it holds already", make: steps{listens("tcp", "127.0.0.1", 3306, Owner{})}, held: map[string][]tree.Port{"db": {{Name: "other", Address: "127.0.0.1", Port: 3306, Protocol: "tcp"}}}},
		{name: "a container that stays", make: steps{listens("tcp", "127.0.0.1", 3306, nc)}, starting: []string{"dns"}},
		{name: "two of the plan", make: steps{func(doc *tree.Document, _ *Facts) {
			doc.Container("dns").Ports = []tree.Port{port("0.0.0.0", 3306, "tcp")}
		}},
			want: "refused port db dns | tcp 127.0.0.1:3306 is claimed by both db and dns: dns takes the port at every address | another port"},
		{name: "a service and a front end", make: steps{func(doc *tree.Document, _ *Facts) {
			doc.Container("dns").Ports = []tree.Port{port("127.0.0.1", 5000, "")}
		}},
			want: "refused port dns proxy | tcp 127.0.0.1:5000 is claimed by both dns and proxy (for api) | another port"},
		{name: "two of the cloud that both stay", make: steps{func(doc *tree.Document, _ *Facts) {
			doc.Container("dns").Ports = []tree.Port{port("0.0.0.0", 3306, "tcp")}
		}}, starting: []string{"proxy"}},
		{name: "one port, two addresses", make: steps{func(doc *tree.Document, _ *Facts) {
			doc.Container("dns").Ports = []tree.Port{port("192.0.2.10", 3306, "tcp")}
		}}},
		{name: "a network of its own", make: steps{listens("tcp", "127.0.0.1", 3306, nc), func(doc *tree.Document, _ *Facts) { doc.Container("db").Spec.NetworkMode = "none" }}},
		{name: "on another host", make: steps{listens("tcp", "127.0.0.1", 3306, nc), func(doc *tree.Document, _ *Facts) { doc.Container("db").Host = "host2" }}},
		{name: "an address of another host", make: steps{func(doc *tree.Document, _ *Facts) { doc.Container("api").Frontend.Addresses[0] = "198.51.100.7" }},
			want: "refused address proxy | cannot listen at 198.51.100.7, as proxy (for api) is to: this host does not have that address | set ADDRESS"},

		{name: "a volume of one component", make: steps{mount("db", volume), mount("dns", volume), func(doc *tree.Document, _ *Facts) { doc.Container("dns").Component = "db" }}},
		{name: "a volume of two components", make: steps{mount("db", volume), mount("dns", volume)},
			want: "refused path db dns | volume c_data is written to by both db and dns | `shared: REASON`"},
		{name: "a shared volume", make: steps{mount("db", volume), mount("dns", volume), func(doc *tree.Document, _ *Facts) {
			doc.Volumes = []tree.Volume{{Host: here, Name: "c_data", Shared: "dumps"}}
		}}},
		{name: "a job's volume", make: steps{mount("db", volume), mount("dns", volume), func(doc *tree.Document, _ *Facts) { doc.Container("dns").Job = &tree.Job{} }}},
		{name: "a path and one in it", make: steps{mount("db", bind("/srv/data/db", false)), mount("dns", bind("/srv/data", false))},
			want: "refused path db dns | /srv/data is written to by both db and dns, the one at /srv/data/db, the other at /srv/data | directories"},
		{name: "a path beside another", make: steps{mount("db", bind("/srv/data", false)), mount("dns", bind("/srv/data2", false))}},
		{name: "a path that one only reads", make: steps{mount("db", bind("/srv/data", false)), mount("dns", bind("/srv/data", true))}},
		{name: "a meeting place", make: steps{mount("db", bind("/run/netns", false)), mount("dns", bind("/run/netns", false)), func(doc *tree.Document, _ *Facts) {
			doc.HostPrep = []tree.HostPrep{{Host: here, Set: "net", SharedMounts: []string{"/run/netns"}}}
		}}},

		{name: "a device that is missing", make: steps{func(doc *tree.Document, f *Facts) {
			doc.Container("dns").Spec.Devices = []tree.Device{{Source: "/dev/net/tun"}}
			f.Devices["/dev/net/tun"] = false
		}}, want: "refused device dns | /dev/net/tun, which dns is given, is not on this host | modprobe"},
		{name: "a device that nothing starts with", starting: []string{"db"}, make: steps{func(doc *tree.Document, f *Facts) {
			doc.Container("dns").Spec.Devices = []tree.Device{{Source: "/dev/net/tun"}}
			f.Devices["/dev/net/tun"] = false
		}}},
		{name: "propagation from a private mount", make: steps{mount("dns", tree.Mount{Type: tree.Bind, Source: "/run/x", Target: "/run/x", Propagation: "rshared"}), func(_ *tree.Document, f *Facts) { f.Shared["/run/x"] = false }},
			want: "refused propagation dns | /run/x is to be mounted rshared in dns, and it lies on no shared mount | mount --make-rshared"},
		{name: "propagation that is prepared", make: steps{mount("dns", tree.Mount{Type: tree.Bind, Source: "/run/x", Target: "/run/x", Propagation: "rshared"}), func(doc *tree.Document, f *Facts) {
			f.Shared["/run/x"] = false
			doc.HostPrep = []tree.HostPrep{{Host: here, Set: "net", SharedMounts: []string{"/run/x"}}}
		}}},

		{name: "a full disk", make: steps{func(_ *tree.Document, f *Facts) { f.Disks[0].Free = 100 << 20 }},
			want: "refused disk  | 100 MiB are free for /var/lib/copse (what the agent keeps), and 256 MiB are needed | make room"},
		{name: "a disk that fills", make: steps{func(_ *tree.Document, f *Facts) { f.Disks[0].Free = 900 << 20 }}, want: "warning disk  | which is little | make room: 1024 MiB"},
		{name: "too little memory", make: steps{func(doc *tree.Document, f *Facts) {
			doc.Container("db").Spec.Memory, doc.Container("dns").Spec.Memory, f.Engine.Memory = 3<<30, 2<<30, 4<<30
			doc.Containers = append(doc.Containers, tree.Container{Host: here, Name: "job", Job: &tree.Job{}, Spec: tree.Spec{Memory: 100 << 30}})
		}}, want: "warning memory  | add up to 5120 MiB, and this host has 4096 MiB | copse top"},
		{name: "an engine that is set up badly", make: steps{func(_ *tree.Document, f *Facts) {
			f.Engine.Version, f.Engine.LiveRestore, f.Engine.StorageDriver, f.Engine.Unlimited = "19.03.15", false, "vfs", []string{"memory", "processes"}
		}}, want: "warning engine  | 19.03.15 is older than 20.10 | upgrade\n" +
			"warning live-restore  | live-restore is off | daemon.json\n" +
			"warning storage-driver  | vfs is slow | overlay2\n" +
			"warning cgroup  | limits of memory and processes are not enforced on this host (control groups of version 2) | cgroup_enable"},
		{name: "no protection", make: steps{func(_ *tree.Document, f *Facts) { f.Engine.SecurityOptions, f.SELinux = []string{}, true }},
			want: "warning seccomp  | system calls | seccomp\nwarning apparmor  | AppArmor | apparmor\nwarning selinux  | SELinux | selinux-enabled"},
		{name: "protection that is not known", make: steps{func(_ *tree.Document, f *Facts) { f.Engine.SecurityOptions = nil }}},
		{name: "another engine", make: steps{func(_ *tree.Document, f *Facts) {
			f.Engine.Name, f.Engine.Version, f.Engine.LiveRestore = "Podman", "4.3.1", false
		}}},
		{name: "a clock that nothing keeps right", make: steps{func(_ *tree.Document, f *Facts) { f.Unsynchronised = true }}, want: "warning clock  | clock | chrony"},
		{name: "no forwarding", make: steps{func(doc *tree.Document, f *Facts) {
			f.NoForwarding = true
			doc.HostPrep = []tree.HostPrep{{Host: here, Set: "net", Veth: []tree.HostVeth{{Name: "a", Peer: "b"}}}}
		}}, want: "warning forwarding  | passes no packets on | ip_forward=1"},
		{name: "no forwarding, and no routers", make: steps{func(_ *tree.Document, f *Facts) { f.NoForwarding = true }}},
		{name: "what cannot be seen", make: steps{func(_ *tree.Document, f *Facts) { f.Unseen = []string{"cannot see the mounts"} }}, want: "warning unseen  | cannot see the mounts | by hand"},
		{name: "refusals first", make: steps{func(_ *tree.Document, f *Facts) { f.Unsynchronised, f.Disks[0].Free = true, 900<<20 }, listens("tcp", "127.0.0.1", 3306, nc)},
			want: "refused port db | taken by | kill\nwarning disk  | little | room\nwarning clock  | clock | chrony"},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc, facts := cloud(), good()
			for _, change := range c.make {
				change(doc, facts)
			}
			starting := map[string]bool{}
			for i := range doc.Containers {
				starting[doc.Containers[i].Name] = c.starting == nil
			}
			for _, name := range c.starting {
				starting[name] = true
			}
			got := Check(Input{Host: here, Document: doc, Starting: starting, Held: c.held}, facts)
			mustFind(t, got, c.want)
		})
	}
}

func mustFind(t *testing.T, got []plan.Finding, want string) {
	t.Helper()
	var wanted []string
	if want != "" {
		wanted = strings.Split(want, "\n")
	}
	if len(got) != len(wanted) {
		t.Fatalf("%d findings, want %d:\n%v", len(got), len(wanted), got)
	}
	for i, f := range got {
		parts := strings.Split(wanted[i], " | ")
		head := string(f.Severity) + " " + f.Check + " " + strings.Join(f.Containers, " ")
		if head != parts[0] || !strings.Contains(f.What, parts[1]) || !strings.Contains(f.Do, parts[2]) {
			t.Errorf("finding %d:\n%s | %s | %s\nwant\n%s", i+1, head, f.What, f.Do, wanted[i])
		}
		if f.Where == "" || f.Do == "" {
			t.Errorf("finding %d says no place or no way out: %+v", i+1, f)
		}
	}
}

// A device that a module may bring, which is loaded before containers start, is no reason to refuse.
func TestDeviceOfAModule(t *testing.T) {
	doc, facts := cloud(), good()
	doc.Container("dns").Spec.Devices = []tree.Device{{Source: "/dev/net/tun"}}
	facts.Devices["/dev/net/tun"] = false
	got := Check(Input{Host: here, Document: doc, Starting: map[string]bool{"dns": true}, Preparing: map[string]bool{"net": true}}, facts)
	mustFind(t, got, "warning device dns | /dev/net/tun | modprobe")
}

func TestClaims(t *testing.T) {
	doc := cloud()
	want := []tree.Port{{Name: "api", Address: "192.0.2.10", Port: 5000, Protocol: "tcp"}, {Name: "api", Address: "127.0.0.1", Port: 5000, Protocol: "tcp"}}
	if diff := cmp.Diff(want, Claims(doc.Container("proxy"), doc)); diff != "" {
		t.Errorf("the proxy claims (-want +got):\n%s", diff)
	}
	if got := Claims(doc.Container("api"), doc); len(got) != 0 {
		t.Errorf("what is behind the proxy claims %v", got)
	}
}
