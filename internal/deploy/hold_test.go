// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"copse/internal/change"
	"copse/internal/engine"
	"copse/internal/plan"
	"copse/internal/store"
	"copse/internal/tree"

	"github.com/google/go-cmp/cmp"
)

// held is the cloud with a database that is replaced while requests are held, and a second front
// end that calls the first.
func held(modify func(db *tree.Container)) *tree.Document {
	doc := cloud()
	caller := *doc.Container("api")
	caller.Name, caller.Component = "caller", "caller"
	frontend := *caller.Frontend
	frontend.Name, frontend.Port = "caller", 5100
	caller.Frontend = &frontend
	caller.Depends = []tree.Dependency{{Name: "api", Condition: tree.Healthy}}
	doc.Containers = append(doc.Containers, caller)
	db := doc.Container("db")
	db.Update.Hold = true
	if modify != nil {
		modify(db)
	}
	return doc
}

// TestHeld: while the database is away the requests of all that need it are held, callers first, and
// are let through in the reverse order, well or ill.
func TestHeld(t *testing.T) {
	order := []string{"hold caller", "hold api", "release api", "release caller"}
	for _, c := range []struct {
		name   string
		modify func(*tree.Container)
		want   change.Status
		said   []string
	}{
		{"well", mode("better"), change.Done, order},
		{"never ready", mode("never-ready"), change.Error, order},
		{"crash", mode("crash"), change.Error, order},
		{"unhealthy when released", func(db *tree.Container) {
			mode("sickens")(db)
			db.Update.Monitor = 10 * time.Second
		}, change.Error, append(append([]string{}, order...), order...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			mustEnd(t, w.do(up(held(nil))), change.Done)
			w.router.said()
			w.engine.Fault = func(op, object string) error {
				if (op == "Start" || op == "Stop") && strings.HasPrefix(object, "db.") && !w.router.holds("api") {
					t.Errorf("%s %s while requests come through", op, object)
				}
				return nil
			}
			ended := w.do(up(held(c.modify)))
			w.engine.Fault = nil
			mustEnd(t, ended, c.want)
			w.check()
			if diff := cmp.Diff(c.said, w.router.said()); diff != "" {
				t.Errorf("what the proxy was told (-want +got):\n%s", diff)
			}
		})
	}
}

// TestHoldIsBounded: clients do not wait for ever for a database that does not come back.
func TestHoldIsBounded(t *testing.T) {
	w := newWorld(t)
	mustEnd(t, w.do(up(held(nil))), change.Done)
	slow := held(func(db *tree.Container) {
		mode("never-ready")(db)
		db.Check.StartPeriod = 10 * holdLimit
	})
	var heldAt time.Time
	var heldFor time.Duration
	w.router.fault = func(op, _ string) error {
		if now := w.clock.Now(); op == "Hold" {
			heldAt = now
		} else if op == "Release" && heldFor == 0 {
			heldFor = now.Sub(heldAt)
		}
		return nil
	}
	l := w.begin(0)
	c, _, err := l.deployer.Submit(context.Background(), up(slow))
	if err != nil {
		t.Fatal(err)
	}
	ended, _ := l.wait(c.ID)
	l.end()
	mustEnd(t, ended, change.Error)
	w.check()
	if heldFor < holdLimit || heldFor > holdLimit+10*time.Second {
		t.Errorf("requests were held for %s", heldFor)
	}
}

// TestNothingIsHeldForEver: what a change has left held that does not run any more is let go of when
// the agent starts.
func TestNothingIsHeldForEver(t *testing.T) {
	w := newWorld(t)
	mustEnd(t, w.do(up(held(nil))), change.Done)
	broken := true
	w.router.fault = func(op, _ string) error {
		if op == "Release" && broken {
			return errors.New("HAProxy hangs")
		}
		return nil
	}
	ended := w.do(up(held(mode("never-ready"))))
	mustEnd(t, ended, change.Stuck)
	if !strings.Contains(ended.Err().Error(), "cannot release the requests that wait for db") {
		t.Errorf("error %v", ended.Err())
	}
	if !w.router.holds("api") {
		t.Fatal("it was released")
	}
	broken = false
	w.begin(0).end()
	if w.router.holds("api") {
		t.Error("requests are held although no change runs")
	}
}

