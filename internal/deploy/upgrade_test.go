// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"copse/internal/change"
	"copse/internal/engine"
	"copse/internal/plan"
	"copse/internal/tree"

	"github.com/google/go-cmp/cmp"
)

// phases is the small cloud with the jobs that the component api has for its upgrades; its worker belongs
// to it too.
func phases(class tree.RollbackClass) *tree.Document {
	doc := cloud()
	job := func(name string, phase tree.Phase, on ...string) tree.Container {
		c := *cloud().Container("api-db-sync")
		c.Name, c.Job, c.Depends = name, &tree.Job{Timeout: time.Minute, Phase: phase}, nil
		for _, d := range on {
			c.Depends = append(c.Depends, tree.Dependency{Name: d, Condition: tree.Completed})
		}
		return c
	}
	expand := doc.Container("api-db-sync")
	expand.Job.Phase = tree.Expand
	expand.Depends = append(expand.Depends, tree.Dependency{Name: "api-dump", Condition: tree.Completed})
	doc.Container("worker").Component = "api"
	doc.Container("api").Update.Rollback, doc.Container("worker").Update.Rollback = class, class
	doc.Containers = append(doc.Containers,
		job("api-dump", tree.Dump, "db"), job("api-contract", tree.Contract, "db"), job("api-restore", tree.Restore, "db"))
	return doc
}

// ofAPI are all containers of the component.
var ofAPI = []string{"api", "api-contract", "api-db-sync", "api-dump", "api-restore", "worker"}

// released puts containers of a document at a release that the cloud file does not give them.
func released(doc *tree.Document, release string, names ...string) *tree.Document {
	for _, name := range names {
		c := doc.Container(name)
		c.Release, c.Spec.Image = release, "copse/"+name+":"+release
		c.Spec.Environment = maps.Clone(c.Spec.Environment)
		c.Spec.Environment["RELEASE"] = release
		doc.Pins = append(doc.Pins, tree.Pin{Host: testHost, Container: name, Release: release, Declared: "2025.1"})
	}
	return doc
}

// pinned resolves a document as a command line does: with the pins in force.
func (w *world) pinned(doc *tree.Document) *tree.Document {
	for _, pin := range w.pins() {
		c := doc.Container(pin.Container)
		if c == nil {
			continue
		}
		if pin.Release != c.Release {
			released(doc, pin.Release, c.Name)
			doc.Pins[len(doc.Pins)-1].Generation = pin.Generation
		} else if pin.Generation != 0 {
			pin.Declared = c.Release
			doc.Pins = append(doc.Pins, pin)
		}
	}
	return doc
}

func (w *world) pins() []tree.Pin {
	w.t.Helper()
	l := w.begin(0)
	defer l.end()
	pins, err := l.deployer.Pins()
	if err != nil {
		w.t.Fatal(err)
	}
	return pins
}

// generation returns the active generation of a container.
func (w *world) active(name string) *tree.Generation {
	w.t.Helper()
	l := w.begin(0)
	defer l.end()
	active, err := l.deployer.Active()
	if err != nil {
		w.t.Fatal(err)
	}
	return active[name]
}

func upgrade(doc *tree.Document, options plan.Options) Request {
	return Request{Kind: plan.Upgrade, Document: doc, Options: options}
}

func rollback(options plan.Options) Request {
	return Request{Kind: plan.Rollback, Options: options}
}

var api = []string{"component/api"}

// nothingLeft says that the next up has nothing to do.
func (w *world) nothingLeft(doc *tree.Document) {
	w.t.Helper()
	if p := w.plan(up(w.pinned(doc))); !p.Empty() {
		w.t.Errorf("the next up would do\n%s", p)
	}
}

