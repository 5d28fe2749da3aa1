// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"copse/internal/tree"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// phased is a job of component k with a part in upgrades.
func phased(name string, phase tree.Phase, on ...string) tree.Container {
	c := container(name, on...)
	c.Component, c.Job = "k", &tree.Job{Phase: phase}
	return c
}

// service is a database, and component k on it: two containers, and jobs of all phases.
func service(class tree.RollbackClass) *tree.Document {
	k := container("k", "k-expand")
	k.Frontend = &tree.Frontend{Name: "k", Port: 80, Addresses: []string{"192.0.2.1"}}
	k.Update = tree.Update{Order: tree.StartFirst, Rollback: class}
	worker := container("k-worker", "k")
	worker.Component, worker.Update.Rollback = "k", class
	return &tree.Document{
		Version: tree.DocumentVersion, Cloud: "test",
		Containers: []tree.Container{
			container("db"),
			phased("k-dump", tree.Dump, "db"), phased("k-rehearse", tree.Rehearse, "k-dump"),
			phased("k-expand", tree.Expand, "k-rehearse"), phased("k-contract", tree.Contract, "db"),
			phased("k-revert", tree.Revert, "db"), phased("k-restore", tree.Restore, "db"),
			k, worker,
		},
	}
}

// at is the service with containers at another release, pinned to it.
func at(release string, doc *tree.Document, names ...string) *tree.Document {
	for _, name := range names {
		c := doc.Container(name)
		c.Release, c.Spec.Image = release, "copse/"+name+":"+release
		doc.Pins = append(doc.Pins, tree.Pin{Host: host, Container: name, Release: release, Declared: "2025.1"})
	}
	return doc
}

var allOfK = []string{"k-dump", "k-rehearse", "k-expand", "k-contract", "k-revert", "k-restore", "k", "k-worker"}

// cloudState is a state that changes are applied to, as an agent would.
type cloudState struct {
	*State
	t      interface{ Fatalf(string, ...any) }
	number int
	change int
}

func newCloud(t interface{ Fatalf(string, ...any) }) *cloudState {
	s := &cloudState{State: empty(), t: t}
	s.Kept, s.Pins = map[string][]*tree.Generation{}, map[string]tree.Pin{}
	return s
}

// do plans and applies a change, and returns its plan.
func (s *cloudState) do(kind Kind, doc *tree.Document, options Options) *Plan {
	decision, err := Decide(kind, doc, s.State, options)
	if err != nil {
		s.t.Fatalf("%s: %v", kind, err)
	}
	s.change++
	for _, step := range decision.Plan.Steps {
		switch step.Action {
		case Create, Replace, Run:
			s.put(step, doc)
		case PrepareHost:
		default:
			s.t.Fatalf("%s: unexpected step %+v", kind, step)
		}
		for _, r := range decision.Rewinds[step.Container] {
			delete(s.Active, r.Job)
			remove(s.State, r.Job)
			for i, g := range s.Kept[r.Job] {
				if g.Number == r.To {
					s.Active[r.Job] = g
					s.Kept[r.Job] = s.Kept[r.Job][:i]
					break
				}
			}
		}
	}
	for name, pin := range decision.Pins {
		delete(s.Pins, name)
		if pin != nil {
			p := *pin
			if p.Change == 0 {
				p.Change = s.change
			}
			s.Pins[name] = p
		}
	}
	return decision.Plan
}

func (s *cloudState) put(step Step, doc *tree.Document) {
	c, secrets := *doc.Container(step.Container), map[string]int{}
	source := s.SecretVersions
	if step.To != 0 {
		kept := s.KeptGeneration(step.Container, step.To)
		c, source = kept.Container, kept.SecretVersions
	}
	for k, v := range source {
		secrets[k] = v
	}
	if old := s.Active[c.Name]; old != nil {
		s.Kept[c.Name] = append(s.Kept[c.Name], old)
	}
	remove(s.State, c.Name)
	s.number++
	g := &tree.Generation{
		Number: s.number, Container: c, Identity: c.Identity(secrets), SecretVersions: secrets, State: tree.Active,
		Activated: began.Add(time.Duration(s.number) * time.Hour), Change: s.change, Of: step.To,
	}
	s.Active[c.Name] = g
	s.Images[c.Spec.Image] = true
	if c.Job != nil {
		for _, v := range c.Job.Writes {
			s.Volumes[v] = began
		}
	}
	s.Observed = append(s.Observed, Observed{
		ID: g.Name(), Name: g.Name(), Container: c.Name, Generation: g.Number, Identity: g.Identity, Running: c.Job == nil, State: "running",
	})
}