// TestProxyTakesOver: a new generation of the proxy takes the sockets over from the one before, and a
// failure leaves that one as it was.
func TestProxyTakesOver(t *testing.T) {
	startFirst := func(m string) *tree.Document {
		return with("proxy", func(c *tree.Container) {
			c.Update.Order = tree.StartFirst
			mode(m)(c)
		})
	}
	w := newWorld(t)
	mustEnd(t, w.do(up(startFirst("good"))), change.Done)
	before := names(t, w)["proxy"]
	w.check()
	w.router.said()
	stopped := ""
	w.engine.Fault = func(op, object string) error {
		if op == "Stop" {
			stopped += object + " "
		}
		return nil
	}
	mustEnd(t, w.do(up(startFirst("never-ready"))), change.Error)
	w.check()
	if strings.Contains(stopped, tree.GenerationName("proxy", before)) {
		t.Errorf("stopped were %s", stopped)
	}
	mustEnd(t, w.do(up(startFirst("better"))), change.Done)
	w.check()
	after := names(t, w)["proxy"]
	if diff := cmp.Diff(2, len(w.router.said())); diff != "" || after == before {
		t.Errorf("generation %d then %d; handovers (-want +got):\n%s", before, after, diff)
	}
	c, err := w.engine.Inspect(context.Background(), tree.GenerationName("proxy", after))
	if err != nil || c.State != engine.Running {
		t.Fatalf("%v, %v", c.State, err)
	}
}

// TestMonitor: a generation that is ready and then falls ill is undone, with what it said; a check
// may fail as often as it is allowed to.
func TestMonitor(t *testing.T) {
	for _, c := range []struct {
		name, container string
		modify          func(*tree.Container)
		want            change.Status
		says            []string
	}{
		{"stays healthy", "api", mode("better"), change.Done, nil},
		{"sickens", "api", mode("sickens"), change.Error, []string{"was ready, but is not healthy after", "it has a fever", "mode is sickens"}},
		{"a worker sickens", "worker", mode("sickens"), change.Error, []string{"it has a fever"}},
		{"the database sickens", "db", mode("sickens"), change.Error, []string{"it has a fever"}},
		{"ends", "worker", mode("ends"), change.Error, []string{"ended with status 1"}},
		{"has a cold", "api", func(c *tree.Container) { mode("cold")(c); c.Check.Retries = 3 }, change.Done, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.numbered()
			before := names(t, w)
			ended := w.do(up(with(c.container, func(one *tree.Container) {
				one.Update.Monitor = 20 * time.Second
				c.modify(one)
			})))
			mustEnd(t, ended, c.want)
			w.check()
			for _, text := range c.says {
				if !strings.Contains(ended.Err().Error(), text) {
					t.Errorf("the error does not say %q:\n%v", text, ended.Err())
				}
			}
			if c.want == change.Done {
				return
			}
			if diff := cmp.Diff(before, names(t, w)); diff != "" {
				t.Errorf("generations (-before +after):\n%s", diff)
			}
			mustServe(t, w, "api.3", "db.1", "proxy.4", "worker.5")
		})
	}
}

// windowsOf returns the window of each generation of a container, oldest first.
func windowsOf(t *testing.T, w *world, name string) []*tree.Window {
	t.Helper()
	l := w.begin(0)
	defer l.end()
	generations, err := l.deployer.Generations()
	if err != nil {
		t.Fatal(err)
	}
	var all []*tree.Window
	for _, g := range generations {
		if g.Container.Name == name {
			all = append(all, g.Window)
		}
	}
	return all
}

// TestWindow: what clients saw is kept with the generation that took over, or failed to; a first
// generation, and one whose predecessor did not run, has interrupted nothing.
func TestWindow(t *testing.T) {
	for _, container := range []string{"api", "db", "proxy", "worker"} {
		t.Run(container, func(t *testing.T) {
			w := newWorld(t)
			w.numbered()
			mustEnd(t, w.do(up(with(container, mode("better")))), change.Done)
			mustEnd(t, w.do(up(with(container, mode("sickens")))), change.Done)
			mustEnd(t, w.do(up(with(container, func(c *tree.Container) {
				mode("never-ready")(c)
				c.Spec.Environment["NEW"] = "1"
			}))), change.Error)
			measured := &tree.Window{Duration: 250 * time.Millisecond, Failed: 1, Probes: 10}
			want := []*tree.Window{nil, measured, measured, measured}
			if container == "api" {
				want[3] = nil // it was never switched to: the one before was never interrupted
			}
			if diff := cmp.Diff(want, windowsOf(t, w, container)); diff != "" {
				t.Errorf("windows (-want +got):\n%s", diff)
			}
		})
	}
}

