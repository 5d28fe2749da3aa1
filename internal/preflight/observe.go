// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"copse/internal/engine"
	"copse/internal/procfs"
	"copse/internal/tree"
)

// Bounds of free space: below the first a change is refused, below the second it is warned of.
const (
	leastState, littleState   = 256 << 20, 1 << 30
	leastEngine, littleEngine = 1 << 30, 5 << 30
)

// Engine is what is asked of a container engine.
type Engine interface {
	Info(ctx context.Context) (engine.Info, error)
	List(ctx context.Context, labels map[string]string) ([]engine.Container, error)
}

// Observer looks at the host that it runs on. It is safe for concurrent use, and changes nothing.
type Observer struct {
	Engine Engine
	// EnginePID returns the engine's process, whose root is the host's; nil where it cannot be
	// seen, and then nothing is found out about devices, mounts and the engine's disk.
	EnginePID func(ctx context.Context) (int, error)
	// StateDir is the agent's directory.
	StateDir string
	// Proc is where the proc file system is; "" is the usual place.
	Proc procfs.Dir
}

// Observe looks at all that Check compares a document with. What cannot be seen is said in
// Facts.Unseen; only an engine that does not answer is an error.
func (o *Observer) Observe(ctx context.Context, doc *tree.Document, host string) (*Facts, error) {
	if o.Proc == "" {
		o = &Observer{Engine: o.Engine, EnginePID: o.EnginePID, StateDir: o.StateDir, Proc: procfs.Proc}
	}
	f := &Facts{Devices: map[string]bool{}, Shared: map[string]bool{}}
	unseen := func(err error) {
		if err != nil {
			f.Unseen = append(f.Unseen, err.Error())
		}
	}
	var err error
	if f.Engine, err = o.Engine.Info(ctx); err != nil {
		return nil, err
	}
	containers, err := o.Engine.List(ctx, nil)
	if err != nil {
		return nil, err
	}
	f.Listeners, err = o.listeners(claimed(doc, host), containers)
	unseen(err)
	f.Addresses, err = addresses()
	unseen(err)
	f.Disks = append(f.Disks, Disk{Path: o.StateDir, For: "what the agent keeps", Least: leastState, Little: littleState})
	f.Disks[0].Free, err = free(o.StateDir)
	if err != nil {
		unseen(err)
		f.Disks = nil
	}
	f.Unsynchronised = unsynchronised()
	f.NoForwarding = content(filepath.Join(string(o.Proc), "sys/net/ipv4/ip_forward")) == "0"
	if o.EnginePID == nil {
		return f, nil
	}
	pid, err := o.EnginePID(ctx)
	if err != nil {
		unseen(err)
		return f, nil
	}
	process := filepath.Join(string(o.Proc), strconv.Itoa(pid))
	unseen(o.look(f, doc, host, process))
	return f, nil
}

// look looks at the file systems of the engine's process, which are the host's.
func (o *Observer) look(f *Facts, doc *tree.Document, host, process string) error {
	root := filepath.Join(process, "root")
	f.AppArmor = content(filepath.Join(root, "sys/module/apparmor/parameters/enabled")) == "Y"
	f.SELinux = content(filepath.Join(root, "sys/fs/selinux/enforce")) == "1"
	var faults []error
	if data := f.Engine.DataRoot; data != "" {
		space, err := free(filepath.Join(root, data))
		faults = append(faults, err)
		if err == nil {
			f.Disks = append(f.Disks, Disk{Path: data, For: "images, containers and volumes", Free: space, Least: leastEngine, Little: littleEngine})
		}
	}
	mounts, err := mountsOf(process)
	faults = append(faults, err)
	for i := range doc.Containers {
		c := &doc.Containers[i]
		if c.Host != host {
			continue
		}
		for _, d := range c.Spec.Devices {
			_, err := os.Lstat(filepath.Join(root, d.Source))
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				f.Devices[d.Source] = err == nil
			}
		}
		for _, m := range c.Spec.Mounts {
			if m.Type == tree.Bind && m.Propagation != "" && len(mounts) > 0 {
				f.Shared[m.Source] = onSharedMount(mounts, m.Source)
			}
		}
	}
	return errors.Join(faults...)
}

// mountsOf reads the mounts that a process sees; process is its directory of the proc file system.
func mountsOf(process string) ([]*mountinfo.Info, error) {
	table, err := os.Open(filepath.Join(process, "mountinfo"))
	if err != nil {
		return nil, fmt.Errorf("cannot see the host's mounts: %w", err)
	}
	defer table.Close()
	mounts, err := mountinfo.GetMountsFromReader(table, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot see the host's mounts: %w", err)
	}
	return mounts, nil
}

// endpointKey is a port of the host at any address.
type endpointKey struct {
	protocol string
	port     int
}

