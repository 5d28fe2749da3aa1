// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"net/netip"

	"copse/internal/tree"
)

// facts are what has been observed of a host, as far as it was asked about.
type facts struct {
	// shared says of a directory whether the mount that it lies on is shared; one that is
	// missing lies where it would be made.
	shared  map[string]bool
	paths   map[string]pathFact
	modules map[string]moduleFact
	// parameters are the kernel's by name; one that it does not have is not there.
	parameters map[string]string
	links      map[string]linkFact
}

// pathFact is what is found at a path, without following a link in its last element.
type pathFact struct {
	there     bool
	directory bool
	mode      uint32 // as in tree.HostDirectory
	uid, gid  int
}

// moduleFact is what the kernel and its directory of modules say.
type moduleFact struct {
	loaded bool
	// available says that there is a file to load; loadable that this process may try.
	available, loadable bool
}

// linkFact is a network interface.
type linkFact struct {
	index     int
	kind      string // "veth", "bridge"…; "device" for real ones
	peer      int    // index of the other end of a veth; 0 where it is in another namespace
	up        bool
	mtu       int
	addresses []netip.Prefix
}

// need is one thing that the host lacks of what is asked.
type need struct {
	// lacks says it in words.
	lacks string
	// refused is set where something is in the way that must not be touched; lacks says what.
	refused bool
	mend    operation
}

// operation is one way to mend a host. Done again, it changes nothing more.
type operation interface {
	// do returns in words what was done.
	do(*edge) (string, error)
}

// The operations.
type (
	shareMount    struct{ path string }
	makeDirectory struct{ tree.HostDirectory }
	loadModule    struct{ tree.HostModule }
	setParameter  struct{ name, value string }
	setVeth       struct{ tree.HostVeth }
)
