// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"encoding/csv"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// One check that fails does not take a server out of service that has just become ready, in a process that
// runs or in one that has just taken over: it is the only one that its clients have.
func TestOneFailedCheck(t *testing.T) {
	for _, release := range []string{trixie, forky} {
		t.Run("switch, "+release, func(t *testing.T) {
			proxy, port := New(tempDir(t)), freePort(t)
			one, two := newGeneration(t, "1"), newUnsteady(t)
			mustSync(t, proxy, table(port, Server{one.address(), Ready, 1}, Server{}), NotRunning)
			h := startGeneration(t, proxy, release, 1)
			mustSync(t, proxy, table(port, Server{one.address(), Drain, 1}, Server{two.address(), Ready, 2}), Switched)
			two.mustStayUp(t, h, "keystone", "b")
		})
		t.Run("handover, "+release, func(t *testing.T) {
			proxy, port := New(tempDir(t)), freePort(t)
			one := newUnsteady(t)
			mustSync(t, proxy, table(port, Server{one.address(), Ready, 1}, Server{}), NotRunning)
			h := startGeneration(t, proxy, release, 1)
			if err := proxy.Handover(t.Context(), 0, 1); err != nil {
				t.Fatal(err)
			}
			one.mustStayUp(t, h, "keystone", "a")
		})
	}
}

// unsteady is a server that fails the first check, when it is told to answer it.
type unsteady struct {
	*httptest.Server
	answer chan struct{}
	checks atomic.Int64 // answered
}

func newUnsteady(t *testing.T) *unsteady {
	u := &unsteady{answer: make(chan struct{})}
	var first atomic.Bool
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if first.CompareAndSwap(false, true) {
			<-u.answer
			w.WriteHeader(http.StatusInternalServerError)
		}
		u.checks.Add(1)
	}))
	t.Cleanup(u.Close)
	return u
}

func (u *unsteady) address() string { return u.Listener.Addr().String() }

func (u *unsteady) mustStayUp(t *testing.T, h *haproxy, backend, slot string) {
	t.Helper()
	close(u.answer)
	waitFor(t, "checks", func() bool { return u.checks.Load() >= 3 })
	answer, err := h.ask(t.Context(), runtimeSocket, "show stat")
	if err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(answer, "# "))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	failed, down := slices.Index(records[0], "chkfail"), slices.Index(records[0], "chkdown")
	if failed < 0 || down < 0 {
		t.Fatalf("no column of checks in %v", records[0])
	}
	for _, record := range records {
		if record[0] != backend || record[1] != slot {
			continue
		}
		if record[failed] == "0" {
			t.Error("no check failed")
		}
		if record[down] != "0" {
			t.Errorf("it was taken out of service, %s times", record[down])
		}
		return
	}
	t.Errorf("no server %s/%s in\n%s", backend, slot, answer)
}
