// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"copse/internal/plan"
	"copse/internal/tree"
)

// claim is a container's claim of a port.
type claim struct {
	container *tree.Container
	// of is the container whose front end it is, where container is the proxy.
	of      string
	address netip.Addr
	port    tree.Port
}

// where names the port.
func (c *claim) where() string {
	return c.port.Protocol + " " + net.JoinHostPort(c.port.Address, strconv.Itoa(c.port.Port))
}

// who names the claimant; a front end's port is changed where the front end is declared.
func (c *claim) who() string {
	if c.of != "" {
		return fmt.Sprintf("%s (for %s)", c.container.Name, c.of)
	}
	return c.container.Name
}

// Claims returns the fixed ports that a container listens on; the proxy's are those of all front
// ends of its host. A container with a network of its own claims none of the host's.
func Claims(c *tree.Container, doc *tree.Document) []tree.Port {
	var ports []tree.Port
	for _, one := range claims(c, doc) {
		ports = append(ports, one.port)
	}
	return ports
}

func claims(c *tree.Container, doc *tree.Document) []claim {
	if c.Spec.NetworkMode == "none" || c.Spec.NetworkMode == "bridge" {
		return nil
	}
	var made []claim
	add := func(of string, p tree.Port) {
		if p.Protocol == "" {
			p.Protocol = "tcp"
		}
		// An address that cannot be read overlaps with none.
		address, _ := netip.ParseAddr(p.Address)
		made = append(made, claim{container: c, of: of, address: address.Unmap(), port: p})
	}
	for _, p := range c.Ports {
		add("", p)
	}
	if c.Proxy == nil {
		return made
	}
	for i := range doc.Containers {
		behind := &doc.Containers[i]
		if behind.Frontend == nil || behind.Host != c.Host {
			continue
		}
		seen := map[string]bool{}
		for _, address := range behind.Frontend.Addresses {
			if !seen[address] {
				seen[address] = true
				add(behind.Name, tree.Port{Name: behind.Frontend.Name, Address: address, Port: behind.Frontend.Port, Protocol: "tcp"})
			}
		}
	}
	return made
}

// overlap tells whether two sockets cannot have one port: an unspecified address stands for all,
// that of IPv6 for those of IPv4 as well (ip(7), ipv6(7): IPV6_V6ONLY is off by default).
func overlap(a, b netip.Addr) bool {
	if !a.IsValid() || !b.IsValid() {
		return false
	}
	if a == b {
		return true
	}
	covers := func(wide, narrow netip.Addr) bool {
		return wide.IsUnspecified() && (wide.Is6() || narrow.Is4())
	}
	return covers(a, b) || covers(b, a)
}

// portsClaimedTwice finds ports that two containers of the document are to listen on, where at
// least one of them is about to start.
func portsClaimedTwice(in *Input, all []*tree.Container) []plan.Finding {
	var findings []plan.Finding
	type place struct {
		protocol string
		port     int
	}
	before := map[place][]claim{}
	reported := map[string]bool{}
	for _, c := range all {
		for _, mine := range claims(c, in.Document) {
			at := place{mine.port.Protocol, mine.port.Port}
			for _, other := range before[at] {
				same := other.container == mine.container && other.of == mine.of
				if same || !overlap(other.address, mine.address) || !in.Starting[c.Name] && !in.Starting[other.container.Name] &&
					!in.Starting[mine.of] && !in.Starting[other.of] {
					continue
				}
				key := fmt.Sprint(at, other.who(), mine.who())
				if reported[key] {
					continue
				}
				reported[key] = true
				where := mine.where()
				if mine.address.IsUnspecified() {
					where = other.where()
				}
				what := fmt.Sprintf("%s is claimed by both %s and %s", where, other.who(), mine.who())
				if mine.address != other.address {
					what += fmt.Sprintf(": %s takes the port at every address", map[bool]string{true: mine.who(), false: other.who()}[mine.address.IsUnspecified()])
				}
				findings = append(findings, plan.Finding{
					Severity: plan.Refused, Check: "port", Containers: names(other.container, c), Where: where, What: what,
					Do: "give one of them another port or address, with a value (`copse values` lists them) or in its compose.yaml",
				})
			}
			before[at] = append(before[at], mine)
		}
	}
	return findings
}

// portsTaken finds ports that somebody else listens on already, and addresses that this host
// does not have.
func portsTaken(in *Input, starting []*tree.Container, f *Facts) []plan.Finding {
	var findings []plan.Finding
	strange := map[netip.Addr]bool{}
	for _, c := range starting {
		held := map[tree.Port]bool{}
		for _, p := range in.Held[c.Name] {
			held[endpoint(p)] = true
		}
		for _, mine := range claims(c, in.Document) {
			if held[endpoint(mine.port)] {
				continue
			}
			if !mine.address.IsValid() || !f.has(mine.address) {
				if !strange[mine.address] {
					strange[mine.address] = true
					findings = append(findings, plan.Finding{
						Severity: plan.Refused, Check: "address", Containers: names(c), Where: mine.port.Address,
						What: fmt.Sprintf("cannot listen at %s, as %s is to: this host does not have that address", mine.port.Address, mine.who()),
						Do:   "set ADDRESS, or INTERNAL_ADDRESS, to one that it has (`ip address` lists them)",
					})
				}
				continue
			}
			if finding := taken(mine, f); finding != nil {
				findings = append(findings, *finding)
			}
		}
	}
	return findings
}

func taken(mine claim, f *Facts) *plan.Finding {
	for _, l := range f.Listeners {
		if l.Protocol != mine.port.Protocol || l.Port != mine.port.Port || !overlap(l.Address, mine.address) || l.Owner.Declared == mine.container.Name {
			continue
		}
		where := mine.where()
		at := ""
		if l.Address != mine.address {
			at = ", which listens at " + l.Address.String()
			if l.Address.IsUnspecified() {
				at = ", which listens at every address"
			}
		}
		do := fmt.Sprintf("stop it (kill %d), or give Copse another port or address", l.Owner.PID)
		switch {
		case l.Owner.PID == 0:
			do = fmt.Sprintf("find it with `ss -lnp 'sport = %d'` and stop it, or give Copse another port or address", mine.port.Port)
		case l.Owner.Declared != "":
			do = fmt.Sprintf("it is this cloud's own: `copse stop %s`, or give one of them another port", l.Owner.Declared)
		case l.Owner.Container != "":
			do = fmt.Sprintf("stop it (docker stop %s), or give Copse another port or address", l.Owner.Container)
		case l.Owner.Unit != "":
			do = fmt.Sprintf("stop it (systemctl disable --now %s), or give Copse another port or address", l.Owner.Unit)
		}
		return &plan.Finding{
			Severity: plan.Refused, Check: "port", Containers: names(mine.container), Where: where,
			What: fmt.Sprintf("%s is needed by %s and taken by %s%s", where, mine.who(), l.Owner, at), Do: do,
		}
	}
	return nil
}

// has tells whether the host can listen at an address. Where its addresses are not known, and for
// IPv4's loopback network as a whole, it can.
func (f *Facts) has(address netip.Addr) bool {
	if len(f.Addresses) == 0 || address.IsUnspecified() || address.Is4() && address.IsLoopback() {
		return true
	}
	for _, a := range f.Addresses {
		if a.Unmap().WithZone("") == address.WithZone("") {
			return true
		}
	}
	return false
}

// endpoint is where a port is, whatever it is called.
func endpoint(p tree.Port) tree.Port {
	p.Name = ""
	if p.Protocol == "" {
		p.Protocol = "tcp"
	}
	return p
}
