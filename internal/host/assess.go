// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"copse/internal/tree"
)

// assess compares what a set asks with what there is. It is pure. The order of what it returns
// is one in which it can be mended: a module may bring interfaces and parameters, an interface
// has parameters of its own.
func assess(prep *tree.HostPrep, f *facts) []need {
	var needs []need
	for _, m := range prep.Modules {
		needs = append(needs, assessModule(m, f.modules[m.Name])...)
	}
	for _, d := range prep.Directories {
		needs = append(needs, assessDirectory(d, f.paths[d.Path])...)
	}
	for _, path := range prep.SharedMounts {
		switch p := f.paths[path]; {
		case p.there && !p.directory:
			needs = append(needs, need{lacks: path + " is no directory and cannot become a shared mount: move it away", refused: true})
		case !p.there || !f.shared[path]:
			needs = append(needs, need{lacks: path + " is not a shared mount", mend: shareMount{path}})
		}
	}
	for _, v := range prep.Veth {
		needs = append(needs, assessVeth(v, f)...)
	}
	for _, name := range tree.SortedKeys(prep.Sysctls) {
		value := prep.Sysctls[name]
		switch now, there := f.parameters[name]; {
		case !there:
			needs = append(needs, need{lacks: fmt.Sprintf("kernel parameter %s is not there", name), mend: setParameter{name, value}})
		case !sameValue(now, value):
			needs = append(needs, need{lacks: fmt.Sprintf("kernel parameter %s is %s instead of %s", name, now, value), mend: setParameter{name, value}})
		}
	}
	return needs
}

// sameValue compares parameters as the kernel reads them: numbers may stand any distance apart.
func sameValue(a, b string) bool {
	return slices.Equal(strings.Fields(a), strings.Fields(b))
}

func assessModule(m tree.HostModule, f moduleFact) []need {
	switch {
	case f.loaded, m.Optional && (!f.available || !f.loadable):
		return nil
	case !f.available:
		return []need{{lacks: fmt.Sprintf("the kernel has no module %s, and nothing of that name in /lib/modules: install the package that brings it", m.Name), refused: true}}
	case !f.loadable:
		return []need{{lacks: fmt.Sprintf("kernel module %s is not loaded, and the agent may not load it: run \"modprobe %s\" on the host", m.Name, m.Name), refused: true}}
	}
	return []need{{lacks: fmt.Sprintf("kernel module %s is not loaded", m.Name), mend: loadModule{m}}}
}

func assessDirectory(d tree.HostDirectory, f pathFact) []need {
	switch {
	case !f.there:
		return []need{{lacks: "directory " + d.Path + " does not exist", mend: makeDirectory{d}}}
	case !f.directory:
		return []need{{lacks: d.Path + " is there and is no directory: move it away", refused: true}}
	case f.mode != d.Mode || f.uid != d.UID || f.gid != d.GID:
		return []need{{
			lacks: fmt.Sprintf("directory %s is %04o %d:%d instead of %04o %d:%d", d.Path, f.mode, f.uid, f.gid, d.Mode, d.UID, d.GID),
			mend:  makeDirectory{d},
		}}
	}
	return nil
}

// assessVeth compares one pair of interfaces. Everything that could cut off somebody else is
// refused: an interface of that name that is something else, an address or a network that
// another interface has.
func assessVeth(v tree.HostVeth, f *facts) []need {
	var refused []need
	refuse := func(format string, args ...any) {
		refused = append(refused, need{lacks: fmt.Sprintf(format, args...), refused: true})
	}
	name, nameThere := f.links[v.Name]
	peer, peerThere := f.links[v.Peer]
	ends := []struct {
		name, other string
		link        linkFact
		there, both bool
	}{{v.Name, v.Peer, name, nameThere, peerThere}, {v.Peer, v.Name, peer, peerThere, nameThere}}
	for _, end := range ends {
		switch {
		case !end.there:
		case end.link.kind != "veth":
			refuse("interface %s is there and is no veth (%s): rename it, or choose another name", end.name, end.link.kind)
		case !end.both:
			refuse("interface %s is there without its other end %s: remove it (ip link delete %s), or choose another name", end.name, end.other, end.name)
		}
	}
	if len(refused) == 0 && nameThere && (name.peer != peer.index || peer.peer != name.index) {
		refuse("interfaces %s and %s are there and are no pair: remove them, or choose other names", v.Name, v.Peer)
	}
	address, err := netip.ParsePrefix(v.Address)
	if err == nil {
		for _, other := range tree.SortedKeys(f.links) {
			if other == v.Name {
				continue
			}
			for _, has := range f.links[other].addresses {
				switch {
				case has.Addr() == address.Addr():
					refuse("address %s belongs to interface %s already: remove it there, or choose another network", address.Addr(), other)
				case has.Overlaps(address):
					refuse("network %s overlaps with that of interface %s (%s), which would be cut off: choose another network", address.Masked(), other, has)
				}
			}
		}
	}
	if len(refused) > 0 {
		return refused
	}
	if !nameThere {
		return []need{{lacks: fmt.Sprintf("the interfaces %s and %s do not exist", v.Name, v.Peer), mend: setVeth{v}}}
	}
	var lacks []string
	for _, end := range ends {
		if !end.link.up {
			lacks = append(lacks, end.name+" is down")
		}
		if v.MTU != 0 && end.link.mtu != v.MTU {
			lacks = append(lacks, fmt.Sprintf("%s has an MTU of %d instead of %d", end.name, end.link.mtu, v.MTU))
		}
	}
	if address.IsValid() && !slices.Contains(name.addresses, address) {
		lacks = append(lacks, fmt.Sprintf("%s does not have the address %s", v.Name, address))
	}
	if len(lacks) == 0 {
		return nil
	}
	return []need{{lacks: "interface " + strings.Join(lacks, ", interface "), mend: setVeth{v}}}
}
