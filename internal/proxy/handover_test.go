// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// One generation of HAProxy takes over from another while clients ask, between the versions that the
// releases have, there and back. No request fails, a connection that is open lives on in the old
// process, and what is switched in between reaches both.
func TestHandover(t *testing.T) {
	for _, c := range []struct{ from, to string }{{trixie, trixie}, {trixie, forky}, {forky, trixie}} {
		t.Run(c.from+" to "+c.to, func(t *testing.T) {
			proxy, port, streamPort := New(tempDir(t)), freePort(t), freePort(t)
			one, two := newGeneration(t, "1"), newGeneration(t, "2")
			both := func(a, b Server) Table {
				all := table(port, a, b)
				all.Backends = append(all.Backends, Backend{
					Name: "echo", Mode: "tcp", Addresses: []string{"127.0.0.1"}, Port: streamPort,
					Servers: [2]Server{{echoServer(t), Ready, 1}, {}},
				})
				return all
			}
			before := both(Server{one.address(), Ready, 1}, Server{})
			after := before
			after.Backends = append([]Backend{}, before.Backends...)
			after.Backends[0].Servers = [2]Server{{one.address(), Drain, 1}, {two.address(), Ready, 2}}
			mustSync(t, proxy, before, NotRunning)
			old := startGeneration(t, proxy, c.from, 1)
			stream, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", streamPort))
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Close()
			mustEcho(t, stream)

			l := startLoad(port, 8)
			l.more(t, 200)
			mustHandOver(t, proxy, 1, 2)
			next := startGeneration(t, proxy, c.to, 2)
			mustListenOnce(t, port)
			mustListenOnce(t, streamPort)
			if err := proxy.Handover(t.Context(), 0, 2); err != nil {
				t.Fatal(err)
			}
			l.more(t, 200)
			mustSync(t, proxy, after, Switched)
			for range 20 { // whichever process it is that answers
				mustServe(t, port, "2")
			}
			if err := proxy.Drain(t.Context(), "keystone", SlotA); err != nil {
				t.Fatal(err)
			}
			one.Close()
			l.more(t, 200)

			if err := old.command.Process.Signal(syscall.SIGUSR1); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the old one to take no more", func() bool {
				_, err := old.running(t.Context())
				return errors.Is(err, errNotRunning)
			})
			l.more(t, 400)
			mustEcho(t, stream) // in the old process, still
			stream.Close()
			if <-old.ended; old.err != nil {
				t.Errorf("the old one ended with %v", old.err)
			}
			if err := proxy.Forget(1); err != nil {
				t.Fatal(err)
			}
			// A reload of what has taken sockets over keeps them.
			after.Backends[0].CheckPath = "/"
			mustSync(t, proxy, after, Reloaded)
			l.more(t, 400)
			mustServe(t, port, "2")
			l.stop(t)
			if text := next.log.String(); strings.Contains(text, "Failed to get the sockets") {
				t.Errorf("there was no handover:\n%s", text)
			}
		})
	}
}

// A generation that takes over and dies, however, leaves the one before it as it was.
func TestHandoverIsTakenBack(t *testing.T) {
	proxy, port := New(tempDir(t)), freePort(t)
	one := newGeneration(t, "1")
	mustSync(t, proxy, table(port, Server{one.address(), Ready, 1}, Server{}), NotRunning)
	startGeneration(t, proxy, trixie, 1)
	l := startLoad(port, 8)
	for i, end := range []os.Signal{syscall.SIGUSR1, syscall.SIGUSR1, syscall.SIGTERM} {
		mustHandOver(t, proxy, 1, i+2)
		next := startGeneration(t, proxy, []string{trixie, forky, trixie}[i], i+2)
		if end != syscall.SIGUSR1 {
			// What it has accepted is cut off by any other signal: let it have nothing.
			l.stop(t)
		} else {
			l.more(t, 200)
		}
		next.end(end)
		if err := proxy.Forget(i + 2); err != nil {
			t.Fatal(err)
		}
		mustServe(t, port, "1")
	}
	l.stop(t)
}

// A generation whose predecessor has died listens by itself.
func TestNobodyToTakeOverFrom(t *testing.T) {
	proxy, port := New(tempDir(t)), freePort(t)
	one := newGeneration(t, "1")
	mustSync(t, proxy, table(port, Server{one.address(), Ready, 1}, Server{}), NotRunning)
	old := startGeneration(t, proxy, trixie, 1)
	mustHandOver(t, proxy, 1, 2)
	old.kill(t) // after it was found alive
	startGeneration(t, proxy, trixie, 2)
	mustServe(t, port, "1")
	if err := proxy.Handover(t.Context(), 1, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(InstanceDir(proxy.dir, 2) + "/" + previousLink); !os.IsNotExist(err) {
		t.Errorf("there is a link to one that does not run: %v", err)
	}
}

// mustHandOver prepares a generation that is to take over from another.
func mustHandOver(t *testing.T, proxy *Proxy, from, to int) {
	t.Helper()
	if err := os.MkdirAll(InstanceDir(proxy.dir, to), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := proxy.Handover(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
}

// A generation may be told to finish at any moment at which it serves, also when its master has not yet
// set itself up: what it has accepted is finished, and then it ends. Here the master is held where it says
// that it has started its worker, because nobody reads what it says. (That of 3.2 cannot be held so: its
// worker has something to say before it serves.)
func TestStopIsNotMissed(t *testing.T) {
	proxy, port := New(tempDir(t)), freePort(t)
	one := newGeneration(t, "1")
	mustSync(t, proxy, table(port, Server{one.address(), Ready, 1}, Server{}), NotRunning)
	read, write := fullPipe(t)
	h := beginGeneration(t, proxy, trixie, 1, write)
	h.waitServing(t)
	answered := make(chan error, 1)
	go func() {
		_, err := get(port, "/wait")
		answered <- err
	}()
	<-one.waiting
	if err := h.command.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	go io.Copy(h.log, read)
	waitFor(t, "it to take no more", func() bool {
		_, err := h.running(t.Context())
		return errors.Is(err, errNotRunning)
	})
	one.answer()
	if err := <-answered; err != nil {
		t.Errorf("a request that it had accepted: %v", err)
	}
	if <-h.ended; h.err != nil {
		t.Errorf("it ended with %v", h.err)
	}
}

// mustListenOnce fails where there are several sockets that listen at a port: what the kernel had queued
// at one of them, which only a process that ends accepts from, would be lost with it.
func mustListenOnce(t *testing.T, port int) {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	const listens = "0A" // TCP_LISTEN, in the kernel's tcp_states.h
	sockets, local := 0, fmt.Sprintf("0100007F:%04X", port)
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 3 && fields[1] == local && fields[3] == listens {
			sockets++
		}
	}
	if sockets != 1 {
		t.Errorf("%d sockets listen at port %d, want one that both generations accept from", sockets, port)
	}
}

// fullPipe returns a pipe to which nothing can be written before somebody reads from it.
func fullPipe(t *testing.T) (read, write *os.File) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		read.Close()
		write.Close()
	})
	for size := 64 << 10; size > 0; size /= 2 {
		for {
			if err := write.SetWriteDeadline(time.Now().Add(pollInterval)); err != nil {
				t.Fatal(err)
			}
			if n, err := write.Write(make([]byte, size)); err != nil && n == 0 {
				break
			}
		}
	}
	return read, write
}
