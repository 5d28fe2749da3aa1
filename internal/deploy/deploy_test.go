// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"copse/internal/change"
	"copse/internal/plan"
	"copse/internal/tree"

	"github.com/google/go-cmp/cmp"
)

// cloud is a small cloud with one of each kind: a database with a volume, a job that fills it,
// the proxy, and a service behind it.
func cloud() *tree.Document {
	service := func(set, name string) tree.Container {
		return tree.Container{
			Host: testHost, Set: set, Name: name, Component: name, Release: "2025.1",
			Spec: tree.Spec{
				Image: "copse/" + name + ":1", NetworkMode: "host", Restart: "always", StopGracePeriod: time.Second,
				Environment: map[string]string{"MODE": "good"},
			},
			Check: &tree.Check{Test: []string{"check"}, StartPeriod: 5 * time.Second},
		}
	}
	db := service("database-control", "db")
	db.Spec.Mounts = []tree.Mount{{Type: tree.NamedVolume, Source: "copse_db", Target: "/var/lib/db"}}
	db.Secrets = []tree.SecretMount{{Name: "db_password", Target: "/run/secrets/db_password"}}

	job := service("openstack-interface", "api-db-sync")
	job.Component = "api"
	job.Spec.Restart, job.Check = "no", nil
	job.Job = &tree.Job{Timeout: time.Minute, Writes: []string{"copse_db"}}
	job.Secrets = []tree.SecretMount{{Name: "db_password", Target: "/run/secrets/db_password"}}
	job.Depends = []tree.Dependency{{Name: "db", Condition: tree.Healthy}}

	proxy := service("high-availability-control", "proxy")
	proxy.Proxy = &tree.Proxy{Directory: "/var/lib/copse/proxy"}

	api := service("openstack-interface", "api")
	api.Frontend = &tree.Frontend{Name: "api", Addresses: []string{"192.0.2.1"}, Port: 5000, Internal: "127.0.0.1", Mode: "http"}
	api.Update.Order = tree.StartFirst
	api.Files = []tree.File{{Target: "/etc/api/policy.yaml", Content: "a: b\n", Mode: 0o644}}
	api.Depends = []tree.Dependency{{Name: "api-db-sync", Condition: tree.Completed}, {Name: "db", Condition: tree.Healthy}}

	worker := service("openstack-control", "worker")
	worker.Depends = []tree.Dependency{{Name: "api", Condition: tree.Healthy}}

	return &tree.Document{
		Version: tree.DocumentVersion, Cloud: "test",
		Sets: []tree.Set{
			{Path: "database-control"}, {Path: "high-availability-control"}, {Path: "openstack-control"}, {Path: "openstack-interface"},
		},
		Containers: []tree.Container{db, job, proxy, api, worker},
		Secrets:    []tree.Secret{{Name: "db_password", Generate: tree.Generator{Kind: "password", Length: 32}}},
		Volumes:    []tree.Volume{{Host: testHost, Name: "copse_db"}},
	}
}

func up(doc *tree.Document, names ...string) Request {
	return Request{Kind: plan.Up, Document: doc, Options: plan.Options{Names: names}}
}

// with returns the cloud with one container changed.
func with(name string, modify func(*tree.Container)) *tree.Document {
	doc := cloud()
	modify(doc.Container(name))
	return doc
}

func mode(m string) func(*tree.Container) {
	return func(c *tree.Container) {
		c.Spec.Environment = maps.Clone(c.Spec.Environment)
		c.Spec.Environment["MODE"] = m
	}
}

func mustEnd(t testing.TB, c *change.Change, want change.Status) {
	t.Helper()
	if c == nil {
		t.Fatalf("nothing was done; want a change that ends %s", want)
	}
	if got := c.Status(); got != want {
		t.Fatalf("change ended %s: %v; want %s", got, c.Err(), want)
	}
}

func mustServe(t *testing.T, w *world, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, w.serving()); diff != "" {
		t.Errorf("what runs (-want +got):\n%s", diff)
	}
}

func mustPlan(t *testing.T, w *world, r Request, want string) {
	t.Helper()
	if diff := cmp.Diff(strings.TrimLeft(want, "\n"), w.plan(r).String()); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
}

