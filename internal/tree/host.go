// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package tree

// HostPrep is what must be true of a host before the containers of a set start. It belongs to
// the host and not to a container: it is no part of any identity, and replacing a container
// does not touch it.
type HostPrep struct {
	Host string `json:"host"`
	Set  string `json:"set"`
	// SharedMounts are directories that are mount points with shared propagation, so that what
	// is mounted below them in one container is seen in all (mount_namespaces(7)).
	SharedMounts []string        `json:"shared_mounts,omitempty"`
	Directories  []HostDirectory `json:"directories,omitempty"`
	Modules      []HostModule    `json:"modules,omitempty"`
	// Sysctls are kernel parameters by name, e.g. "net.ipv4.ip_forward".
	Sysctls map[string]string `json:"sysctls,omitempty"`
	Veth    []HostVeth        `json:"veth,omitempty"`
}

// HostDirectory is a directory of the host, made where it is missing.
type HostDirectory struct {
	Path string `json:"path"`
	// Mode are the permission bits, with the sticky, set-user and set-group bits in their
	// traditional places (01777).
	Mode uint32 `json:"mode"`
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
}

// HostModule is a module of the kernel.
type HostModule struct {
	Name string `json:"name"`
	// Optional modules are loaded where they exist; that one is missing is no fault.
	Optional bool `json:"optional,omitempty"`
}

// HostVeth is a pair of virtual Ethernet interfaces in the host's network namespace, both up.
type HostVeth struct {
	// Name is the end that has the address; Peer is the end that a bridge takes in.
	Name string `json:"name"`
	Peer string `json:"peer"`
	// Address is one with the length of its prefix, e.g. "198.51.100.1/24"; "" for none.
	Address string `json:"address,omitempty"`
	MTU     int    `json:"mtu,omitempty"` // bytes; 0 leaves the kernel's
}

// HostPreps returns what the sets ask of one host, for all sets or those that keep says.
func (d *Document) HostPreps(host string, keep func(set string) bool) []HostPrep {
	var found []HostPrep
	for _, p := range d.HostPrep {
		if p.Host == host && (keep == nil || keep(p.Set)) {
			found = append(found, p)
		}
	}
	return found
}