// pinned is the document as a command line resolves it: with the pins in force.
func (s *cloudState) pinned(doc *tree.Document) *tree.Document {
	for _, name := range tree.SortedKeys(s.Pins) {
		pin := s.Pins[name]
		if pin.Release != doc.Container(name).Release {
			at(pin.Release, doc, name)
			doc.Pins[len(doc.Pins)-1].Generation = pin.Generation
		} else if pin.Generation != 0 {
			pin.Declared = doc.Container(name).Release
			doc.Pins = append(doc.Pins, pin)
		}
	}
	return doc
}

func (s *cloudState) mustPlan(t *testing.T, kind Kind, doc *tree.Document, options Options, want string) {
	t.Helper()
	p, err := makePlan(kind, doc, s.State, options)
	got := ""
	if err != nil {
		got = "error: " + err.Error() + "\n"
	} else {
		got = p.String()
	}
	if diff := cmp.Diff(strings.TrimLeft(want, "\n"), got); diff != "" {
		t.Errorf("%s %v (-want +got):\n%s", kind, options, diff)
	}
}

// installed is the service in its first release, and images for all.
func installed(t *testing.T, class tree.RollbackClass) *cloudState {
	t.Helper()
	s := newCloud(t)
	s.do(Up, service(class), Options{})
	for _, name := range allOfK {
		s.Images["copse/"+name+":2026.1"] = true
	}
	return s
}

func TestFirstInstallation(t *testing.T) {
	s := newCloud(t)
	for _, c := range service("").Containers {
		s.Images[c.Spec.Image] = true
	}
	s.mustPlan(t, Up, service(""), Options{}, `
create db: not created yet
run k-expand: has not run yet after db
create k: not created yet after k-expand
create k-worker: not created yet after k
run k-contract: has not run yet after db
4 unchanged
`)
	s.do(Up, service(""), Options{})
	s.mustPlan(t, Up, service(""), Options{}, "9 unchanged\n")
}

func TestUpgradePlans(t *testing.T) {
	s := installed(t, tree.RollbackUntilContract)
	upgraded := func() *tree.Document { return at("2026.1", service(tree.RollbackUntilContract), allOfK...) }
	s.mustPlan(t, Upgrade, upgraded(), Options{Names: []string{"component/k"}}, `
run k-dump: k goes to 2026.1
run k-rehearse: k goes to 2026.1 after k-dump
run k-expand: release 2025.1 → 2026.1; image copse/k-expand:1 → copse/k-expand:2026.1 after k-rehearse
replace k.3 [start-first]: release 2025.1 → 2026.1; image copse/k:1 → copse/k:2026.1 after k-expand
replace k-worker.4 [stop-first]: release 2025.1 → 2026.1; image copse/k-worker:1 → copse/k-worker:2026.1 after k
note: k-contract waits: until "copse upgrade k --finalize" a rollback to 2025.1 is possible
3 unchanged
`)
	s.mustPlan(t, Upgrade, upgraded(), Options{Names: []string{"component/k"}, Finalize: true}, `
run k-dump: k goes to 2026.1
run k-rehearse: k goes to 2026.1 after k-dump
run k-expand: release 2025.1 → 2026.1; image copse/k-expand:1 → copse/k-expand:2026.1 after k-rehearse
replace k.3 [start-first]: release 2025.1 → 2026.1; image copse/k:1 → copse/k:2026.1 after k-expand
replace k-worker.4 [stop-first]: release 2025.1 → 2026.1; image copse/k-worker:1 → copse/k-worker:2026.1 after k
run k-contract (no return): release 2025.1 → 2026.1; image copse/k-contract:1 → copse/k-contract:2026.1 after k, k-worker
2 unchanged
`)
	// One container of it alone: the other one stays, and keeps the contract from running.
	one := at("2026.1", service(tree.RollbackUntilContract), "k", "k-expand", "k-dump", "k-rehearse", "k-contract")
	s.mustPlan(t, Upgrade, one, Options{Names: []string{"k"}, Finalize: true},
		"error: cannot finalize k at 2026.1: k-worker would stop working, still being at an older release: \"copse upgrade k --to 2026.1\" first\n")

	p := s.do(Upgrade, upgraded(), Options{Names: []string{"component/k"}})
	for _, step := range p.Steps {
		want := tree.RollbackClass("")
		if step.Action == Replace {
			want = tree.RollbackUntilContract
		}
		if step.Rollback != want || (step.Phase == "") != (step.Action == Replace) {
			t.Errorf("%s: class %q, phase %q", step.Container, step.Rollback, step.Phase)
		}
	}
	waits := "note: k-contract waits: until \"copse upgrade k --finalize\" a rollback to 2025.1 is possible\n"
	s.mustPlan(t, Up, s.pinned(service(tree.RollbackUntilContract)), Options{}, waits+
		"note: k, k-worker are at 2026.1 by change 2; the cloud file says 2025.1: that upgrade is kept; \"copse upgrade k --to 2025.1\" or \"copse up k --unpin\" changes it\n9 unchanged\n")
	s.mustPlan(t, Upgrade, s.pinned(service(tree.RollbackUntilContract)), Options{Names: []string{"component/k"}, Finalize: true}, `
run k-dump: k goes to 2026.1
run k-rehearse: k goes to 2026.1 after k-dump
run k-contract (no return): release 2025.1 → 2026.1; image copse/k-contract:1 → copse/k-contract:2026.1
5 unchanged
`)
	s.do(Upgrade, s.pinned(service(tree.RollbackUntilContract)), Options{Names: []string{"component/k"}, Finalize: true})
	if left := s.do(Up, s.pinned(service(tree.RollbackUntilContract)), Options{}); !left.Empty() {
		t.Errorf("after the contract there is left:\n%s", left)
	}
}