func TestUpgradeAndBack(t *testing.T) {
	w := newWorld(t)
	class := tree.RollbackUntilContract
	mustEnd(t, w.do(up(phases(class))), change.Done)
	before, db, proxy := w.active("api"), w.active("db").Name(), w.active("proxy").Name()

	mustEnd(t, w.do(upgrade(released(phases(class), "2026.1", ofAPI...), plan.Options{Names: api})), change.Done)
	w.check()
	if got := w.active("api"); got.Container.Release != "2026.1" || got.Of != 0 {
		t.Errorf("after the upgrade api is %s of generation %d's content", got.Container.Release, got.Of)
	}
	if len(w.pins()) != len(ofAPI) || w.pins()[0].Release != "2026.1" || w.pins()[0].Change != 2 {
		t.Errorf("pins %+v; want one for each container that was named", w.pins())
	}
	w.nothingLeft(phases(class))

	mustEnd(t, w.do(rollback(plan.Options{Names: api})), change.Done)
	w.check()
	if got := w.active("api"); got.Identity != before.Identity || got.Of != before.Number || got.Number <= before.Number {
		t.Errorf("after the rollback api is generation %d of %d's content; want that of %d", got.Number, got.Of, before.Number)
	}
	w.nothingLeft(phases(class))
	if w.active("db").Name() != db || w.active("proxy").Name() != proxy {
		t.Error("what was not named has been touched")
	}
}

// TestContractSaysWhatItChanged: going back is free where a contract job says that it changed nothing, and
// refused where it does not, or did so earlier for the same release.
func TestContractSaysWhatItChanged(t *testing.T) {
	class := tree.RollbackUntilContract
	for _, tc := range []struct {
		name    string
		says    [2]string // at the first and the second run for the newer release
		refused bool
	}{
		{"nothing", [2]string{nothingContracted, nothingContracted}, false},
		{"something", [2]string{"dropped a column", "dropped a column"}, true},
		{"something before", [2]string{"dropped a column", nothingContracted}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			mustEnd(t, w.do(up(phases(class))), change.Done)
			installed := 0 // the version of all, before the upgrade
			for _, number := range names(t, w) {
				installed = max(installed, number)
			}
			newer := func() *tree.Document { return released(phases(class), "2026.1", ofAPI...) }
			w.says = map[string]string{"api-contract": tc.says[0]}
			mustEnd(t, w.do(upgrade(newer(), plan.Options{Names: api, Finalize: true})), change.Done)
			w.says["api-contract"] = tc.says[1]
			again := newer()
			again.Container("api-contract").Spec.Environment = map[string]string{"AGAIN": "1"}
			mustEnd(t, w.do(upgrade(again, plan.Options{Names: api, Finalize: true})), change.Done)

			l := w.begin(0)
			defer l.end()
			_, err := l.deployer.Plan(t.Context(), rollback(plan.Options{Names: api, To: installed}))
			if refused := err != nil && strings.Contains(err.Error(), "api-contract"); refused != tc.refused {
				t.Errorf("refused: %t (%v); want %t", refused, err, tc.refused)
			}
		})
	}
}

// TestFailedUpgradeLeavesNothing: no pin, no stray, and a next plan that is empty.
func TestFailedUpgradeLeavesNothing(t *testing.T) {
	for _, atomic := range []bool{false, true} {
		w := newWorld(t)
		mustEnd(t, w.do(up(phases(""))), change.Done)
		before := w.serving()
		doc := released(phases(""), "2026.1", ofAPI...)
		mode("never-ready")(doc.Container("api"))
		r := upgrade(doc, plan.Options{Names: api})
		r.Atomic = atomic
		if c := w.do(r); c.Status() != change.Error {
			t.Errorf("the upgrade ended %s: %v", c.Status(), c.Err())
		}
		w.check()
		mustServe(t, w, before...)
		for _, pin := range w.pins() {
			if doc.Container(pin.Container).Job == nil || atomic {
				t.Errorf("pin %+v is left (atomic: %t)", pin, atomic)
			}
		}
		w.nothingLeft(phases(""))
	}
}

