// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// The master answers each time that a process is not there, and each time its place for the question is
// free again. It has ten of them.
func TestAskForWhatHasEnded(t *testing.T) {
	for _, release := range []string{trixie, forky} {
		t.Run(release, func(t *testing.T) {
			proxy, port := New(tempDir(t)), freePort(t)
			one := newGeneration(t, "1")
			mustSync(t, proxy, table(port, Server{one.address(), Ready, 1}, Server{}), NotRunning)
			h := startGeneration(t, proxy, release, 1)
			if _, err := h.processes(t.Context()); err != nil { // the master is up
				t.Fatal(err)
			}
			for range 300 {
				answer, err := h.askOnce(t.Context(), masterSocket, "@!4194305 show stat")
				if err != nil || !strings.Contains(answer, "Can't find the target PID") {
					t.Fatalf("%q, %v", answer, err)
				}
			}
			if _, err := h.processes(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A process that finishes after a reload may end while it is asked, in any way.
func TestFormerProcessEnds(t *testing.T) {
	const (
		gone  = "1162 master 1 [failed: 0] 0d00h02m07s 3.0.11\n# workers\n1271 worker 0 0d00h00m00s 3.0.11\n# old workers\n# programs\n\n"
		there = "1162 master 1 [failed: 0] 0d00h02m07s 3.0.11\n# workers\n1271 worker 0 0d00h00m00s 3.0.11\n# old workers\n7 worker 1 0d00h01m00s 3.0.11\n# programs\n\n"
		stats = "# pxname,svname,scur,slim,\nkeystone,FRONTEND,2,4096,\n\n"
		none  = "Can't find the target PID matching the prefix '@!7'\n"
	)
	for name, c := range map[string]struct {
		answers []string // to "@!7 show stat"
		want    int      // sessions counted
	}{
		"it is there":                 {[]string{stats}, 3},
		"it is not":                   {[]string{none}, 1},
		"it says nothing, then ends":  {[]string{"", "", none}, 1},
		"it says nothing, then does":  {[]string{"", "", stats}, 3},
		"it is not known for a while": {[]string{none, stats}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			one := &instance{dir: tempDir(t)}
			serve(t, one, runtimeSocket, func(string) string {
				return "# pxname,svname,scur,slim,\nkeystone,FRONTEND,1,4096,\n\n"
			})
			asked := 0
			serve(t, one, masterSocket, func(command string) string {
				if command == "show proc" {
					if asked == len(c.answers) && c.want == 1 {
						return gone
					}
					return there
				}
				asked++
				return c.answers[asked-1]
			})
			got, err := one.stats(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := got["keystone/FRONTEND"].sessions; got != c.want {
				t.Errorf("%d sessions, want %d", got, c.want)
			}
			if asked != len(c.answers) {
				t.Errorf("asked %d times, want %d", asked, len(c.answers))
			}
		})
	}
}

// One that closes its socket while it is asked has not answered: who listens next is asked again, and
// nobody listens is an answer, too. An empty answer must not pass for one of a process that knows nothing.
func TestAskAgain(t *testing.T) {
	one := &instance{dir: tempDir(t)}
	asked := 0
	stop := serve(t, one, runtimeSocket, func(string) string {
		if asked++; asked < 3 {
			return ""
		}
		return "Name: HAProxy\ndescription: copse-1\n\n"
	})
	if got, err := one.running(t.Context()); err != nil || got != "copse-1" {
		t.Errorf("%q, %v", got, err)
	}
	if asked != 3 {
		t.Errorf("asked %d times, want 3", asked)
	}
	if _, err := one.askOnce(t.Context(), runtimeSocket, "reload"); err != nil {
		t.Error(err)
	}
	asked = -10
	if _, err := one.askOnce(t.Context(), runtimeSocket, "reload"); !errors.Is(err, errUnanswered) || asked != -9 {
		t.Errorf("what must not be asked twice: %v, asked %d times", err, asked+10)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if _, err := one.running(ctx); !errors.Is(err, enough) {
		t.Errorf("after the end of its context: %v", err)
	}
	stop()
	if got, err := one.running(t.Context()); !errors.Is(err, errNotRunning) {
		t.Errorf("nobody listens: %q, %v", got, err)
	}
}

// An answer without an end must not take all memory. The longest that is right is taken whole.
func TestLongAnswer(t *testing.T) {
	one := &instance{dir: tempDir(t)}
	length := mostAnswer
	serve(t, one, runtimeSocket, func(string) string { return strings.Repeat("x", length) })
	if answer, err := one.ask(t.Context(), runtimeSocket, "show stat"); err != nil || len(answer) != length {
		t.Errorf("%d bytes, %v, want %d", len(answer), err, length)
	}
	length++
	answer, err := one.ask(t.Context(), runtimeSocket, "show stat")
	if err == nil || answer != "" || !strings.Contains(err.Error(), "longer than 8 MiB") {
		t.Errorf("%d bytes, %v, want an error that says how many it may be", len(answer), err)
	}
}

// serve answers one command on each connection to a socket of an instance, one after the other, and closes
// it: without a word where the answer is empty. It returns what ends that.
func serve(t *testing.T, one *instance, socket string, answer func(command string) string) (stop func()) {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(one.dir, socket))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			command, err := bufio.NewReader(conn).ReadString('\n')
			if err == nil {
				io.WriteString(conn, answer(strings.TrimSpace(command)))
			} else {
				fmt.Fprintln(conn, err)
			}
			conn.Close()
		}
	}()
	stop = sync.OnceFunc(func() {
		listener.Close()
		<-ended
	})
	t.Cleanup(stop)
	return stop
}
