// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"copse/internal/change"
	"copse/internal/tree"
)

// TestPortsOfOthersAreNotAssigned: a container behind the proxy gets a port that nobody has.
func TestPortsOfOthersAreNotAssigned(t *testing.T) {
	w := newWorld(t)
	w.taken[20000], w.taken[20001] = 77, 78
	mustEnd(t, w.do(up(held(nil))), change.Done)
	ports := []int{w.active("api").Port, w.active("caller").Port}
	slices.Sort(ports)
	if !slices.Equal(ports, []int{20002, 20003}) {
		t.Errorf("the ports %v are assigned; 20000 and 20001 are taken", ports)
	}
}

// TestAllPortsInTheWayAreNamed: two services given one port, and one that somebody else has, are both said
// at once, before anything starts.
func TestAllPortsInTheWayAreNamed(t *testing.T) {
	w := newWorld(t)
	w.taken[5000] = 77
	doc := cloud()
	for _, name := range []string{"db", "worker"} {
		doc.Container(name).Ports = []tree.Port{{Address: "127.0.0.1", Port: 3306, Protocol: "tcp"}}
	}
	l := w.begin(0)
	defer l.end()
	_, _, err := l.deployer.Submit(context.Background(), up(doc))
	if !errors.Is(err, ErrInvalid) {
		t.Fatalf("error %v; want a refusal", err)
	}
	for _, want := range []string{
		"tcp 192.0.2.1:5000 is needed by proxy (for api) and taken by process 77 (nc)",
		"tcp 127.0.0.1:3306 is claimed by both db and worker", "nothing has been touched",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the refusal does not say %q:\n%v", want, err)
		}
	}
	if changes := w.engine.Changes(); len(changes) != 0 {
		t.Errorf("it has touched the engine: %v", changes)
	}
}
