// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// generation is a server that says who it is. It answers a path of /wait when it is told to.
type generation struct {
	*httptest.Server
	waiting chan struct{} // one message for each request that waits
	answer  func()        // answers them
}

func newGeneration(t *testing.T, name string) *generation {
	answer := make(chan struct{})
	g := &generation{waiting: make(chan struct{}, 100), answer: sync.OnceFunc(func() { close(answer) })}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			g.waiting <- struct{}{}
			<-answer
		}
		io.WriteString(w, name+" "+r.Header.Get("X-Openstack-Request-Id"))
	}))
	t.Cleanup(func() {
		g.answer()
		g.Close()
	})
	return g
}

func (g *generation) address() string { return g.Listener.Addr().String() }

func table(port int, a, b Server) Table {
	return Table{Backends: []Backend{{
		Name: "keystone", Mode: "http", Addresses: []string{"127.0.0.1"}, Port: port, CheckPath: "/v3", Servers: [2]Server{a, b},
	}}}
}

func mustSync(t *testing.T, proxy *Proxy, table Table, want Outcome) {
	t.Helper()
	got, err := proxy.Sync(t.Context(), table)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Fatalf("Sync: %s, want %s", got, want)
	}
}

// patience is how long a client waits for its answer: one that it does not get is to fail with HAProxy's
// log, not with the time limit of all tests.
const patience = 2 * time.Minute

func get(port int, path string) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return string(body), err
}

func mustServe(t *testing.T, port int, want string) {
	t.Helper()
	got, err := get(port, "/")
	if err != nil {
		t.Fatal(err)
	}
	name, id, _ := strings.Cut(got, " ")
	if name != want {
		t.Fatalf("%s answers, want %s", name, want)
	}
	if !strings.HasPrefix(id, "req-") || len(id) != len("req-00000000-0000-0000-0000-000000000000") {
		t.Fatalf("request id %q", id)
	}
}

// load asks without pause until stop, and counts.
type load struct {
	done     atomic.Int64
	failed   atomic.Int64
	mu       sync.Mutex
	failures []error
	wait     sync.WaitGroup
	stopping atomic.Bool
}

func startLoad(port, clients int) *load {
	l := &load{}
	for range clients {
		l.wait.Go(func() {
			for !l.stopping.Load() {
				if _, err := get(port, "/"); err != nil {
					l.failed.Add(1)
					l.mu.Lock()
					l.failures = append(l.failures, err)
					l.mu.Unlock()
				}
				l.done.Add(1)
			}
		})
	}
	return l
}

func (l *load) stop(t *testing.T) {
	t.Helper()
	l.stopping.Store(true)
	l.wait.Wait()
	t.Logf("%d requests, %d failed", l.done.Load(), l.failed.Load())
	if failed := l.failed.Load(); failed != 0 {
		t.Errorf("%d of %d requests failed, the first: %v", failed, l.done.Load(), l.failures[0])
	}
}

func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	target := l.done.Load() + n
	waitFor(t, "requests", func() bool { return l.done.Load() >= target })
}

// One generation after the other is replaced while clients ask, as an upgrade does it: the new
// one ready, the old one drained, then gone. No request may fail.
func TestSwitchUnderLoad(t *testing.T) {
	proxy, port := New(tempDir(t)), freePort(t)
	old := newGeneration(t, "1")
	mustSync(t, proxy, table(port, Server{old.address(), Ready, 1}, Server{}), NotRunning)
	startHAProxy(t, proxy)
	mustServe(t, port, "1")
	mustSync(t, proxy, table(port, Server{old.address(), Ready, 1}, Server{}), Unchanged)

	l := startLoad(port, 4)
	oldSlot := SlotA
	for number := 2; number <= 9; number++ {
		l.more(t, 300)
		next := newGeneration(t, fmt.Sprint(number))
		var slots [2]Server
		slots[oldSlot] = Server{old.address(), Drain, number - 1}
		slots[1-oldSlot] = Server{next.address(), Ready, number}
		mustSync(t, proxy, table(port, slots[0], slots[1]), Switched)
		if err := proxy.Drain(t.Context(), "keystone", oldSlot); err != nil {
			t.Fatal(err)
		}
		if err := proxy.Drain(t.Context(), "keystone", oldSlot); err != nil {
			t.Fatalf("the second time: %v", err)
		}
		old.Close()
		slots[oldSlot] = Server{}
		mustSync(t, proxy, table(port, slots[0], slots[1]), Switched)
		mustServe(t, port, fmt.Sprint(number))
		old, oldSlot = next, 1-oldSlot
	}
	l.stop(t)
}