// TestHalfAWindowIsNone: where the agent ends while it measures, nothing was measured.
func TestHalfAWindowIsNone(t *testing.T) {
	measured, unmeasured := 0, 0
	for at := 1; ; at++ {
		w := newWorld(t)
		w.numbered()
		if !crashOnce(t, w, up(with("db", mode("better"))), at) {
			break
		}
		all := windowsOf(t, w, "db")
		switch last := all[len(all)-1]; {
		case last == nil:
			unmeasured++
		case last.Probes == 10:
			measured++
		}
		if w.measures.begun > 1 {
			t.Errorf("with a crash at boundary %d it was measured %d times", at, w.measures.begun)
		}
	}
	if measured == 0 || unmeasured == 0 {
		t.Errorf("measured %d times and not %d times: nothing was tested", measured, unmeasured)
	}
}

// TestHoldGoesOnWithOpenRequests: requests that do not end keep nobody from replacing what they need.
func TestHoldGoesOnWithOpenRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		mustEnd(t, w.do(up(held(nil))), change.Done)
		w.router.busy = true
		began := time.Now()
		ended := w.do(up(held(mode("better"))))
		mustEnd(t, ended, change.Done)
		if took := time.Since(began); took != holdPatience {
			t.Errorf("it waited %s for open requests, want %s", took, holdPatience)
		}
		said := ""
		for _, task := range ended.Tasks {
			said += fmt.Sprint(task.Log)
		}
		if !strings.Contains(said, "requests that have not ended after 20s may fail") {
			t.Errorf("the change does not say that requests may fail: %s", said)
		}
		w.check()
	})
}

