// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"copse/internal/tree"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const host = "host1"

// began is when the volumes of these tests were made; jobs ran after it.
var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// makePlan is Decide for tests that look at the plan alone.
func makePlan(kind Kind, document *tree.Document, state *State, options Options) (*Plan, error) {
	decision, err := Decide(kind, document, state, options)
	if err != nil {
		return nil, err
	}
	return decision.Plan, nil
}

func container(name string, on ...string) tree.Container {
	c := tree.Container{
		Host: host, Set: "set", Name: name, Component: name, Release: "2025.1",
		Spec: tree.Spec{Image: "copse/" + name + ":1", Environment: map[string]string{"A": "1"}},
	}
	for _, d := range on {
		c.Depends = append(c.Depends, tree.Dependency{Name: d, Condition: tree.Healthy})
	}
	return c
}

func job(name, volume string, on ...string) tree.Container {
	c := container(name, on...)
	c.Job = &tree.Job{Writes: []string{volume}}
	return c
}

// chain is a ← b ← c ← d: each waits for the one before it; j is a job between a and b.
func chain() *tree.Document {
	d := container("d", "c")
	d.Frontend = &tree.Frontend{Name: "d", Port: 80, Addresses: []string{"192.0.2.1"}}
	d.Update.Order = tree.StartFirst
	return &tree.Document{
		Version: tree.DocumentVersion, Cloud: "test",
		Containers: []tree.Container{container("a"), job("j", "v", "a"), container("b", "a", "j"), container("c", "b"), d},
		Volumes:    []tree.Volume{{Host: host, Name: "v"}},
	}
}

// apply does to a state what a plan says, as an agent would.
func apply(p *Plan, doc *tree.Document, s *State) {
	next := 100
	for _, g := range s.Active {
		next = max(next, g.Number)
	}
	put := func(step Step) {
		c := *doc.Container(step.Container)
		number := step.From
		if step.Action != Recreate {
			next++
			number = next
		} else {
			c = s.Active[step.Container].Container
		}
		remove(s, step.Container)
		g := &tree.Generation{Number: number, Container: c, Identity: c.Identity(s.SecretVersions), State: tree.Active, Activated: began.Add(time.Hour)}
		g.SecretVersions = s.SecretVersions
		s.Active[c.Name] = g
		s.Observed = append(s.Observed, Observed{
			ID: g.Name(), Name: g.Name(), Container: c.Name, Generation: number, Identity: g.Identity, Running: c.Job == nil, State: "running",
		})
		if c.Job != nil {
			for _, v := range c.Job.Writes {
				if _, there := s.Volumes[v]; !there {
					s.Volumes[v] = began
				}
			}
		}
	}
	for _, step := range p.Steps {
		switch step.Action {
		case Create, Replace, Recreate, Run:
			put(step)
		case StartOnly, RestartOnly, StopOnly:
			g := s.Active[step.Container]
			g.StoppedBy = 0
			if step.Action == StopOnly {
				g.StoppedBy = 9
			}
			s.find(g).Running = step.Action != StopOnly
		case Remove:
			remove(s, step.Container)
			if g := s.Active[step.Container]; g.Container.Job == nil {
				delete(s.Active, step.Container)
			}
		case RemoveVolume:
			delete(s.Volumes, step.Container)
		case RemoveStray:
			for i, o := range s.Observed {
				if o.ID == step.EngineID {
					s.Observed = append(s.Observed[:i], s.Observed[i+1:]...)
					break
				}
			}
		}
	}
}

func remove(s *State, name string) {
	var left []Observed
	for _, o := range s.Observed {
		if o.Container != name {
			left = append(left, o)
		}
	}
	s.Observed = left
}

func empty() *State {
	return &State{Host: host, Active: map[string]*tree.Generation{}, Volumes: map[string]time.Time{}, Images: map[string]bool{}, SecretVersions: map[string]int{"s": 1}}
}

// running is the state after the chain was brought up, with generations 1 to 5 in its order.
func running(t testing.TB) *State {
	t.Helper()
	s := empty()
	for i, name := range []string{"a", "j", "b", "c", "d"} {
		c := *chain().Container(name)
		g := &tree.Generation{Number: i + 1, Container: c, Identity: c.Identity(s.SecretVersions), State: tree.Active, Activated: began.Add(time.Hour)}
		s.Active[name] = g
		s.Observed = append(s.Observed, Observed{ID: g.Name(), Name: g.Name(), Container: name, Generation: i + 1, Identity: g.Identity, Running: c.Job == nil, State: "running"})
		s.Images[c.Spec.Image] = true
	}
	s.Volumes["v"] = began
	return s
}