// TestFirstContract: where it never ran, it waits as well for as long as there is something to go back to.
func TestFirstContract(t *testing.T) {
	s := installed(t, tree.RollbackUntilContract)
	delete(s.Active, "k-contract")
	remove(s.State, "k-contract")
	s.do(Upgrade, at("2026.1", service(tree.RollbackUntilContract), allOfK...), Options{Names: []string{"component/k"}})
	if p := s.do(Up, s.pinned(service(tree.RollbackUntilContract)), Options{}); !p.Empty() || len(p.Notes) == 0 {
		t.Errorf("the contract runs without being asked for:\n%s", p)
	}
}

// TestRollbackPlans goes back before the contract, which loses nothing.
func TestRollbackPlans(t *testing.T) {
	s := installed(t, tree.RollbackUntilContract)
	s.do(Upgrade, at("2026.1", service(tree.RollbackUntilContract), allOfK...), Options{Names: []string{"component/k"}})
	declared := func() *tree.Document { return at("2026.1", service(tree.RollbackUntilContract), allOfK...) }
	back := func(options Options) Options { options.Names = []string{"component/k"}; return options }
	// Up by a document of the older release does not set its data back.
	s.mustPlan(t, Upgrade, service(tree.RollbackUntilContract), back(Options{}),
		"error: cannot take k from 2026.1 back to 2025.1: its data must be reverted first: \"copse rollback k\" does that\n")
	want := `
run k-revert: k goes back to 2025.1
replace k-worker.10 [stop-first] of generation 4: rollback to generation 4: release 2026.1 → 2025.1, image copse/k-worker:2026.1 → copse/k-worker:1 after k-revert
replace k.9 [start-first] of generation 3: rollback to generation 3: release 2026.1 → 2025.1, image copse/k:2026.1 → copse/k:1 after k-revert, k-worker
0 unchanged
`
	s.mustPlan(t, Rollback, declared(), back(Options{}), want)
	// The version that the set had before does the same.
	s.mustPlan(t, Rollback, declared(), back(Options{To: 5}), want)
	s.mustPlan(t, Rollback, declared(), Options{Names: []string{"k"}}, `
run k-revert: k goes back to 2025.1
replace k.9 [start-first] of generation 3: rollback to generation 3: release 2026.1 → 2025.1, image copse/k:2026.1 → copse/k:1 after k-revert
0 unchanged
`)
	for options, want := range map[*Options]string{
		{Names: []string{"k"}, To: 2}:    `cannot roll back k to generation 2: it is not kept; the kept generations are 3, 9 (active)`,
		{Names: []string{"k"}, To: 4000}: `cannot roll back k to generation 4000: there is none of that number yet: "copse history" shows those there are`,
		{Names: []string{"db"}}:          `cannot roll back db: no earlier generation is kept: "copse history" shows those there are`,
	} {
		s.mustPlan(t, Rollback, declared(), *options, "error: "+want+"\n")
	}
	delete(s.Images, "copse/k:1")
	s.mustPlan(t, Rollback, declared(), back(Options{}),
		"error: cannot go back to generation 3 of k: its image copse/k:1 is not on this host any more: bring it back with \"docker load\", or name another with --to; the kept generations are 3, 9 (active)\n")
	s.Images["copse/k:1"] = true

	s.do(Rollback, declared(), back(Options{}))
	if s.Active["k"].Identity != s.Kept["k"][0].Identity || s.Active["k"].Of != 3 {
		t.Errorf("generation %+v is not what generation 3 was", s.Active["k"])
	}
	if pin := s.Pins["k"]; pin != (tree.Pin{Host: host, Container: "k", Release: "2025.1", Generation: 3, Change: 3}) {
		t.Errorf("pin %+v", pin)
	}
	if pin := s.Pins["k-contract"]; pin.Release != "2025.1" {
		t.Errorf("the jobs' pins stay at the newer release: %+v", pin)
	}
	// What the cloud file says is what runs, so nothing is held against it.
	s.mustPlan(t, Up, s.pinned(service(tree.RollbackUntilContract)), Options{}, "9 unchanged\n")
	s.do(Up, s.pinned(service(tree.RollbackUntilContract)), Options{})
	if len(s.Pins) != 0 {
		t.Errorf("pins are left that say nothing: %v", s.Pins)
	}
	// Its database is expanded already, so going up again takes less.
	s.mustPlan(t, Upgrade, declared(), back(Options{}), `
replace k.13 [start-first]: release 2025.1 → 2026.1; image copse/k:1 → copse/k:2026.1
replace k-worker.12 [stop-first]: release 2025.1 → 2026.1; image copse/k-worker:1 → copse/k-worker:2026.1 after k
note: k-contract waits: until "copse upgrade k --finalize" a rollback to 2025.1 is possible
6 unchanged
`)
}