func TestUpFromNothing(t *testing.T) {
	w := newWorld(t)
	mustPlan(t, w, up(cloud()), `
create db: not created yet
run api-db-sync: has not run yet after db
create api: not created yet after api-db-sync, db
create proxy: not created yet
create worker: not created yet after api
0 unchanged
`)
	mustEnd(t, w.do(up(cloud())), change.Done)
	w.check()
	if c := w.do(up(cloud())); c != nil {
		t.Errorf("a second up did %q; want nothing", c.Summary)
	}
	if got := len(w.serving()); got != 4 {
		t.Errorf("%d containers run: %v; want 4", got, w.serving())
	}
	if got := w.router.table(); len(got) != 1 || got[0].Slots[0].State != slotReady || got[0].Slots[0].Port == 0 {
		t.Errorf("the proxy's table is %+v; want the api ready on an assigned port", got)
	}
}

// names returns the present generation of each container by name.
func names(t *testing.T, w *world) map[string]int {
	t.Helper()
	l := w.begin(0)
	defer l.end()
	active, err := l.deployer.Active()
	if err != nil {
		t.Fatal(err)
	}
	numbers := map[string]int{}
	for name, g := range active {
		numbers[name] = g.Number
	}
	return numbers
}

// TestOnlyWhatChanged holds that exactly the containers concerned get a new generation.
func TestOnlyWhatChanged(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(w *world)
		doc     *tree.Document
		want    string
		changed []string
	}{
		{
			name: "an environment value", doc: with("api", func(c *tree.Container) { c.Spec.Environment["NEW"] = "4" }),
			want: `
replace api.3 [start-first]: environment NEW added: 4
4 unchanged
`, changed: []string{"api"},
		},
		{
			name: "a file", doc: with("api", func(c *tree.Container) { c.Files[0].Content = "a: c\n" }),
			want: `
replace api.3 [start-first]: file /etc/api/policy.yaml changed
4 unchanged
`, changed: []string{"api"},
		},
		{
			name: "a secret", doc: cloud(), prepare: func(w *world) { w.secrets.versions["db_password"] = 2 },
			want: `
replace db.1 [stop-first]: secret db_password rotated (version 1 → 2)
run api-db-sync: secret db_password rotated (version 1 → 2) after db
3 unchanged
`, changed: []string{"api-db-sync", "db"},
		},
		{
			name: "a check", doc: with("db", func(c *tree.Container) { c.Check.Interval = time.Hour }),
			want: "5 unchanged\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.numbered()
			before := names(t, w)
			if c.prepare != nil {
				c.prepare(w)
			}
			mustPlan(t, w, up(c.doc), c.want)
			if ended := w.do(up(c.doc)); ended != nil {
				mustEnd(t, ended, change.Done)
			}
			w.check()
			if left := w.plan(up(c.doc)); !left.Empty() {
				t.Errorf("afterwards the plan is not empty:\n%s", left)
			}
			var changed []string
			for _, name := range tree.SortedKeys(before) {
				if names(t, w)[name] != before[name] {
					changed = append(changed, name)
				}
			}
			if diff := cmp.Diff(c.changed, changed); diff != "" {
				t.Errorf("new generations (-want +got):\n%s", diff)
			}
		})
	}
}

// numbered brings the cloud up one container at a time, so that generations have known numbers:
// db 1, api-db-sync 2, api 3, proxy 4, worker 5.
func (w *world) numbered() {
	w.t.Helper()
	for _, name := range []string{"db", "api-db-sync", "api", "proxy", "worker"} {
		if c := w.do(up(cloud(), name)); c == nil || c.Status() != change.Done {
			w.t.Fatalf("cannot bring up %s: %v", name, c.Err())
		}
	}
}

// TestFailureLeavesTheOldOne holds that what fails is undone by itself and the old generation serves.
func TestFailureLeavesTheOldOne(t *testing.T) {
	for _, c := range []struct {
		container, mode string
		want            []string // in the error
	}{
		{"api", "never-ready", []string{"was not ready after", "the database does not answer", "mode is never-ready", "copse change"}},
		{"api", "crash", []string{"ended with status 1", "mode is crash"}},
		{"db", "never-ready", []string{"was not ready after", "mode is never-ready"}},
		{"db", "crash", []string{"ended with status 1"}},
		{"api-db-sync", "fail", []string{"failed with status 3", "mode is fail"}},
	} {
		t.Run(c.container+" "+c.mode, func(t *testing.T) {
			w := newWorld(t)
			w.numbered()
			before := names(t, w)
			ended := w.do(up(with(c.container, mode(c.mode))))
			mustEnd(t, ended, change.Error)
			for _, text := range c.want {
				if !strings.Contains(ended.Err().Error(), text) {
					t.Errorf("the error does not say %q:\n%v", text, ended.Err())
				}
			}
			w.check()
			if diff := cmp.Diff(before, names(t, w)); diff != "" {
				t.Errorf("generations (-before +after):\n%s", diff)
			}
			mustServe(t, w, "api.3", "db.1", "proxy.4", "worker.5")
			if p := w.plan(up(with(c.container, mode(c.mode)))); len(p.Steps) != 1 || p.Steps[0].Container != c.container {
				t.Errorf("the next plan is\n%s\nwant what is left: %s", p, c.container)
			}
		})
	}
}