// holdFor has requests held for a container, as a change in another lane does.
func (l *life) holdFor(t *testing.T, name string, frontends ...string) {
	t.Helper()
	err := l.store.Update(func(tx *store.Tx) error {
		return store.Put(tx, heldBucket, containerKey(testHost, name), heldRecord{Frontends: frontends, Since: l.w.clock.Now()})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.w.router.Hold(context.Background(), "", frontends); err != nil {
		t.Fatal(err)
	}
}

// TestHeldForTwo: what is held for two containers is released by the last of them.
func TestHeldForTwo(t *testing.T) {
	w := newWorld(t)
	mustEnd(t, w.do(up(held(nil))), change.Done)
	l := w.begin(0)
	defer l.end()
	l.holdFor(t, "db", "caller", "api")
	l.holdFor(t, "bus", "api")
	if err := l.deployer.letGo(context.Background(), "db"); err != nil {
		t.Fatal(err)
	}
	if !w.router.holds("api") || w.router.holds("caller") {
		t.Errorf("held for the bus alone: api %t, caller %t; want api", w.router.holds("api"), w.router.holds("caller"))
	}
	if err := l.deployer.letGo(context.Background(), "bus"); err != nil {
		t.Fatal(err)
	}
	if w.router.holds("api") {
		t.Error("requests are held for nobody")
	}
}

// TestProxyIsReplacedDuringAHold: a new proxy waits for the end of a hold, since it would let requests
// through; where that does not end, it holds them as well.
func TestProxyIsReplacedDuringAHold(t *testing.T) {
	startFirst := func(m string) *tree.Document {
		doc := held(nil)
		proxy := doc.Container("proxy")
		proxy.Update.Order = tree.StartFirst
		mode(m)(proxy)
		return doc
	}
	w := newWorld(t)
	mustEnd(t, w.do(up(startFirst("good"))), change.Done)
	l := w.begin(0)
	defer l.end()
	l.holdFor(t, "db", "caller", "api")
	w.router.said()
	began := w.clock.Now()
	c, _, err := l.deployer.Submit(context.Background(), up(startFirst("better"), "proxy"))
	if err != nil {
		t.Fatal(err)
	}
	ended, _ := l.wait(c.ID)
	mustEnd(t, ended, change.Done)
	if took := w.clock.Now().Sub(began); took < holdLimit {
		t.Errorf("the new proxy was started after %s, while requests were held", took)
	}
	said := w.router.said()
	if len(said) != 3 || !strings.HasPrefix(said[0], "hand over") || !slices.Equal(said[1:], []string{"hold caller", "hold api"}) {
		t.Errorf("the proxy was told %q; want what is held to be held after the handover", said)
	}
	if err := l.deployer.letGo(context.Background(), "db"); err != nil {
		t.Fatal(err)
	}
}

// TestNothingIsMeasuredWhereNothingRan: what was down before is not interrupted by being replaced.
func TestNothingIsMeasuredWhereNothingRan(t *testing.T) {
	w := newWorld(t)
	w.numbered()
	mustEnd(t, w.do(Request{Kind: plan.Stop, Options: plan.Options{Names: []string{"db"}}}), change.Done)
	mustEnd(t, w.do(up(with("db", mode("better")))), change.Done)
	if diff := cmp.Diff([]*tree.Window{nil, nil}, windowsOf(t, w, "db")); diff != "" || w.measures.begun != 0 {
		t.Errorf("%d measurements; windows (-want +got):\n%s", w.measures.begun, diff)
	}
}

// TestTargets: what is asked while something is replaced is what clients use: for the proxy and for what
// requests are held for, the front ends.
func TestTargets(t *testing.T) {
	asked := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	defer server.Close()
	at := netip.MustParseAddrPort(server.Listener.Addr().String())
	w := newWorld(t)
	doc := held(nil)
	front := doc.Container("api").Frontend
	front.Addresses, front.Port, front.CheckPath = []string{"0.0.0.0"}, int(at.Port()), "/healthcheck"
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	own := netip.MustParseAddrPort(listener.Addr().String())
	doc.Container("worker").Ports = []tree.Port{
		{Address: "127.0.0.1", Port: int(own.Port()), Protocol: "tcp"}, {Address: "127.0.0.1", Port: 1, Protocol: "udp"},
	}
	mustEnd(t, w.do(up(doc)), change.Done)
	l := w.begin(0)
	defer l.end()
	active, err := l.deployer.Active()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]time.Duration{
		"db": {httpInterval, httpInterval}, "proxy": {httpInterval, httpInterval}, "api": {httpInterval}, "worker": {tcpInterval},
	} {
		targets, err := l.deployer.targets(active[name], active[name])
		if err != nil {
			t.Fatal(err)
		}
		var intervals []time.Duration
		for _, target := range targets {
			intervals = append(intervals, target.Interval)
		}
		if !slices.Equal(intervals, want) {
			t.Errorf("%s is asked at the intervals %v, want %v", name, intervals, want)
		}
	}
	ask := func(name string) error {
		targets, err := l.deployer.targets(active[name], active[name])
		if err != nil || len(targets) != 1 {
			t.Fatalf("%s has %d targets, %v", name, len(targets), err)
		}
		return targets[0].Ask(t.Context())
	}
	if err := ask("api"); err != nil {
		t.Errorf("api does not answer: %v", err)
	}
	select {
	case path := <-asked:
		if path != "/healthcheck" {
			t.Errorf("asked for is %s", path)
		}
	default:
		t.Error("api was not asked")
	}
	if err := ask("worker"); err != nil {
		t.Errorf("the worker's port is not open: %v", err)
	}
	server.Close()
	listener.Close()
	for _, name := range []string{"api", "worker"} {
		if ask(name) == nil {
			t.Errorf("%s answers, and nobody listens", name)
		}
	}
	// What has neither a front end nor a port is asked by its check, in whichever generation runs.
	checked := *active["worker"]
	checked.Container.Ports = nil
	gone := checked
	gone.Number += 100
	for _, generations := range [][2]*tree.Generation{{&checked, &gone}, {&gone, &checked}} {
		targets, err := l.deployer.targets(generations[0], generations[1])
		if err != nil || len(targets) != 1 || targets[0].Interval != checkInterval {
			t.Fatalf("targets %+v, %v", targets, err)
		}
		if err := targets[0].Ask(t.Context()); err != nil {
			t.Errorf("one of two generations runs, and its check says %v", err)
		}
	}
	targets, err := l.deployer.targets(&gone, &gone)
	if err != nil || len(targets) != 1 || targets[0].Ask(t.Context()) == nil {
		t.Errorf("none of two generations runs, and the check is well (%v)", err)
	}
}