// TestRestoreOrder: what works on the data is stopped before it is put back, and started after.
func TestRestoreOrder(t *testing.T) {
	w := newWorld(t)
	class := tree.RollbackByRestore
	mustEnd(t, w.do(up(phases(class))), change.Done)
	mustEnd(t, w.do(upgrade(released(phases(class), "2026.1", ofAPI...), plan.Options{Names: api})), change.Done)
	l := w.begin(0)
	_, _, err := l.deployer.Submit(context.Background(), rollback(plan.Options{Names: api}))
	l.end()
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "\"copse rollback api --restore\" puts back what was saved") {
		t.Fatalf("error %v; want a refusal that names the way", err)
	}
	var mu sync.Mutex
	var order []string
	w.engine.Fault = func(op, object string) error {
		mu.Lock()
		defer mu.Unlock()
		if op == "Stop" || op == "Start" {
			order = append(order, op+" "+strings.SplitN(object, ".", 2)[0])
		}
		return nil
	}
	mustEnd(t, w.do(rollback(plan.Options{Names: api, Restore: true})), change.Done)
	w.engine.Fault = nil
	at := func(what string) int { return slices.Index(order, what) }
	for _, name := range []string{"api", "worker"} {
		if !(at("Stop "+name) >= 0 && at("Stop "+name) < at("Start api-restore") && at("Start api-restore") < at("Start "+name)) {
			t.Errorf("the order is %v; want %s stopped before api-restore and started after it", order, name)
		}
	}
	w.check()
	if g := w.active("api-db-sync"); g.Container.Release != "2025.1" {
		t.Errorf("the run of api-db-sync for %s still counts", g.Container.Release)
	}
	w.nothingLeft(phases(class))
}

// TestRestoreWaitsForJobs: a job that needs the service has done its work before the service is stopped for
// its data.
func TestRestoreWaitsForJobs(t *testing.T) {
	w := newWorld(t)
	declared := func() *tree.Document {
		doc := phases(tree.RollbackByRestore)
		accounts := *doc.Container("api-db-sync")
		accounts.Name, accounts.Job = "api-accounts", &tree.Job{Timeout: time.Minute}
		accounts.Depends = []tree.Dependency{{Name: "api", Condition: tree.Healthy}}
		doc.Containers = append(doc.Containers, accounts)
		return doc
	}
	mustEnd(t, w.do(up(declared())), change.Done)
	mustEnd(t, w.do(upgrade(released(declared(), "2026.1", append(ofAPI, "api-accounts")...), plan.Options{Names: api})), change.Done)
	c := w.do(rollback(plan.Options{Names: api, Restore: true}))
	mustEnd(t, c, change.Done)
	task := func(summary string) *change.Task {
		for i := range c.Tasks {
			if strings.HasPrefix(c.Tasks[i].Summary, summary) {
				return c.Tasks[i]
			}
		}
		t.Fatalf("no task %q in %+v", summary, c.Tasks)
		return nil
	}
	job := task("record api-accounts").ID
	if stop := task("stop api."); !slices.Contains(stop.WaitFor, job) {
		t.Errorf("%q waits for tasks %v; want task %d, the end of api-accounts, among them", stop.Summary, stop.WaitFor, job)
	}
	if g := w.active("api-accounts"); g.Container.Release != "2025.1" {
		t.Errorf("api-accounts has run for %s", g.Container.Release)
	}
	w.check()
}

// TestDocumentsWithOtherPinsAreStale: an up that does not know of an upgrade must not take it back.
func TestDocumentsWithOtherPinsAreStale(t *testing.T) {
	w := newWorld(t)
	mustEnd(t, w.do(up(phases(""))), change.Done)
	early := w.pinned(phases(""))
	mustEnd(t, w.do(upgrade(released(phases(""), "2026.1", ofAPI...), plan.Options{Names: api})), change.Done)
	l := w.begin(0)
	defer l.end()
	_, _, err := l.deployer.Submit(context.Background(), up(early))
	if !errors.Is(err, ErrStale) || !strings.Contains(err.Error(), "api-contract") {
		t.Errorf("error %v; want one that says that the document is out of date", err)
	}
	unpin := up(early, api...)
	unpin.Options.Unpin = true
	if _, _, err := l.deployer.Submit(context.Background(), unpin); err != nil {
		t.Errorf("what is released by name is refused: %v", err)
	}
}

