// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"
	"testing"

	"copse/internal/tree"
)

// TestReplaceAfter gives three containers that need nothing of each other an order for replacements: it
// counts where they are replaced, also across one that stays, and nowhere else.
func TestReplaceAfter(t *testing.T) {
	a, b, c := container("a"), container("b"), container("c")
	b.Update.ReplaceAfter = []string{"a"}
	c.Update.ReplaceAfter = []string{"b", "of-another-host"}
	doc := &tree.Document{Version: tree.DocumentVersion, Cloud: "test", Containers: []tree.Container{a, b, c}}
	state := &State{Host: host, Active: map[string]*tree.Generation{}, Volumes: nil}
	after := func(names ...string) map[string][]string {
		t.Helper()
		p, err := makePlan(Up, doc, state, Options{Names: names})
		if err != nil {
			t.Fatal(err)
		}
		found := map[string][]string{}
		for _, s := range p.Steps {
			found[s.Container] = s.After
		}
		apply(p, doc, state)
		return found
	}
	for name, first := range after() {
		if len(first) > 0 {
			t.Errorf("%s is made after %q", name, first)
		}
	}
	change := func(indexes ...int) {
		for _, i := range indexes {
			doc.Containers[i].Spec.Image += "+"
		}
	}
	change(0, 1, 2)
	if got := after(); !slices.Equal(got["b"], []string{"a"}) || !slices.Equal(got["c"], []string{"b"}) || len(got["a"]) > 0 {
		t.Errorf("all are replaced after %q", got)
	}
	change(0, 2)
	if got := after(); !slices.Equal(got["c"], []string{"a"}) || len(got) != 2 {
		t.Errorf("with b as it was they are replaced after %q", got)
	}
	change(0, 2)
	if got := after("c"); len(got["c"]) > 0 || len(got) != 1 {
		t.Errorf("c alone is replaced after %q", got)
	}
}

// TestProxyAfterHeld: a proxy that starts while requests are held would let some through.
func TestProxyAfterHeld(t *testing.T) {
	proxy, data, other := container("a-proxy"), container("data"), container("other")
	proxy.Proxy = &tree.Proxy{Directory: "/run/proxy"}
	data.Update.Hold = true
	doc := &tree.Document{Version: tree.DocumentVersion, Cloud: "test", Containers: []tree.Container{proxy, data, other}}
	state := &State{Host: host, Active: map[string]*tree.Generation{}}
	p, err := makePlan(Up, doc, state, Options{})
	if err != nil {
		t.Fatal(err)
	}
	apply(p, doc, state)
	for i := range doc.Containers {
		doc.Containers[i].Spec.Image += "+"
	}
	if p, err = makePlan(Up, doc, state, Options{}); err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Steps {
		if want := s.Container == "a-proxy"; slices.Equal(s.After, []string{"data"}) != want {
			t.Errorf("%s is replaced after %q", s.Container, s.After)
		}
	}
}
