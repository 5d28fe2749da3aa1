// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"copse/internal/tree"
)

func TestRecord(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(0, 0).Add(time.Duration(ms) * time.Millisecond) }
	failure := errors.New("refused")
	for _, c := range []struct {
		name string
		add  func(*Record)
		want tree.Window
	}{
		{"nothing", func(*Record) {}, tree.Window{}},
		{"all well", func(r *Record) { r.Add(at(0), nil); r.Add(at(50), nil) }, tree.Window{Probes: 2}},
		{"one", func(r *Record) { r.Add(at(0), nil); r.Add(at(50), failure); r.Add(at(90), nil) }, tree.Window{Failed: 1, Probes: 3}},
		{"some", func(r *Record) { r.Add(at(50), failure); r.Add(at(80), nil); r.Add(at(200), failure) },
			tree.Window{Duration: 150 * time.Millisecond, Failed: 2, Probes: 3}},
		{"out of order", func(r *Record) { r.Add(at(200), failure); r.Add(at(50), failure) },
			tree.Window{Duration: 150 * time.Millisecond, Failed: 2, Probes: 2}},
		{"could not ask", func(r *Record) { r.Add(at(0), fmt.Errorf("%w: engine", ErrUnknown)); r.Add(at(1), nil) }, tree.Window{Probes: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r Record
			c.add(&r)
			if got := r.Window(); got != c.want {
				t.Errorf("window %+v, want %+v", got, c.want)
			}
		})
	}
}

// A service is away from 1 s to 3 s, and the watch ends while it still is, or afterwards.
func TestWatch(t *testing.T) {
	for _, c := range []struct {
		name   string
		endsAt time.Duration
		want   *tree.Window
	}{
		// 100 ms apart: the probes at 1.0 … 2.9 s fail, and that at 3.0 s answers.
		{"afterwards", 4 * time.Second, &tree.Window{Duration: 1900 * time.Millisecond, Failed: 20, Probes: 42}},
		{"while it is away", 2 * time.Second, &tree.Window{Duration: 1900 * time.Millisecond, Failed: 20, Probes: 31}},
		{"much too late", longest + time.Second, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				w := Begin([]Target{{Interval: 100 * time.Millisecond, Ask: func(context.Context) error {
					if since := time.Since(began); since >= time.Second && since < 3*time.Second {
						return errors.New("refused")
					}
					return nil
				}}})
				time.Sleep(c.endsAt + time.Millisecond)
				got := w.End()
				if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
					t.Errorf("window %+v, want %+v", got, c.want)
				}
			})
		})
	}
}

// What never answers again does not hold up the end for ever, and a question that waits is neither
// an answer nor a failure.
func TestEndIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := Target{Ask: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		fails := Target{Interval: time.Second, Ask: func(context.Context) error { return errors.New("refused") }}
		w := Begin([]Target{hangs, fails})
		time.Sleep(1500 * time.Millisecond)
		began := time.Now()
		got := w.End()
		if took := time.Since(began); took != settling {
			t.Errorf("the end took %s", took)
		}
		if got == nil || got.Failed != got.Probes || got.Failed < 4 {
			t.Errorf("window %+v", got)
		}
		w = Begin([]Target{hangs})
		w.Abandon()
	})
}

func TestHTTP(t *testing.T) {
	status, header := http.StatusOK, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Much", header)
		if status == http.StatusFound {
			w.Header().Set("Location", "http://127.0.0.1:1/")
		}
		w.WriteHeader(status)
	}))
	ask := HTTP(server.URL)
	for _, c := range []struct {
		status int
		fails  bool
	}{{200, false}, {302, false}, {300, false}, {401, false}, {500, true}, {503, true}} {
		status = c.status
		if err := ask(t.Context()); (err != nil) != c.fails {
			t.Errorf("status %d: %v", c.status, err)
		}
	}
	status, header = http.StatusOK, strings.Repeat("x", 4*largestHead)
	if err := ask(t.Context()); err == nil {
		t.Error("a head without end is an answer")
	}
	server.Close()
	if err := ask(t.Context()); err == nil || errors.Is(err, ErrUnknown) {
		t.Errorf("a server that is gone: %v", err)
	}
}

func TestTCPAndStream(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	accept := func(hangUp bool) {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		if hangUp {
			conn.Close()
			return
		}
		t.Cleanup(func() { conn.Close() })
	}
	go accept(false)
	if err := TCP(address)(t.Context()); err != nil {
		t.Error(err)
	}
	go accept(false)
	if err := Stream(address)(t.Context()); err != nil {
		t.Errorf("a stream that stays open: %v", err)
	}
	go accept(true)
	if err := Stream(address)(t.Context()); err == nil {
		t.Error("a stream that is closed at once is an answer")
	}
	listener.Close()
	if err := TCP(address)(t.Context()); err == nil {
		t.Error("nobody listens, and it is an answer")
	}
	if err := Stream(address)(t.Context()); err == nil {
		t.Error("nobody listens, and it is an answer")
	}
}