// TestRollbackNeedsItsImage: it is refused before anything is touched.
func TestRollbackNeedsItsImage(t *testing.T) {
	w := newWorld(t)
	mustEnd(t, w.do(up(cloud())), change.Done)
	mustEnd(t, w.do(up(with("api", func(c *tree.Container) { c.Spec.Image = "copse/api:2" }))), change.Done)
	w.engine.AnyImage = false
	for _, name := range []string{"db", "proxy", "api-db-sync", "worker"} {
		w.engine.AddImage(engine.Image{References: []string{"copse/" + name + ":1"}})
	}
	w.engine.AddImage(engine.Image{References: []string{"copse/api:2"}})
	l := w.begin(0)
	defer l.end()
	_, _, err := l.deployer.Submit(context.Background(), rollback(plan.Options{Names: []string{"api"}}))
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "its image copse/api:1 is not on this host any more") {
		t.Errorf("error %v; want one that names the image", err)
	}
}

// TestRetention: failures push out nothing that can be gone back to, and neither does what is newer than
// what a pin names.
func TestRetention(t *testing.T) {
	w := newWorld(t)
	value := func(v string) *tree.Document {
		return w.pinned(with("worker", func(c *tree.Container) {
			mode("good")(c)
			c.Spec.Environment["VALUE"] = v
		}))
	}
	for _, v := range []string{"1", "2", "3", "4"} {
		mustEnd(t, w.do(up(value(v))), change.Done)
	}
	for range 5 {
		doc := value("4")
		mode("crash")(doc.Container("worker"))
		if c := w.do(up(doc)); c.Status() != change.Error {
			t.Fatalf("ended %s", c.Status())
		}
	}
	kept := func() (stable, failed []int) {
		l := w.begin(0)
		defer l.end()
		all, err := l.deployer.Generations()
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range all {
			switch {
			case g.Container.Name != "worker":
			case g.State == tree.Superseded:
				stable = append(stable, g.Number)
			case g.State == tree.Failed:
				failed = append(failed, g.Number)
			}
		}
		return stable, failed
	}
	stable, failed := kept()
	if len(stable) != 3 || len(failed) != 3 {
		t.Fatalf("kept %v and of failures %v; want three each", stable, failed)
	}
	oldest := stable[0]
	mustEnd(t, w.do(rollback(plan.Options{Names: []string{"worker"}, To: oldest})), change.Done)
	if stable, _ = kept(); !slices.Contains(stable, oldest) || len(stable) != 4 {
		t.Errorf("kept %v; want three and %d, which the pin names", stable, oldest)
	}
	if got := w.active("worker").Container.Spec.Environment["VALUE"]; got != "1" {
		t.Errorf("rolled back to value %s; want 1", got)
	}
	// What is held against the cloud file is so until it is released.
	if p := w.plan(up(value("4"))); !p.Empty() || len(p.Notes) != 1 {
		t.Errorf("the plan is\n%s", p)
	}
}

// TestConcurrentChanges: upgrades of disjoint containers go on at the same time; one of the same is
// refused and told which is in its way.
func TestConcurrentChanges(t *testing.T) {
	w := newWorld(t)
	mustEnd(t, w.do(up(cloud())), change.Done)
	gate, reached := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.engine.Fault = func(op, object string) error {
		if op == "Start" && strings.HasPrefix(object, "worker.") {
			once.Do(func() { close(reached) })
			<-gate
		}
		return nil
	}
	l := w.begin(0)
	defer l.end()
	first, _, err := l.deployer.Submit(context.Background(), upgrade(released(cloud(), "2026.1", "worker"), plan.Options{Names: []string{"worker"}}))
	if err != nil {
		t.Fatal(err)
	}
	<-reached
	// Before the second one: once that has ended, this document would lack its pin.
	var conflict *change.ConflictError
	if _, _, err := l.deployer.Submit(context.Background(), upgrade(released(cloud(), "2026.2", "worker"), plan.Options{Names: []string{"worker"}})); !errors.As(err, &conflict) || conflict.Change != first.ID {
		t.Errorf("error %v; want change %d to be in the way", err, first.ID)
	}
	second, _, err := l.deployer.Submit(context.Background(), upgrade(released(cloud(), "2026.1", "db"), plan.Options{Names: []string{"db"}}))
	if err != nil {
		t.Fatalf("an upgrade of something else is refused: %v", err)
	}
	if _, err := l.deployer.Prune(context.Background(), true); !errors.As(err, &conflict) {
		t.Errorf("images are collected while a change needs them: %v", err)
	}
	ended, _ := l.wait(second.ID)
	mustEnd(t, ended, change.Done)
	close(gate)
	ended, _ = l.wait(first.ID)
	mustEnd(t, ended, change.Done)
	pins, err := l.deployer.Pins()
	if err != nil || len(pins) != 2 {
		t.Errorf("pins %v, %v; want those of both", pins, err)
	}
}

