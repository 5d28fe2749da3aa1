// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"copse/internal/change"
	"copse/internal/engine"
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
