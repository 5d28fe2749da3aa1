// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// haproxy is a real process, started on a table: one generation of the proxy.
type haproxy struct {
	*instance
	command *exec.Cmd
	log     *lockedBuffer
	ended   chan struct{} // closed when the process has ended
	err     error         // what it ended with, when it has
}

func startHAProxy(t *testing.T, proxy *Proxy) *haproxy {
	t.Helper()
	return startGeneration(t, proxy, trixie, 1)
}

// startGeneration starts a generation and waits until it serves.
func startGeneration(t *testing.T, proxy *Proxy, release string, number int) *haproxy {
	t.Helper()
	h := beginGeneration(t, proxy, release, number, nil)
	h.waitServing(t)
	return h
}

func (h *haproxy) waitServing(t *testing.T) {
	t.Helper()
	waitFor(t, "HAProxy to answer", func() bool {
		select {
		case <-h.ended:
			t.Fatalf("HAProxy has ended: %v", h.err)
		default:
		}
		_, err := h.running(t.Context())
		return err == nil
	})
}

// beginGeneration starts a generation. What it says goes to the log, or to messages where that is given.
func beginGeneration(t *testing.T, proxy *Proxy, release string, number int, messages io.Writer) *haproxy {
	t.Helper()
	one := proxy.instance(number)
	if err := os.MkdirAll(one.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	argv := append(program(t, release), Command(proxy.dir)...)
	h := &haproxy{instance: one, command: exec.Command(argv[0], argv[1:]...), log: &lockedBuffer{}, ended: make(chan struct{})}
	h.command.Env = append(os.Environ(), SocketsVariable+"="+one.dir)
	h.command.Stdout, h.command.Stderr = h.log, h.log
	if messages != nil {
		h.command.Stderr = messages
	}
	h.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := h.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		h.err = h.command.Wait()
		close(h.ended)
	}()
	t.Cleanup(func() {
		h.end(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("the log of HAProxy %d:\n%s", number, h.log.String())
		}
	})
	return h
}

// end sends the process a signal, which its shell passes on, and waits for its end.
func (h *haproxy) end(signal os.Signal) {
	h.command.Process.Signal(signal)
	<-h.ended
}

var masterLine = regexp.MustCompile(`(?m)^(\d+)\s+master\s`)

// kill kills the master. Its worker ends by that, and so does the shell that started it.
func (h *haproxy) kill(t *testing.T) {
	t.Helper()
	var found []string
	waitFor(t, "the master to answer", func() bool {
		answer, err := h.ask(t.Context(), masterSocket, "show proc")
		found = masterLine.FindStringSubmatch(answer)
		return err == nil && found != nil
	})
	pid, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-h.ended
	waitFor(t, "its worker to end", func() bool {
		_, err := h.running(t.Context())
		return errors.Is(err, errNotRunning)
	})
}

// waitFor polls; the test binary's own time limit ends what never happens.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for !done() {
		select {
		case <-t.Context().Done():
			t.Fatalf("gave up waiting for %s", what)
		case <-time.After(pollInterval):
		}
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// tempDir is short enough for a socket's path.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "proxy")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// freePort returns a port that is HAProxy's to take. It is none of those that the kernel gives to
// connections and to who asks for any (ip_local_port_range begins above), or one of them could have it
// before HAProxy listens. The UDP socket of its number keeps other tests from it.
func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := 10_000 + rand.IntN(20_000)
		address := fmt.Sprintf("127.0.0.1:%d", port)
		mark, err := net.ListenPacket("udp", address)
		if err != nil {
			continue
		}
		listener, err := net.Listen("tcp", address)
		if err != nil {
			mark.Close()
			continue
		}
		listener.Close()
		t.Cleanup(func() { mark.Close() })
		return port
	}
	t.Fatal("no port is free")
	return 0
}