// TestFailureShowsNoSecrets: what a container writes and what its check says may hold them.
func TestFailureShowsNoSecrets(t *testing.T) {
	for container, mode := range map[string]string{"api": "never-ready", "api-db-sync": "fail"} {
		w := newWorld(t)
		w.says = map[string]string{container: "cannot connect to mysql://api:hunter2@db/api, says the database" + strings.Repeat("!", 10*mostInLine)}
		w.secrets.hides = "hunter2"
		ended := w.do(up(with(container, func(c *tree.Container) { c.Spec.Environment = map[string]string{"MODE": mode} })))
		mustEnd(t, ended, change.Error)
		text, err := json.Marshal(ended)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "hunter2") || !strings.Contains(ended.Err().Error(), "mysql://api:(secret)@db/api") {
			t.Errorf("%s: %s", container, text)
		}
		if len(ended.Err().Error()) > 2*mostInLine {
			t.Errorf("%s: the error has %d bytes", container, len(ended.Err().Error()))
		}
	}
}

// TestFirstStartFails: what depends on it is held, what does not is there.
func TestFirstStartFails(t *testing.T) {
	w := newWorld(t)
	ended := w.do(up(with("api", mode("crash"))))
	mustEnd(t, ended, change.Error)
	w.check()
	var up []string
	for name := range names(t, w) {
		up = append(up, name)
	}
	if len(up) != 3 || names(t, w)["worker"] != 0 || names(t, w)["api"] != 0 {
		t.Errorf("active are %v; want db, its job and the proxy", up)
	}
	mustEnd(t, w.do(Request{Kind: plan.Up, Document: cloud()}), change.Done)
	w.check()
}

func TestAtomicUndoesEverything(t *testing.T) {
	w := newWorld(t)
	w.numbered()
	before := names(t, w)
	doc := with("api", mode("never-ready"))
	doc.Container("db").Spec.Environment["NEW"] = "1"
	ended := w.do(Request{Kind: plan.Up, Document: doc, Atomic: true})
	mustEnd(t, ended, change.Error)
	w.check()
	if diff := cmp.Diff(before, names(t, w)); diff != "" {
		t.Errorf("generations (-before +after):\n%s", diff)
	}
	mustServe(t, w, "api.3", "db.1", "proxy.4", "worker.5")
}

func TestStopStartDown(t *testing.T) {
	w := newWorld(t)
	w.numbered()
	mustPlan(t, w, Request{Kind: plan.Stop, Options: plan.Options{Names: []string{"db"}}}, `
stop db.1: asked for
note: api goes on running and depends on db, which will be stopped
0 unchanged
`)
	mustEnd(t, w.do(Request{Kind: plan.Stop, Options: plan.Options{Names: []string{"db"}}}), change.Done)
	mustServe(t, w, "api.3", "proxy.4", "worker.5")
	w.engine.Restart()
	mustPlan(t, w, Request{Kind: plan.Up}, `
start db.1: stopped by change 6
4 unchanged
`)
	mustEnd(t, w.do(Request{Kind: plan.Start, Options: plan.Options{Names: []string{"database-control"}}}), change.Done)
	mustServe(t, w, "api.3", "db.1", "proxy.4", "worker.5")
	w.check()

	mustEnd(t, w.do(Request{Kind: plan.Down}), change.Done)
	mustServe(t, w)
	mustPlan(t, w, Request{Kind: plan.Up}, `
create db: not created yet
create api: not created yet after db
create proxy: not created yet
create worker: not created yet after api
1 unchanged
`)
	mustEnd(t, w.do(Request{Kind: plan.Up}), change.Done)
	w.check()

	mustEnd(t, w.do(Request{Kind: plan.Down, Options: plan.Options{Volumes: true}}), change.Done)
	if p := w.plan(Request{Kind: plan.Up}); p.Steps[1].Container != "api-db-sync" {
		t.Errorf("after the data has gone the plan is\n%s\nwant the job that fills it among it", p)
	}
}

