// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"copse/internal/plan"
	"copse/internal/tree"
)

// devices finds devices that containers are given and the host does not have.
func devices(in *Input, starting []*tree.Container, f *Facts) []plan.Finding {
	users := map[string][]*tree.Container{}
	for _, c := range starting {
		for _, d := range c.Spec.Devices {
			if there, asked := f.Devices[d.Source]; asked && !there {
				users[d.Source] = append(users[d.Source], c)
			}
		}
	}
	var findings []plan.Finding
	for _, device := range tree.SortedKeys(users) {
		finding := plan.Finding{
			Severity: plan.Refused, Check: "device", Containers: names(users[device]...), Where: device,
			What: fmt.Sprintf("%s, which %s is given, is not on this host", device, and(names(users[device]...))),
			Do:   "load the kernel module that brings it (modprobe), or choose another device (`copse values`)",
		}
		// A module that is loaded first may bring it.
		if slices.ContainsFunc(users[device], func(c *tree.Container) bool { return in.Preparing[c.Set] }) {
			finding.Severity = plan.Warning
		}
		findings = append(findings, finding)
	}
	return findings
}

// propagation finds binds that are to share mounts from a place that shares none. Those that a
// set has made shared before containers start are its own matter.
func propagation(in *Input, starting []*tree.Container, f *Facts) []plan.Finding {
	var prepared []string
	for i := range in.Document.HostPrep {
		prepared = append(prepared, in.Document.HostPrep[i].SharedMounts...)
	}
	var findings []plan.Finding
	for _, c := range starting {
		for _, m := range c.Spec.Mounts {
			if m.Type != tree.Bind || !strings.Contains(m.Propagation, "shared") && !strings.Contains(m.Propagation, "slave") {
				continue
			}
			shared, asked := f.Shared[m.Source]
			if !asked || shared || slices.ContainsFunc(prepared, func(top string) bool { return below(m.Source, top) }) {
				continue
			}
			findings = append(findings, plan.Finding{
				Severity: plan.Refused, Check: "propagation", Containers: names(c), Where: m.Source,
				What: fmt.Sprintf("%s is to be mounted %s in %s, and it lies on no shared mount", m.Source, m.Propagation, c.Name),
				Do:   "declare it below x-copse.host.shared_mounts of its set, or run `mount --make-rshared` on the mount that it lies on",
			})
		}
	}
	return findings
}

func disks(f *Facts) []plan.Finding {
	var findings []plan.Finding
	for _, d := range f.Disks {
		finding := plan.Finding{Check: "disk", Where: d.Path}
		switch {
		case d.Free < d.Least:
			finding.Severity = plan.Refused
			finding.What = fmt.Sprintf("%d MiB are free for %s (%s), and %d MiB are needed", d.Free>>20, d.Path, d.For, d.Least>>20)
			finding.Do = "make room there"
		case d.Free < d.Little:
			finding.Severity = plan.Warning
			finding.What = fmt.Sprintf("%d MiB are free for %s (%s), which is little: the cloud stands still when it is full", d.Free>>20, d.Path, d.For)
			finding.Do = fmt.Sprintf("make room: %d MiB is what to keep free", d.Little>>20)
		default:
			continue
		}
		findings = append(findings, finding)
	}
	return findings
}

// memory compares the limits of all services with what the host has. Jobs come and go.
func memory(all []*tree.Container, f *Facts) []plan.Finding {
	var sum int64
	for _, c := range all {
		if c.Job == nil {
			sum += c.Spec.Memory
		}
	}
	if f.Engine.Memory == 0 || sum <= f.Engine.Memory {
		return nil
	}
	return []plan.Finding{{
		Severity: plan.Warning, Check: "memory", Where: "memory",
		What: fmt.Sprintf("memory: the limits of all containers add up to %d MiB, and this host has %d MiB", sum>>20, f.Engine.Memory>>20),
		Do:   "nothing, while they use less (`copse top` shows it); where they do not, give the host more memory, or some containers lower limits",
	}}
}

