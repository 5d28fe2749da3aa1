// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// observeLinks returns all network interfaces with their addresses.
func (e *edge) observeLinks() (map[string]linkFact, error) {
	links, err := e.links.LinkList()
	if err != nil {
		return nil, fmt.Errorf("cannot list the network interfaces: %w", err)
	}
	addresses, err := e.links.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("cannot list the addresses of the network interfaces: %w", err)
	}
	byIndex := map[int][]netip.Prefix{}
	for _, a := range addresses {
		if prefix, ok := prefixOf(a.IPNet); ok {
			byIndex[a.LinkIndex] = append(byIndex[a.LinkIndex], prefix)
		}
	}
	found := make(map[string]linkFact, len(links))
	for _, l := range links {
		a := l.Attrs()
		fact := linkFact{
			index: a.Index, kind: l.Type(), up: a.Flags&net.FlagUp != 0, mtu: a.MTU, addresses: byIndex[a.Index],
		}
		if a.NetNsID < 0 { // the index is one of this namespace
			fact.peer = a.ParentIndex
		}
		found[a.Name] = fact
	}
	return found, nil
}

// prefixOf keeps the bits of the host, unlike a network.
func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	address, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(address.Unmap(), bits), ok
}

// do makes the pair, or makes the one that is there as declared.
func (v setVeth) do(e *edge) (string, error) {
	made := "made as declared"
	name, err := e.links.LinkByName(v.Name)
	if missing := new(netlink.LinkNotFoundError); errors.As(err, missing) {
		made = "made"
		attributes := netlink.NewLinkAttrs()
		attributes.Name, attributes.MTU = v.Name, v.MTU
		pair := &netlink.Veth{LinkAttrs: attributes, PeerName: v.Peer, PeerMTU: uint32(v.MTU)}
		if err = e.links.LinkAdd(pair); err == nil {
			name, err = e.links.LinkByName(v.Name)
		}
	}
	if err != nil {
		return "", fmt.Errorf("cannot make the interfaces %s and %s: %w", v.Name, v.Peer, err)
	}
	peer, err := e.links.LinkByName(v.Peer)
	if err != nil {
		return "", fmt.Errorf("cannot find interface %s: %w", v.Peer, err)
	}
	for _, end := range []netlink.Link{name, peer} {
		if v.MTU != 0 && end.Attrs().MTU != v.MTU {
			if err := e.links.LinkSetMTU(end, v.MTU); err != nil {
				return "", fmt.Errorf("cannot give interface %s an MTU of %d: %w", end.Attrs().Name, v.MTU, err)
			}
		}
	}
	if v.Address != "" {
		address, err := netlink.ParseAddr(v.Address)
		if err != nil {
			return "", fmt.Errorf("cannot read address %s: %w", v.Address, err)
		}
		if err := e.links.AddrReplace(name, address); err != nil && !errors.Is(err, unix.EEXIST) {
			return "", fmt.Errorf("cannot give interface %s the address %s: %w", v.Name, v.Address, err)
		}
	}
	for _, end := range []netlink.Link{name, peer} {
		if err := e.links.LinkSetUp(end); err != nil {
			return "", fmt.Errorf("cannot bring up interface %s: %w", end.Attrs().Name, err)
		}
	}
	return fmt.Sprintf("the interfaces %s and %s are %s", v.Name, v.Peer, made), nil
}
