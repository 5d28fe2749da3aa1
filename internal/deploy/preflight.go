// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"fmt"
	"strings"

	"copse/internal/plan"
	"copse/internal/tree"
)

// leastSpace is what must be free for the state directory before anything is begun.
const leastSpace = 256 << 20

// preflight finds what would make a plan fail, before anything is touched: images that are
// missing, ports that others have, a full disk. It names all it finds, each with a way out.
func (d *Deployer) preflight(ctx context.Context, p *plan.Plan, doc *tree.Document) error {
	var problems []string
	for _, image := range p.Build {
		problems = append(problems, fmt.Sprintf("image %s is not on this host: \"copse build\" makes it", image))
	}
	inTheWay, err := d.inTheWay(ctx, p, doc)
	if err != nil {
		return err
	}
	problems = append(problems, inTheWay...)
	declared, err := d.Document()
	if err != nil {
		return err
	}
	problems = append(problems, d.takenPorts(p, doc, declared)...)
	free, err := d.Host.FreeSpace()
	if err != nil {
		return err
	}
	if free < leastSpace {
		problems = append(problems, fmt.Sprintf("%d MiB are free for %s, and %d MiB are needed: make room", free>>20, d.StateDir, leastSpace>>20))
	}
	if len(problems) > 0 {
		return fmt.Errorf("%w: nothing has been touched:\n  %s", ErrInvalid, strings.Join(problems, "\n  "))
	}
	return nil
}

// takenPorts finds the ports that the plan's containers are to listen on and somebody else has.
// Those that they have already are not asked about: declared is the document so far, nil for none.
func (d *Deployer) takenPorts(p *plan.Plan, doc, declared *tree.Document) []string {
	var problems []string
	claims := map[string]string{}
	for _, s := range p.Steps {
		c := doc.Container(s.Container)
		if c == nil || (s.Action != plan.Create && s.Action != plan.Recreate && s.Action != plan.Replace) {
			continue
		}
		held := map[tree.Port]bool{}
		if before := find(declared, s.Container); s.Action == plan.Replace && before != nil {
			for _, claim := range portClaims(before, declared) {
				held[endpoint(claim)] = true
			}
		}
		for _, claim := range portClaims(c, doc) {
			key := fmt.Sprintf("%s port %d at %s", claim.Protocol, claim.Port, claim.Address)
			if other, claimed := claims[key]; claimed && other != c.Name {
				problems = append(problems, fmt.Sprintf("%s is claimed by both %s and %s: change one of them", key, other, c.Name))
				continue
			}
			claims[key] = c.Name
			if held[endpoint(claim)] {
				continue
			}
			who, err := d.Host.Listening(claim.Address, claim.Port, claim.Protocol)
			if err != nil {
				problems = append(problems, err.Error())
				continue
			}
			if who != "" {
				problems = append(problems, fmt.Sprintf("%s is needed by %s and taken by %s: stop that, or give Copse another port or address", key, c.Name, who))
			}
		}
	}
	return problems
}

// find returns a container of a document that may not be there, or nil.
func find(doc *tree.Document, name string) *tree.Container {
	if doc == nil {
		return nil
	}
	return doc.Container(name)
}

// endpoint is where a port is, whatever it is called.
func endpoint(p tree.Port) tree.Port {
	p.Name = ""
	return p
}

// portClaims returns the fixed ports that a container will listen on; the proxy's are those of
// all front ends.
func portClaims(c *tree.Container, doc *tree.Document) []tree.Port {
	claims := append([]tree.Port{}, c.Ports...)
	if c.Proxy == nil {
		return claims
	}
	for i := range doc.Containers {
		f := doc.Containers[i].Frontend
		if f == nil || doc.Containers[i].Host != c.Host {
			continue
		}
		for _, address := range f.Addresses {
			claims = append(claims, tree.Port{Name: f.Name, Address: address, Port: f.Port, Protocol: "tcp"})
		}
	}
	return claims
}