// slowStorage are storage drivers that copy whole files or directories to change one, or have
// been given up by the engine.
func slowStorage(driver string) bool {
	return slices.Contains([]string{"vfs", "devicemapper", "aufs", "overlay"}, driver)
}

// oldestEngine is the first engine that Copse is tested with.
const oldestEngine = "20.10"

// settings finds what is set otherwise than it should be, on the host and in its engine.
func settings(in *Input, f *Facts) []plan.Finding {
	var findings []plan.Finding
	warn := func(check, where, what, do string) {
		findings = append(findings, plan.Finding{Severity: plan.Warning, Check: check, Where: where, What: where + ": " + what, Do: do})
	}
	e := &f.Engine
	docker := e.Name == "Docker Engine"
	if docker && e.Version != "" && olderVersion(e.Version, oldestEngine) {
		warn("engine", "container engine", fmt.Sprintf("%s is older than %s, the oldest that Copse is tested with", e.Version, oldestEngine), "upgrade it")
	}
	if docker && !e.LiveRestore {
		warn("live-restore", "container engine", "live-restore is off: when the engine restarts, so does every container of the cloud",
			`set "live-restore": true in /etc/docker/daemon.json and have the engine read it (kill -HUP, or systemctl reload docker)`)
	}
	if slowStorage(e.StorageDriver) {
		warn("storage-driver", "container engine", fmt.Sprintf("the storage driver %s is slow, or given up", e.StorageDriver), `use overlay2: "storage-driver": "overlay2" in /etc/docker/daemon.json`)
	}
	if len(e.Unlimited) > 0 {
		warn("cgroup", "container engine", fmt.Sprintf("limits of %s are not enforced on this host (control groups of version %s): a container that runs wild takes the others with it", and(e.Unlimited), orUnknown(e.CgroupVersion)),
			"enable the controllers, on Debian with cgroup_enable=memory on the kernel's command line")
	}
	if e.SecurityOptions != nil {
		protects := func(name string) bool { return slices.Contains(e.SecurityOptions, name) }
		if !protects("seccomp") {
			warn("seccomp", "container engine", "it does not filter system calls (seccomp): containers reach all of the kernel", "use an engine and a kernel that are built with seccomp")
		}
		if f.AppArmor && !protects("apparmor") {
			warn("apparmor", "container engine", "the kernel has AppArmor and the engine does not use it", "install the package apparmor and restart the engine")
		}
		if f.SELinux && !protects("selinux") {
			warn("selinux", "container engine", "the kernel enforces SELinux and the engine does not use it", `set "selinux-enabled": true in /etc/docker/daemon.json`)
		}
	}
	if f.Unsynchronised {
		warn("clock", "clock", "nothing keeps this host's clock right: tokens and certificates are refused when it is off",
			"run a time service (chrony or systemd-timesyncd) on the host, or see to it that the hypervisor does")
	}
	if f.NoForwarding && slices.ContainsFunc(in.Document.HostPrep, func(p tree.HostPrep) bool { return p.Host == in.Host && len(p.Veth) > 0 }) {
		warn("forwarding", "net.ipv4.ip_forward", "this host passes no packets on: floating IPs are reached from it alone, and virtual machines reach nothing beyond it",
			"set net.ipv4.ip_forward=1 (sysctl), where the provider network is to be reached through this host")
	}
	for _, unseen := range f.Unseen {
		warn("unseen", "preflight", unseen, "look at it by hand")
	}
	return findings
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// olderVersion compares the first two numbers of versions such as "20.10.24+dfsg1"; one that
// cannot be read is not older.
func olderVersion(version, than string) bool {
	a, aOK := numbers(version)
	b, bOK := numbers(than)
	return aOK && bOK && slices.Compare(a, b) < 0
}

func numbers(version string) ([]int, bool) {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return nil, false
	}
	var found []int
	for _, part := range parts[:2] {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, false
		}
		found = append(found, n)
	}
	return found, true
}