// TestGroundThatMoved: a plan of which a change that has just ended has taken the ground is refused: it
// would replace a generation that is not the one that runs.
func TestGroundThatMoved(t *testing.T) {
	w := newWorld(t)
	mustEnd(t, w.do(up(cloud())), change.Done)
	l := w.begin(0)
	defer l.end()
	gate, reached := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var first atomic.Int64 // the change that ends while the second plan is made; 0: none yet
	w.engine.Fault = func(op, object string) error {
		if op == "Start" && strings.HasPrefix(object, "worker.") {
			once.Do(func() { close(reached) })
			<-gate
		}
		if id := first.Load(); op == "List" && id != 0 && first.CompareAndSwap(id, 0) {
			close(gate)
			if c, err := l.deployer.Changes().Wait(context.Background(), int(id)); err != nil || c.Status() != change.Done {
				t.Errorf("the first change ended %v, %v", c, err)
			}
		}
		return nil
	}
	c, _, err := l.deployer.Submit(context.Background(), up(with("worker", mode("better")), "worker"))
	if err != nil {
		t.Fatal(err)
	}
	<-reached
	first.Store(int64(c.ID))
	_, _, err = l.deployer.Submit(context.Background(), up(with("worker", mode("best")), "worker"))
	if !errors.Is(err, ErrStale) || !strings.Contains(err.Error(), "worker has changed since") {
		t.Errorf("error %v; want one that says that the plan is out of date", err)
	}
}

// TestPrune removes what nothing needs and nothing else.
func TestPrune(t *testing.T) {
	w := newWorld(t)
	w.engine.AnyImage = false
	add := func(name, tag string, layers ...string) {
		w.engine.AddImage(engine.Image{
			References: []string{"copse/" + name + ":" + tag}, Labels: map[string]string{"copse.image": name}, Layers: layers, Size: 100,
			Created: w.clock.Now(),
		})
	}
	add("base", "1", "b1")
	add("base", "0", "b0")
	for _, name := range []string{"db", "proxy", "api-db-sync", "worker"} {
		add(name, "1", "b1", name)
	}
	for _, tag := range []string{"1", "2", "3", "unused"} {
		add("api", tag, "b1", "api", tag)
	}
	add("guest", "old", "g0")
	add("guest", "new", "g1")
	w.engine.AddImage(engine.Image{References: []string{"debian:13"}, Size: 100})
	w.engine.AddImage(engine.Image{References: []string{"copse/agent:old"}, Labels: map[string]string{tree.LabelAgent: "true"}, Layers: []string{"a"}, Size: 100})
	image := func(tag string) *tree.Document {
		return with("api", func(c *tree.Container) { c.Spec.Image = "copse/api:" + tag })
	}
	mustEnd(t, w.do(up(image("1"))), change.Done)
	mustEnd(t, w.do(up(image("2"))), change.Done)

	prune := func(dry bool) []string {
		l := w.begin(0)
		defer l.end()
		pruned, err := l.deployer.Prune(context.Background(), dry)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range pruned {
			if p.Err != nil {
				t.Errorf("%v: %v", p.Image.References, p.Err)
			}
			names = append(names, p.Image.References...)
		}
		return names
	}
	want := []string{"copse/agent:old", "copse/api:3", "copse/api:unused", "copse/base:0", "copse/guest:old"}
	for _, dry := range []bool{true, false} {
		if diff := cmp.Diff(want, prune(dry)); diff != "" {
			t.Errorf("dry %t (-want +got):\n%s", dry, diff)
		}
	}
	if again := prune(false); len(again) != 0 {
		t.Errorf("a second time %v is removed", again)
	}
	mustEnd(t, w.do(rollback(plan.Options{Names: []string{"api"}})), change.Done)

	// A virtual machine runs from an image whose container has gone long since.
	outlived := image("2")
	outlived.Container("api").OwnCgroup = true
	follow := up(outlived, "api")
	follow.Options.Unpin = true
	mustEnd(t, w.do(follow), change.Done)
	add("api", "old", "b1", "old")
	w.outliving = []string{"qemu-system-x86"}
	if names := prune(true); len(names) != 0 {
		t.Errorf("%v would be removed under a process", names)
	}
	w.outliving = nil
	if names := prune(true); !slices.Equal(names, []string{"copse/api:old"}) {
		t.Errorf("%v would be removed; want the image that nothing runs from", names)
	}
}