// TestOutliving: what a container has started is mentioned when it goes; its service is not.
func TestOutliving(t *testing.T) {
	w := newWorld(t)
	doc := with("worker", func(c *tree.Container) {
		c.OwnCgroup, c.Spec.Command = true, []string{"sh", "-c", "exec libvirtd --config x"}
	})
	mustEnd(t, w.do(up(doc)), change.Done)
	w.outliving = []string{"libvirtd"}
	if p := w.plan(Request{Kind: plan.Down}); len(p.Notes) != 0 {
		t.Errorf("with the service alone: %q", p.Notes)
	}
	w.outliving = []string{"libvirtd", "qemu-system-x86"}
	if p := w.plan(Request{Kind: plan.Down}); len(p.Notes) != 1 || !strings.HasPrefix(p.Notes[0], "1 qemu-system-x86, started by worker") {
		t.Errorf("with a virtual machine: %q", p.Notes)
	}
}

// TestDrift: what vanished from the engine comes back under its own number.
func TestDrift(t *testing.T) {
	w := newWorld(t)
	w.numbered()
	for _, c := range []struct{ name, want string }{
		{"db.1", "recreate db.1 (drift): the engine has no container db.1 any more\n4 unchanged\n"},
		{"api.3", "recreate api.3 (drift): the engine has no container api.3 any more\n4 unchanged\n"},
	} {
		if err := w.engine.Remove(context.Background(), c.name, true); err != nil {
			t.Fatal(err)
		}
		mustPlan(t, w, Request{Kind: plan.Up}, c.want)
		mustEnd(t, w.do(Request{Kind: plan.Up}), change.Done)
		w.check()
		mustServe(t, w, "api.3", "db.1", "proxy.4", "worker.5")
	}
}

func TestRefusedBeforeAnythingIsTouched(t *testing.T) {
	revision := uint64(99)
	unknown := cloud()
	for _, c := range []struct {
		name    string
		prepare func(w *world)
		request Request
		is      error
		says    string
	}{
		{name: "port taken", prepare: func(w *world) { w.taken[5000] = 77 }, request: up(cloud()),
			is: ErrInvalid, says: "tcp 192.0.2.1:5000 is needed by proxy (for api) and taken by process 77 (nc)"},
		{name: "disk full", prepare: func(w *world) { w.free = 1 << 20 }, request: up(cloud()), is: ErrInvalid, says: "make room"},
		{name: "image missing", prepare: func(w *world) { w.engine.AnyImage = false }, request: up(cloud()),
			is: ErrInvalid, says: "image copse/db:1 is not on this host: \"copse build\" makes it"},
		{name: "newer document", request: up(&tree.Document{Version: tree.DocumentVersion + 1}), is: ErrNewerDocument, says: "which replaces the agent"},
		{name: "stale", request: Request{Kind: plan.Up, Document: cloud(), Revision: &revision}, is: ErrStale, says: "look at the plan again"},
		{name: "nothing declared", request: Request{Kind: plan.Stop}, is: ErrNothingDeclared, says: "copse up"},
		{name: "unknown name", request: up(unknown, "wroker"), is: ErrInvalid, says: `did you mean "worker"?`},
		{name: "cycle", request: up(with("db", func(c *tree.Container) {
			c.Depends = []tree.Dependency{{Name: "worker", Condition: tree.Healthy}}
		})), is: ErrInvalid, says: "containers wait for each other: api → api-db-sync → db → worker → api"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			if c.prepare != nil {
				c.prepare(w)
			}
			l := w.begin(0)
			defer l.end()
			_, _, err := l.deployer.Submit(context.Background(), c.request)
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v; want one that says %q", err, c.says)
			}
			if changes := w.engine.Changes(); len(changes) != 0 {
				t.Errorf("it has touched the engine: %v", changes)
			}
		})
	}
}

func TestSecondChangeIsRefused(t *testing.T) {
	w := newWorld(t)
	l := w.begin(1) // the first change never gets on
	defer l.end()
	if _, _, err := l.deployer.Submit(context.Background(), up(cloud())); err != nil {
		t.Fatal(err)
	}
	_, _, err := l.deployer.Submit(context.Background(), up(cloud()))
	var conflict *change.ConflictError
	if !errors.As(err, &conflict) || conflict.Change != 1 || !strings.Contains(err.Error(), "copse abort 1") {
		t.Errorf("error %v; want a conflict with change 1", err)
	}
}