// TestRollbackPastThePointOfNoReturn is refused, unless it is asked for by name.
func TestRollbackPastThePointOfNoReturn(t *testing.T) {
	s := installed(t, tree.RollbackUntilContract)
	declared := func() *tree.Document { return at("2026.1", service(tree.RollbackUntilContract), allOfK...) }
	named := []string{"component/k"}
	s.do(Upgrade, declared(), Options{Names: named, Finalize: true})
	refusal := "cannot take k from 2026.1 back to 2025.1: k-contract ran for 2026.1 on 2026-01-01 11:00:00 UTC by change 2, and 2025.1 cannot work with what it left: " +
		"\"copse rollback k --restore\" puts back what was saved, and loses everything written to k since 2026-01-01 06:00:00 UTC\n"
	s.mustPlan(t, Rollback, declared(), Options{Names: named}, "error: "+refusal)
	// Up by a document of the older release is no way round it.
	s.mustPlan(t, Upgrade, service(tree.RollbackUntilContract), Options{Names: named}, "error: "+refusal)
	s.mustPlan(t, Rollback, declared(), Options{Names: []string{"k"}, Restore: true},
		"error: cannot put the data of k back: k-worker would go on running at 2026.1 with it: name it too\n")
	s.mustPlan(t, Rollback, declared(), Options{Names: named, Restore: true}, `
run k-restore: k goes back to 2025.1, which cannot work with its data
replace k-worker.10 [stop-first] of generation 4: rollback to generation 4: release 2026.1 → 2025.1, image copse/k-worker:2026.1 → copse/k-worker:1 after k-restore
replace k.9 [start-first] of generation 3: rollback to generation 3: release 2026.1 → 2025.1, image copse/k:2026.1 → copse/k:1 after k-restore, k-worker
0 unchanged
`)
	decision, err := Decide(Rollback, declared(), s.State, Options{Names: named, Restore: true})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]Rewind{"k-restore": {{Job: "k-expand", From: 8, To: 2}, {Job: "k-contract", From: 11, To: 5}}}
	if diff := cmp.Diff(want, decision.Rewinds); diff != "" {
		t.Errorf("what the data knows nothing of (-want +got):\n%s", diff)
	}
	for _, step := range decision.Plan.Steps {
		if step.Dangerous != (step.Container == "k-restore") {
			t.Errorf("%s: dangerous is %t", step.Container, step.Dangerous)
		}
	}
	s.do(Rollback, declared(), Options{Names: named, Restore: true})
	s.mustPlan(t, Up, s.pinned(service(tree.RollbackUntilContract)), Options{}, "9 unchanged\n")
	if p, err := makePlan(Upgrade, declared(), s.State, Options{Names: named}); err != nil || !strings.Contains(p.String(), "run k-expand: release 2025.1 → 2026.1") {
		t.Errorf("the restored data is not expanded again: %v\n%s", err, p)
	}
	delete(s.Active, "k-dump")
}