// A check that changes makes no new generation, and is the one that the container is watched by.
func TestDeclaredCheckIsTheOneInUse(t *testing.T) {
	w := newWorld(t)
	doc := phases(tree.RollbackFree)
	mustEnd(t, w.do(up(doc)), change.Done)
	before := w.active("api")
	doc.Container("api").Check = &tree.Check{Test: []string{"another"}, Interval: time.Minute}
	if c := w.do(up(doc)); c != nil {
		t.Errorf("change %d was made for a check", c.ID)
	}
	after := w.active("api")
	if after.Number != before.Number || after.Container.Check == nil || after.Container.Check.Test[0] != "another" {
		t.Errorf("generation %d is watched by %+v; want generation %d and the new check", after.Number, after.Container.Check, before.Number)
	}
}

// TestRollbackNeedsItsSecrets: where a generation's secret is not kept any more, going back to it is refused
// before anything is touched.
func TestRollbackNeedsItsSecrets(t *testing.T) {
	w := newWorld(t)
	mustEnd(t, w.do(up(cloud())), change.Done)
	w.secrets.versions["db_password"] = 2
	mustEnd(t, w.do(up(cloud())), change.Done)
	db := rollback(plan.Options{Names: []string{"db"}})
	if p := w.plan(db); len(p.Steps) != 1 {
		t.Fatalf("while the secret is kept, the plan is\n%s", p)
	}
	w.secrets.versions["db_password"] = 4
	calls := len(w.engine.Changes())
	l := w.begin(0)
	defer l.end()
	_, _, err := l.deployer.Submit(context.Background(), db)
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "needs version 1 of secret db_password, which is not kept any more") {
		t.Errorf("error %v; want one that names the secret", err)
	}
	if now := len(w.engine.Changes()); now != calls {
		t.Errorf("it has touched the engine: %v", w.engine.Changes()[calls:])
	}
}

// TestPruneKeepsWhatIsDeclared: what the next up needs stays, though nothing of it is there, and so does what
// somebody else runs.
func TestPruneKeepsWhatIsDeclared(t *testing.T) {
	w := newWorld(t)
	w.engine.AnyImage = false
	add := func(names ...string) {
		for _, name := range names {
			image, tag, _ := strings.Cut(name, ":")
			w.engine.AddImage(engine.Image{
				References: []string{"copse/" + name}, Labels: map[string]string{"copse.image": image}, Layers: []string{image, tag}, Created: w.clock.Now(),
			})
		}
	}
	add("db:1", "proxy:1", "api-db-sync:1", "worker:1", "api:1", "api:lent", "api:unused", "base:listed", "base:other")
	doc := cloud()
	doc.Images = []tree.Image{{Name: "base", Reference: "copse/base:listed"}}
	mustEnd(t, w.do(up(doc)), change.Done)
	mustEnd(t, w.do(Request{Kind: plan.Down}), change.Done)
	if _, err := w.engine.Create(context.Background(), "somebody", tree.Spec{Image: "copse/api:lent"}); err != nil {
		t.Fatal(err)
	}
	l := w.begin(0)
	defer l.end()
	pruned, err := l.deployer.Prune(context.Background(), true)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range pruned {
		names = append(names, p.Image.References...)
	}
	if want := []string{"copse/api:unused", "copse/base:other"}; !slices.Equal(names, want) {
		t.Errorf("%v would be removed, want %v", names, want)
	}
}
