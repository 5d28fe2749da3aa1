// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package preflight finds what on a host stands in the way of a cloud, before anything is
// touched: ports and writable places that two claim, devices, memory and disk that are missing,
// and settings of the engine, the kernel and the clock that will do harm later.
//
// It observes first (Observe, the only part with I/O), then compares (Check, a pure function).
// Each finding names what, where and the way out.
package preflight

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"copse/internal/engine"
	"copse/internal/plan"
	"copse/internal/tree"
)

// Facts are what has been observed of a host. What could not be observed is left at its zero
// value, and nothing is found fault with for it.
type Facts struct {
	// Listeners are the sockets that take connections or datagrams, of IPv4 and IPv6.
	Listeners []Listener
	// Addresses are those of the host's interfaces.
	Addresses []netip.Addr
	// Disks are the places where room is needed.
	Disks []Disk
	// Devices says of each device that was asked about whether the host has it.
	Devices map[string]bool
	// Shared says of each path that was asked about whether it lies on a shared mount.
	Shared map[string]bool
	Engine engine.Info
	// Unsynchronised is set where the kernel says that nothing keeps its clock right.
	Unsynchronised bool
	// AppArmor and SELinux say what the kernel enforces.
	AppArmor, SELinux bool
	// NoForwarding is set where the host passes no packets on between its interfaces.
	NoForwarding bool
	// Unseen says why something could not be observed, in words.
	Unseen []string
}

// Listener is a socket that takes connections or datagrams.
type Listener struct {
	Protocol string // "tcp" or "udp"
	Address  netip.Addr
	Port     int
	Owner    Owner
}

// Owner is who holds a socket; the zero value is somebody who cannot be seen.
type Owner struct {
	PID     int
	Command string
	// Container is the engine's name for the container that the process is in, Declared the name
	// that the container has in the cloud.
	Container, Declared string
	// Unit is the systemd unit that the process belongs to.
	Unit string
}

// String names the owner as well as it is known.
func (o Owner) String() string {
	if o.PID == 0 {
		return "a process that cannot be seen from here"
	}
	name := fmt.Sprintf("process %d (%s)", o.PID, o.Command)
	switch {
	case o.Container != "":
		name += " in container " + o.Container
	case o.Unit != "":
		name += " of unit " + o.Unit
	}
	return name
}

// Disk is a file system.
type Disk struct {
	// Path is where it was looked at, For what lies there.
	Path, For string
	// Free is in bytes.
	Free int64
	// Least is refused below, Little warned about.
	Least, Little int64
}

// Input is what is compared.
type Input struct {
	// Host is the name of this host in the document.
	Host     string
	Document *tree.Document
	// Starting are the containers that are to be started, by name.
	Starting map[string]bool
	// Held are the ports that a container of the document has already, by its name, whatever can
	// be seen of its processes.
	Held map[string][]tree.Port
	// Preparing are the sets that something of the host will be made true for before containers
	// start: what is missing may come with it.
	Preparing map[string]bool
}

// Check returns what it finds: refusals first, in an order that depends on the input alone.
func Check(in Input, f *Facts) []plan.Finding {
	if in.Document == nil {
		return nil
	}
	var starting, all []*tree.Container
	for i := range in.Document.Containers {
		c := &in.Document.Containers[i]
		if c.Host != in.Host {
			continue
		}
		all = append(all, c)
		if in.Starting[c.Name] {
			starting = append(starting, c)
		}
	}
	var findings []plan.Finding
	for _, found := range [][]plan.Finding{
		portsClaimedTwice(&in, all),
		portsTaken(&in, starting, f),
		placesClaimedTwice(&in, all),
		devices(&in, starting, f),
		propagation(&in, starting, f),
		disks(f),
		memory(all, f),
		settings(&in, f),
	} {
		findings = append(findings, found...)
	}
	rank := func(s plan.Severity) int { return slices.Index([]plan.Severity{plan.Refused, plan.Warning}, s) }
	slices.SortStableFunc(findings, func(a, b plan.Finding) int { return cmp.Compare(rank(a.Severity), rank(b.Severity)) })
	return findings
}

// names are those of containers, in order.
func names(containers ...*tree.Container) []string {
	var all []string
	for _, c := range containers {
		all = append(all, c.Name)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// and joins words: "a", "a and b", "a, b and c".
func and(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