// TestContractThatChangedNothing is no point of no return.
func TestContractThatChangedNothing(t *testing.T) {
	s := installed(t, tree.RollbackUntilContract)
	declared := at("2026.1", service(tree.RollbackUntilContract), allOfK...)
	named := []string{"component/k"}
	s.do(Upgrade, declared, Options{Names: named, Finalize: true})
	s.Active["k-contract"].Contracted = "2025.1"
	if p := s.do(Rollback, declared, Options{Names: named}); len(p.Steps) == 0 || strings.Contains(p.String(), "k-restore") {
		t.Errorf("the rollback is\n%s", p)
	}
	s.mustPlan(t, Up, s.pinned(service(tree.RollbackUntilContract)), Options{}, "9 unchanged\n")
}

func TestRollbackByRestore(t *testing.T) {
	s := installed(t, tree.RollbackByRestore)
	declared := func() *tree.Document { return at("2026.1", service(tree.RollbackByRestore), allOfK...) }
	named := []string{"component/k"}
	s.do(Upgrade, declared(), Options{Names: named})
	s.mustPlan(t, Rollback, declared(), Options{Names: named},
		"error: cannot take k from 2026.1 back to 2025.1: it cannot work with data that 2026.1 has written: "+
			"\"copse rollback k --restore\" puts back what was saved, and loses everything written to k since 2026-01-01 06:00:00 UTC\n")
	delete(s.Active, "k-dump")
	s.mustPlan(t, Rollback, declared(), Options{Names: named, Restore: true},
		"error: cannot take k from 2026.1 back to 2025.1: it cannot work with data that 2026.1 has written, and none of it was saved: there is no way back but a backup of your own\n")
}

// TestHeldContent: a rollback within a release holds against the cloud file until that is followed by name.
func TestHeldContent(t *testing.T) {
	s := newCloud(t)
	s.do(Up, chain(), Options{})
	changed := func() *tree.Document { return s.pinned(change("c", set("A", "2"))) }
	s.do(Up, changed(), Options{})
	s.do(Rollback, changed(), Options{Names: []string{"c"}})
	s.mustPlan(t, Up, changed(), Options{}, `
note: c is held at generation 4's content by change 3 (rollback); the cloud file says otherwise: environment A 1 → 2: "copse up c --unpin" follows the cloud file
5 unchanged
`)
	// Not named, it stays silently.
	s.mustPlan(t, Up, changed(), Options{Names: []string{"d"}}, "1 unchanged\n")
	s.mustPlan(t, Up, changed(), Options{Names: []string{"c"}, Unpin: true}, `
replace c.7 [stop-first]: environment A 1 → 2
0 unchanged
`)
	// Its container lost, it is made again with what it is held at.
	remove(s.State, "c")
	delete(s.Active, "c")
	if p := s.do(Up, changed(), Options{}); len(p.Steps) != 1 || p.Steps[0].To != 4 || s.Active["c"].Container.Spec.Environment["A"] != "1" {
		t.Errorf("made again as %+v by\n%s", s.Active["c"], p)
	}
	s.do(Up, changed(), Options{Names: []string{"c"}, Unpin: true})
	if _, held := s.Pins["c"]; held || s.Active["c"].Container.Spec.Environment["A"] != "2" {
		t.Errorf("it does not follow the cloud file: %+v, pins %v", s.Active["c"], s.Pins)
	}
}