func change(name string, modify func(*tree.Container)) *tree.Document {
	doc := chain()
	modify(doc.Container(name))
	return doc
}

func set(key, value string) func(*tree.Container) {
	return func(c *tree.Container) { c.Spec.Environment = map[string]string{"A": "1", key: value} }
}

func TestPlans(t *testing.T) {
	two := change("a", set("A", "2"))
	set("A", "2")(two.Container("d"))
	for _, c := range []struct {
		name    string
		kind    Kind
		doc     *tree.Document
		state   func(*State)
		options Options
		want    string
	}{
		{name: "nothing to do", kind: Up, want: "5 unchanged\n"},
		{name: "from nothing, with images to build", kind: Up, state: func(s *State) { *s = *empty() }, want: `
build copse/a:1
build copse/b:1
build copse/c:1
build copse/d:1
build copse/j:1
create a: not created yet
run j: has not run yet after a
create b: not created yet after a, j
create c: not created yet after b
create d: not created yet after c
0 unchanged
`},
		{name: "order holds through what is unchanged", kind: Up, doc: two, want: `
replace a.1 [stop-first]: environment A 1 → 2
replace d.5 [start-first]: environment A 1 → 2 after a
3 unchanged
`},
		{name: "a named one alone", kind: Up, doc: two, options: Options{Names: []string{"d"}}, want: `
replace d.5 [start-first]: environment A 1 → 2
note: a has changes too, and was not named: it stays as it is
0 unchanged
`},
		{name: "what a named one needs is helped to run", kind: Up, options: Options{Names: []string{"d"}}, state: func(s *State) {
			s.find(s.Active["a"]).Running = false
			s.find(s.Active["a"]).State = "exited"
		}, want: `
start a.1 (drift): it is exited
1 unchanged
`},
		{name: "a job runs again when it changed", kind: Up, doc: change("j", set("A", "2")), want: `
run j: environment A 1 → 2
4 unchanged
`},
		{name: "a job runs again when what it filled is gone", kind: Up, state: func(s *State) { delete(s.Volumes, "v") }, want: `
run j (drift): volume v, which it fills, is gone
4 unchanged
`},
		{name: "or has been made anew", kind: Up, state: func(s *State) { s.Volumes["v"] = began.Add(2 * time.Hour) }, want: `
run j (drift): volume v, which it fills, is younger than its last run
4 unchanged
`},
		{name: "a job's own container is not missed", kind: Up, state: func(s *State) { remove(s, "j") }, want: "5 unchanged\n"},
		{name: "strays and what is no longer declared", kind: Up, doc: func() *tree.Document {
			doc := chain()
			doc.Containers = doc.Containers[:4]
			return doc
		}(), state: func(s *State) {
			s.Observed = append(s.Observed, Observed{ID: "x1", Name: "a.77", Container: "a", Generation: 77})
		}, want: `
remove d.5: no longer declared
remove-stray a.77 (drift): container a.77 belongs to no generation in use
4 unchanged
`},
		{name: "stop goes backwards and says what stays", kind: Stop, options: Options{Names: []string{"b", "c"}}, want: `
stop c.4: asked for
stop b.3: asked for after c
note: d goes on running and depends on c, which will be stopped
0 unchanged
`},
		{name: "start brings what it needs", kind: Start, options: Options{Names: []string{"b"}}, state: func(s *State) {
			for _, name := range []string{"a", "b", "c"} {
				s.find(s.Active[name]).Running = false
				s.Active[name].StoppedBy = 3
			}
		}, want: `
start a.1: stopped by change 3
start b.3: stopped by change 3 after a
0 unchanged
`},
		{name: "start of what was never made", kind: Start, state: func(s *State) { *s = *empty() }, options: Options{Names: []string{"a"}}, want: `
note: a does not exist yet: "copse up a" makes it
0 unchanged
`},
		{name: "down with the data", kind: Down, options: Options{Volumes: true}, want: `
remove d.5: asked for
remove c.4: asked for after d
remove b.3: asked for after c
remove j.2: asked for after b
remove a.1: asked for after b, j
remove-volume v: asked for after a, b, c, d, j
0 unchanged
`},
		{name: "stop of what virtual machines outlive", kind: Stop, options: Options{Names: []string{"d"}}, state: func(s *State) {
			s.Outliving = map[string][]string{"d": {"qemu", "qemu", "swtpm"}}
		}, want: `
stop d.5: asked for
note: 2 qemu, 1 swtpm, started by d, goes on running: what it has from other containers that are stopped, such as its network, is away until they are back
0 unchanged
`},
		{name: "restart", kind: Restart, options: Options{Names: []string{"a", "b"}}, want: `
restart a.1: asked for
restart b.3: asked for after a
0 unchanged
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := running(t)
			if c.state != nil {
				c.state(s)
			}
			doc := c.doc
			if doc == nil {
				doc = chain()
			}
			p, err := makePlan(c.kind, doc, s, c.options)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimLeft(c.want, "\n"), p.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestDownWithVirtualMachinesIsAskedAbout: what loses its network is no small matter.
func TestDownWithVirtualMachinesIsAskedAbout(t *testing.T) {
	s := running(t)
	s.Outliving = map[string][]string{"a": {"qemu"}}
	p, err := makePlan(Down, chain(), s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range p.Steps {
		if step.Dangerous != (step.Container == "a") {
			t.Errorf("%s: dangerous is %t", step.Container, step.Dangerous)
		}
	}
	if len(p.Notes) != 1 {
		t.Errorf("notes %q; want what happens to the virtual machine", p.Notes)
	}
}

// TestAfterAPlanTheNextIsEmpty holds idempotence for any cloud and any state of it.
func TestAfterAPlanTheNextIsEmpty(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := empty()
		for round := range 3 {
			doc := randomDocument(r)
			damage(r, s)
			p, err := makePlan(Up, doc, s, Options{})
			if err != nil {
				r.Fatal(err)
			}
			again, err := makePlan(Up, doc, s, Options{})
			if err != nil || again.String() != p.String() {
				r.Fatalf("the same input gives two plans:\n%s\n%s", p, again)
			}
			for _, step := range p.Steps {
				if len(step.Causes) == 0 {
					r.Fatalf("step %+v has no cause", step)
				}
			}
			apply(p, doc, s)
			next, err := makePlan(Up, doc, s, Options{})
			if err != nil {
				r.Fatal(err)
			}
			if !next.Empty() {
				r.Fatalf("round %d: after\n%sthe next plan is\n%s", round, p, next)
			}
		}
	})
}

// TestStepsComeAfterWhatTheyWaitFor: a plan can be done from its first step to its last.
func TestStepsComeAfterWhatTheyWaitFor(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := empty()
		doc := randomDocument(r)
		p, err := makePlan(Up, doc, s, Options{})
		if err != nil {
			r.Fatal(err)
		}
		apply(p, doc, s)
		kind := rapid.SampledFrom([]Kind{Up, Start, Stop, Restart, Down}).Draw(r, "kind")
		damage(r, s)
		if p, err = makePlan(kind, doc, s, Options{Volumes: rapid.Bool().Draw(r, "volumes")}); err != nil {
			r.Fatal(err)
		}
		seen := map[string]bool{}
		for _, step := range p.Steps {
			for _, after := range step.After {
				if !seen[after] {
					r.Fatalf("%s comes before %s, which it waits for:\n%s", step.Container, after, p)
				}
			}
			seen[step.Container] = true
		}
	})
}

func randomDocument(r *rapid.T) *tree.Document {
	doc := &tree.Document{Version: tree.DocumentVersion, Cloud: "test", Volumes: []tree.Volume{{Host: host, Name: "v"}}}
	n := rapid.IntRange(0, 8).Draw(r, "containers")
	for i := range n {
		c := container(fmt.Sprintf("c%d", i))
		c.Spec.Environment["A"] = rapid.SampledFrom([]string{"1", "2"}).Draw(r, "value")
		if rapid.Bool().Draw(r, "secret") {
			c.Secrets = []tree.SecretMount{{Name: "s"}}
		}
		if i%3 == 2 {
			c.Job = &tree.Job{Writes: []string{"v"}}
		}
		for j := range i {
			if rapid.Bool().Draw(r, "depends") {
				c.Depends = append(c.Depends, tree.Dependency{Name: fmt.Sprintf("c%d", j), Condition: tree.Healthy})
			}
		}
		doc.Containers = append(doc.Containers, c)
	}
	return doc
}

// damage does to a state what hands and crashes do.
func damage(r *rapid.T, s *State) {
	for i := range s.Observed {
		switch rapid.IntRange(0, 5).Draw(r, "damage") {
		case 0:
			s.Observed[i].Running, s.Observed[i].State = false, "exited"
		case 1:
			s.Observed[i].Generation += 1000 // its own record is missing it, and it is a stray
			s.Observed[i].ID += "x"
		case 2:
			s.SecretVersions["s"]++
		}
	}
	if rapid.IntRange(0, 9).Draw(r, "volume") == 0 {
		delete(s.Volumes, "v")
	}
}