func TestDrainWaits(t *testing.T) {
	proxy, port := New(tempDir(t)), freePort(t)
	one, two := newGeneration(t, "1"), newGeneration(t, "2")
	mustSync(t, proxy, table(port, Server{one.address(), Ready, 1}, Server{}), NotRunning)
	startHAProxy(t, proxy)
	answered := make(chan error, 1)
	go func() {
		_, err := get(port, "/wait")
		answered <- err
	}()
	<-one.waiting
	mustSync(t, proxy, table(port, Server{one.address(), Drain, 1}, Server{two.address(), Ready, 2}), Switched)
	mustServe(t, port, "2")

	// The connection is in a worker that a reload replaces: it counts all the same.
	reloaded := table(port, Server{one.address(), Drain, 1}, Server{two.address(), Ready, 2})
	reloaded.Backends[0].CheckPath = "/"
	mustSync(t, proxy, reloaded, Reloaded)
	mustSync(t, proxy, reloaded, Unchanged)

	ctx, cancel := context.WithTimeout(t.Context(), 10*pollInterval)
	defer cancel()
	if err := proxy.Drain(ctx, "keystone", SlotA); !errors.Is(err, ErrBusy) {
		t.Fatalf("drained while a request is open: %v", err)
	}
	usages, err := proxy.Sessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := usages["keystone"]; got.Servers != [2]int{1, 0} || got.Clients != 1 || got.Held {
		t.Errorf("sessions %+v", got)
	}
	one.answer()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if err := proxy.Drain(t.Context(), "keystone", SlotA); err != nil {
		t.Fatal(err)
	}
	servers, err := proxy.instance(1).liveServers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := servers["keystone/a"].state; got != Maint {
		t.Errorf("after the drain the slot is in %s", got)
	}
	if err := proxy.Drain(t.Context(), "nothing", SlotA); err == nil {
		t.Error("what does not exist is drained")
	}
}

// What is behind is replaced on its own port while clients ask; they wait, none fails.
func TestHoldAndRelease(t *testing.T) {
	proxy, port := New(tempDir(t)), freePort(t)
	one := newGeneration(t, "1")
	mustSync(t, proxy, table(port, Server{one.address(), Ready, 1}, Server{}), NotRunning)
	startHAProxy(t, proxy)
	l := startLoad(port, 4)
	l.more(t, 200)
	frontends := []string{"keystone"}
	for range 2 {
		if err := proxy.Hold(t.Context(), frontends); err != nil {
			t.Fatal(err)
		}
	}
	usages, err := proxy.Sessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := usages["keystone"]; !got.Held || got.Clients != 0 {
		t.Errorf("held: %+v", got)
	}
	one.Close()
	before := l.done.Load()
	two := newGeneration(t, "2")
	held := table(port, Server{two.address(), Ready, 2}, Server{})
	mustSync(t, proxy, held, Switched)
	if after := l.done.Load(); after != before {
		t.Errorf("%d requests came through", after-before)
	}
	for range 2 {
		if err := proxy.Release(t.Context(), frontends); err != nil {
			t.Fatal(err)
		}
	}
	l.more(t, 200)
	mustServe(t, port, "2")
	l.stop(t)
	if err := proxy.Hold(t.Context(), []string{"nothing"}); err != nil {
		t.Errorf("a front end that is not there has nothing to hold: %v", err)
	}
}

func TestHeldAcrossReload(t *testing.T) {
	proxy, port := New(tempDir(t)), freePort(t)
	one := newGeneration(t, "1")
	first := table(port, Server{one.address(), Ready, 1}, Server{})
	mustSync(t, proxy, first, NotRunning)
	startHAProxy(t, proxy)
	if err := proxy.Hold(t.Context(), []string{"keystone"}); err != nil {
		t.Fatal(err)
	}
	first.Backends[0].CheckPath = "/other"
	mustSync(t, proxy, first, Reloaded)
	usages, err := proxy.Sessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !usages["keystone"].Held {
		t.Error("the reload released the front end")
	}
}