// claimed are the ports that a document's containers on a host will listen on.
func claimed(doc *tree.Document, host string) map[endpointKey]bool {
	ports := map[endpointKey]bool{}
	for i := range doc.Containers {
		if c := &doc.Containers[i]; c.Host == host {
			for _, p := range Claims(c, doc) {
				ports[endpointKey{p.Protocol, p.Port}] = true
			}
		}
	}
	return ports
}

// listeners finds who listens on the ports, in this process's network namespace.
func (o *Observer) listeners(ports map[endpointKey]bool, containers []engine.Container) ([]Listener, error) {
	sockets, err := o.Proc.Sockets(procfs.TCP, procfs.TCP6, procfs.UDP, procfs.UDP6)
	if err != nil {
		return nil, fmt.Errorf("cannot see who listens on this host: %w", err)
	}
	var found []Listener
	var inodes []uint64
	for _, s := range sockets {
		key := endpointKey{strings.TrimSuffix(string(s.Network), "6"), int(s.Local.Port())}
		if s.State != procfs.Listening || !ports[key] {
			continue
		}
		found = append(found, Listener{Protocol: key.protocol, Address: s.Local.Addr(), Port: key.port})
		inodes = append(inodes, s.Inode)
	}
	owners, _, err := o.Proc.Owners(inodes)
	if err != nil {
		return found, fmt.Errorf("cannot see whose the listening sockets are: %w", err)
	}
	known := map[int]Owner{}
	for i, inode := range inodes {
		pids := owners[inode]
		if len(pids) == 0 {
			continue
		}
		pid := slices.Min(pids)
		owner, seen := known[pid]
		if !seen {
			owner = o.owner(pid, containers)
			known[pid] = owner
		}
		found[i].Owner = owner
	}
	return found, nil
}

// owner names a process; one that ends meanwhile has no name.
func (o *Observer) owner(pid int, containers []engine.Container) Owner {
	process, err := o.Proc.Process(pid)
	if err != nil {
		return Owner{}
	}
	owner := Owner{PID: pid, Command: shortened(process.Command())}
	groups := content(filepath.Join(string(o.Proc), strconv.Itoa(pid), "cgroup"))
	owner.Declared, owner.Unit = ownGroup(groups), unit(groups)
	for i := range containers {
		if c := &containers[i]; c.ID != "" && strings.Contains(groups, c.ID) {
			owner.Container, owner.Declared = c.Name, c.Labels[tree.LabelContainer]
		}
	}
	return owner
}

// shortened cuts a command line to what tells programs apart.
func shortened(command string) string {
	const most = 80
	if runes := []rune(command); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return command
}

// ownGroup is the container whose service has left its control group for one of its own,
// /copse/NAME, or "".
func ownGroup(groups string) string {
	for line := range strings.Lines(groups) {
		if _, name, found := strings.Cut(strings.TrimSpace(line), ":/copse/"); found && !strings.Contains(name, "/") {
			return name
		}
	}
	return ""
}

// unit is the systemd unit in a process's control groups (cgroups(7): hierarchy:controllers:path),
// or "".
func unit(groups string) string {
	for line := range strings.Lines(groups) {
		elements := strings.Split(strings.TrimSpace(line), "/")
		for _, element := range slices.Backward(elements) {
			if strings.HasSuffix(element, ".service") {
				return element
			}
		}
	}
	return ""
}

// addresses are those of the interfaces in this process's network namespace.
func addresses() ([]netip.Addr, error) {
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("cannot see this host's addresses: %w", err)
	}
	var all []netip.Addr
	for _, a := range found {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, prefix.Addr())
		}
	}
	return all, nil
}

func free(path string) (int64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(path, &fs); err != nil {
		return 0, fmt.Errorf("cannot tell how much space is free for %s: %w", path, err)
	}
	return int64(fs.Bavail) * fs.Bsize, nil
}

// unsynchronised asks the kernel whether anything keeps its clock right (adjtimex(2)).
func unsynchronised() bool {
	var now unix.Timex
	state, err := unix.Adjtimex(&now)
	return err == nil && (state == unix.TIME_ERROR || now.Status&unix.STA_UNSYNC != 0)
}

// content is a small file's, without blanks around it; "" where it cannot be read.
func content(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// onSharedMount tells whether the mount that a path lies on shares what is mounted below it (the tag
// shared:N of proc_pid_mountinfo(5)). Of mounts on one place the last one counts.
func onSharedMount(mounts []*mountinfo.Info, path string) bool {
	longest, shared := -1, false
	for _, m := range mounts {
		if !below(path, m.Mountpoint) || len(m.Mountpoint) < longest {
			continue
		}
		longest = len(m.Mountpoint)
		shared = slices.ContainsFunc(strings.Fields(m.Optional), func(tag string) bool { return strings.HasPrefix(tag, "shared:") })
	}
	return shared
}