// TestRollbackOfSecrets: a job that set secrets sets the earlier ones again, before what needs them.
func TestRollbackOfSecrets(t *testing.T) {
	s := newCloud(t)
	secret := func() *tree.Document {
		doc := chain()
		for _, name := range []string{"j", "b"} {
			doc.Container(name).Component = "b"
			doc.Container(name).Secrets = []tree.SecretMount{{Name: "s"}}
		}
		return s.pinned(doc)
	}
	s.do(Up, secret(), Options{})
	s.SecretVersions["s"] = 2
	s.do(Up, secret(), Options{})
	s.mustPlan(t, Rollback, secret(), Options{}, `
run j of generation 2: rollback to generation 2: secret s rotated (version 2 → 1)
replace b.7 [stop-first] of generation 3: rollback to generation 3: secret s rotated (version 2 → 1) after j
3 unchanged
`)
	s.do(Rollback, secret(), Options{})
	if s.Active["b"].SecretVersions["s"] != 1 || s.Active["j"].SecretVersions["s"] != 1 {
		t.Errorf("secrets %v and %v", s.Active["b"].SecretVersions, s.Active["j"].SecretVersions)
	}
	if p := s.do(Up, secret(), Options{}); !p.Empty() {
		t.Errorf("the next up reverts the rollback:\n%s", p)
	}
}

// TestWindows: what to expect is the median of what was measured.
func TestWindows(t *testing.T) {
	s := newCloud(t)
	for i := range 4 {
		s.do(Up, change("c", set("A", fmt.Sprint(i))), Options{})
	}
	for i, g := range s.Kept["c"] {
		g.Window = &tree.Window{Duration: []time.Duration{3, 1, 2}[i] * time.Second, Failed: i, Probes: 10}
	}
	s.Active["c"].Window = &tree.Window{} // not measured
	p := s.do(Up, change("c", set("A", "9")), Options{})
	if w := p.Steps[0].Window; w == nil || w.Duration != 2*time.Second {
		t.Errorf("window %+v; want the one of 2 s", w)
	}
}

// TestOptionsBelongToTheirKind: none is passed over in silence.
func TestOptionsBelongToTheirKind(t *testing.T) {
	for _, c := range []struct {
		kind    Kind
		options Options
	}{{Up, Options{To: 3}}, {Upgrade, Options{Restore: true}}, {Up, Options{Finalize: true}}, {Rollback, Options{Unpin: true}}} {
		if _, err := makePlan(c.kind, chain(), running(t), c.options); err == nil {
			t.Errorf("%s takes %+v", c.kind, c.options)
		}
	}
}

// TestThereAndBack: for any cloud, a rollback after a change gives the identities of before, and neither
// change leaves anything for an up.
func TestThereAndBack(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := newCloud(r)
		first := randomDocument(r)
		s.do(Up, first, Options{})
		before := map[string]string{}
		for name, g := range s.Active {
			before[name] = g.Identity
		}
		second := &tree.Document{Version: first.Version, Cloud: first.Cloud, Volumes: first.Volumes, Containers: slices.Clone(first.Containers)}
		changed := false
		for i := range second.Containers {
			c := &second.Containers[i]
			if rapid.Bool().Draw(r, "change") {
				c.Spec.Environment = map[string]string{"A": "3"}
				changed = changed || c.Job == nil
			}
		}
		s.do(Up, second, Options{})
		if p := s.do(Up, second, Options{}); !p.Empty() {
			r.Fatalf("after an up there is left:\n%s", p)
		}
		if !changed {
			return
		}
		s.do(Rollback, second, Options{})
		for name, identity := range before {
			if g := s.Active[name]; g.Container.Job == nil && g.Identity != identity {
				r.Fatalf("%s is not what it was", name)
			}
		}
		declared := &tree.Document{Version: second.Version, Cloud: second.Cloud, Volumes: second.Volumes, Containers: second.Containers}
		p := s.do(Up, s.pinned(declared), Options{})
		for _, step := range p.Steps {
			if second.Container(step.Container).Job == nil {
				r.Fatalf("up takes the rollback back:\n%s", p)
			}
		}
	})
}