// A front end is added while clients ask, and while a connection is open that must survive.
func TestReload(t *testing.T) {
	proxy, port, added := New(tempDir(t)), freePort(t), freePort(t)
	one := newGeneration(t, "1")
	first := table(port, Server{one.address(), Ready, 1}, Server{})
	mustSync(t, proxy, first, NotRunning)
	h := startHAProxy(t, proxy)
	echo := echoServer(t)
	l := startLoad(port, 4)
	l.more(t, 200)

	second := table(port, Server{one.address(), Ready, 1}, Server{})
	second.Backends = append(second.Backends, Backend{
		Name: "echo", Mode: "tcp", Addresses: []string{"127.0.0.1"}, Port: added, Servers: [2]Server{{echo, Ready, 2}, {}},
	})
	mustSync(t, proxy, second, Reloaded)
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", added))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	mustEcho(t, conn)
	l.more(t, 200)

	mustSync(t, proxy, first, Reloaded)
	mustEcho(t, conn) // a connection outlives its front end
	l.more(t, 200)
	if got := strings.Count(h.log.String(), "Reloading HAProxy"); got != 2 {
		t.Errorf("HAProxy was reloaded %d times, want 2", got)
	}
	l.stop(t)

	// A port that is taken: the old configuration stays, in the process and in the file.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	before, err := os.ReadFile(ConfigPath(proxy.dir))
	if err != nil {
		t.Fatal(err)
	}
	second.Backends[1].Port = listener.Addr().(*net.TCPAddr).Port
	if outcome, err := proxy.Sync(t.Context(), second); err == nil || !strings.Contains(err.Error(), "goes on as before") {
		t.Errorf("a taken port: %s, %v", outcome, err)
	}
	after, err := os.ReadFile(ConfigPath(proxy.dir))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("the configuration that HAProxy refused is still in place")
	}
	mustServe(t, port, "1")
	second.Backends[1].Port = added
	mustSync(t, proxy, second, Reloaded)
	if got := strings.Count(h.log.String(), "Reloading HAProxy"); got != 3 {
		t.Errorf("HAProxy was reloaded %d times, want 3: the taken port is found before", got)
	}
}

// What HAProxy refuses for a reason that nobody foresaw.
func TestRefusedReload(t *testing.T) {
	proxy, port := New(tempDir(t)), freePort(t)
	one := newGeneration(t, "1")
	first := table(port, Server{one.address(), Ready, 1}, Server{})
	mustSync(t, proxy, first, NotRunning)
	startHAProxy(t, proxy)
	if err := os.WriteFile(ConfigPath(proxy.dir), []byte("nonsense\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := proxy.instance(1).reload(t.Context(), "copse-other"); err == nil || !strings.Contains(err.Error(), "goes on as before") {
		t.Errorf("nonsense is loaded: %v", err)
	}
	mustServe(t, port, "1")
	mustSync(t, proxy, first, Unchanged)
	first.Backends[0].CheckPath = "/"
	mustSync(t, proxy, first, Reloaded)
	mustServe(t, port, "1")
}

// What was switched at run time is what a restart comes up with.
func TestRestart(t *testing.T) {
	proxy, port := New(tempDir(t)), freePort(t)
	one, two := newGeneration(t, "1"), newGeneration(t, "2")
	mustSync(t, proxy, table(port, Server{one.address(), Ready, 1}, Server{}), NotRunning)
	h := startHAProxy(t, proxy)
	switched := table(port, Server{one.address(), Drain, 1}, Server{two.address(), Ready, 2})
	mustSync(t, proxy, switched, Switched)
	h.kill(t)
	mustSync(t, proxy, switched, NotRunning)
	if err := errors.Join(
		proxy.Drain(t.Context(), "keystone", SlotA),
		proxy.Hold(t.Context(), []string{"keystone"}),
		proxy.Release(t.Context(), []string{"keystone"}),
	); err != nil {
		t.Errorf("on a proxy that does not run: %v", err)
	}
	startHAProxy(t, proxy)
	mustServe(t, port, "2")
	servers, err := proxy.instance(1).liveServers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if servers["keystone/a"].state == Ready || servers["keystone/b"].state != Ready {
		t.Errorf("after a restart: %v", servers)
	}
}

func echoServer(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String()
}

func mustEcho(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "hello\n" {
		t.Fatalf("%q, %v", line, err)
	}
}

// TestSyncLeavesWhatHasDrained: while one service is drained, others are synced with a table that
// still says drain for it. The two must not fight over the slot.
func TestSyncLeavesWhatHasDrained(t *testing.T) {
	proxy, port := New(tempDir(t)), freePort(t)
	one, two := newGeneration(t, "1"), newGeneration(t, "2")
	draining := table(port, Server{one.address(), Drain, 1}, Server{two.address(), Ready, 2})
	mustSync(t, proxy, table(port, Server{one.address(), Ready, 1}, Server{}), NotRunning)
	startHAProxy(t, proxy)
	mustSync(t, proxy, draining, Switched)
	if err := proxy.Drain(t.Context(), "keystone", SlotA); err != nil {
		t.Fatal(err)
	}
	mustSync(t, proxy, draining, Unchanged)
	servers, err := proxy.instance(1).liveServers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := servers["keystone/a"].state; got != Maint {
		t.Errorf("what has drained is in %s again", got)
	}
	// What is to be used again is not left alone.
	mustSync(t, proxy, table(port, Server{one.address(), Ready, 1}, Server{two.address(), Ready, 2}), Switched)
}