// scenarios are changes of a cloud that runs, for crashes at every boundary.
// TestMovedPortsAreAskedAbout: a container that is replaced has its own ports already, but not those
// that it is to move to.
func TestMovedPortsAreAskedAbout(t *testing.T) {
	w := newWorld(t)
	mustEnd(t, w.do(up(cloud())), change.Done)
	w.taken[5000], w.taken[5001] = 1, 77
	l := w.begin(0)
	defer l.end()
	changed := with("proxy", mode("better"))
	c, _, err := l.deployer.Submit(context.Background(), up(changed))
	if err != nil {
		t.Fatalf("the proxy's own port is in its way: %v", err)
	}
	if c, _ = l.wait(c.ID); c.Status() != change.Done {
		t.Fatalf("change ended %s: %v", c.Status(), c.Err())
	}
	moved := with("proxy", mode("best"))
	moved.Container("api").Frontend.Port = 5001
	_, _, err = l.deployer.Submit(context.Background(), up(moved))
	if err == nil || !strings.Contains(err.Error(), "192.0.2.1:5001 is needed by proxy (for api) and taken by process 77") {
		t.Errorf("error %v; want one that says who has port 5001", err)
	}
}

// TestBusyCloud: while a change runs, a second one is refused because of it and of nothing else, and a
// plan says so.
func TestBusyCloud(t *testing.T) {
	w := newWorld(t)
	going, goOn := make(chan struct{}), make(chan struct{})
	w.engine.Fault = func(op, object string) error {
		if op == "Start" && strings.HasPrefix(object, "proxy.") {
			close(going)
			<-goOn
		}
		return nil
	}
	l := w.begin(0)
	defer l.end()
	request := up(with("proxy", func(c *tree.Container) { c.Depends = []tree.Dependency{{Name: "db", Condition: tree.Healthy}} }))
	c, _, err := l.deployer.Submit(context.Background(), request)
	if err != nil {
		t.Fatal(err)
	}
	<-going
	w.mu.Lock()
	w.taken[5000] = 1
	w.mu.Unlock()
	var conflict *change.ConflictError
	if _, _, err := l.deployer.Submit(context.Background(), request); !errors.As(err, &conflict) || conflict.Change != c.ID {
		t.Errorf("error %v; want one that names change %d", err, c.ID)
	}
	p, err := l.deployer.Plan(context.Background(), request)
	if err != nil || len(p.Notes) == 0 || !strings.Contains(p.Notes[len(p.Notes)-1], "change 1 (") {
		t.Errorf("plan %v, error %v; want a note about change %d", p, err, c.ID)
	}
	close(goOn)
	l.wait(c.ID)
}

// TestDrainedBeforeItIsStopped: what is replaced behind the proxy answers what it has before it is stopped.
func TestDrainedBeforeItIsStopped(t *testing.T) {
	w := newWorld(t)
	mustEnd(t, w.do(up(cloud())), change.Done)
	old := w.active("api").Name()
	var mu sync.Mutex
	var order []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, what)
	}
	w.router.drained = func(frontend string, slot int) {
		for _, r := range w.router.table() {
			if r.Frontend.Name == frontend {
				note(fmt.Sprintf("drain %s: %s", tree.GenerationName(frontend, r.Slots[slot].Generation), r.Slots[slot].State))
			}
		}
	}
	w.engine.Fault = func(op, object string) error {
		if op == "Stop" && object == old {
			note("stop " + object)
		}
		return nil
	}
	mustEnd(t, w.do(up(with("api", mode("better")))), change.Done)
	if want := []string{"drain " + old + ": drain", "stop " + old}; !slices.Equal(order, want) {
		t.Errorf("in this order: %q, want %q", order, want)
	}
}

// TestEndedBeforeItIsKept: a generation that ends after it was ready, while the one before is stopped, is
// not kept: nobody would start it again.
func TestEndedBeforeItIsKept(t *testing.T) {
	w := newWorld(t)
	w.numbered()
	old := w.active("worker")
	successor := tree.GenerationName("worker", old.Number+1)
	var once sync.Once
	w.engine.Fault = func(op, object string) error {
		if op == "Stop" && object == old.Name() {
			once.Do(func() {
				if err := w.engine.Stop(context.Background(), successor, 0); err != nil {
					t.Error(err)
				}
			})
		}
		return nil
	}
	ended := w.do(up(with("worker", func(c *tree.Container) {
		c.Update.Order = tree.StartFirst
		mode("better")(c)
	})))
	mustEnd(t, ended, change.Error)
	if !strings.Contains(ended.Err().Error(), successor+" ended with status") {
		t.Errorf("error %v; want one that says that it has ended", ended.Err())
	}
	w.check()
	if now := w.active("worker"); now.Number != old.Number || !slices.Contains(w.serving(), old.Name()) {
		t.Errorf("active is generation %d, running are %v; want generation %d to serve again", now.Number, w.serving(), old.Number)
	}
}
