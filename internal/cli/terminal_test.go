// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"copse/internal/api"
	"copse/internal/client/clienttest"
)

// console is a terminal: what is typed into it and what it showed.
type console struct {
	t           *testing.T
	master, tty *os.File
	reading     sync.WaitGroup
	shown       strings.Builder
}

func newConsole(t *testing.T, columns, rows uint16) *console {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := &console{t: t, master: master, tty: tty}
	c.reading.Go(func() {
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			c.shown.Write(buffer[:n])
			if err != nil {
				return // the other end is closed
			}
		}
	})
	return c
}

// close ends the terminal and returns what it showed.
func (c *console) close() string {
	c.t.Helper()
	if err := c.tty.Close(); err != nil {
		c.t.Error(err)
	}
	c.reading.Wait()
	if err := c.master.Close(); err != nil {
		c.t.Error(err)
	}
	return strings.ReplaceAll(c.shown.String(), "\r\n", "\n")
}

// fakeCloud starts a fake agent and returns its socket.
func fakeCloud(t *testing.T) (*clienttest.Agent, string) {
	t.Helper()
	agent := clienttest.Cloud()
	socket := filepath.Join(t.TempDir(), "s")
	if err := agent.Start(socket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		agent.Release()
		if err := agent.Stop(); err != nil {
			t.Error(err)
		}
	})
	return agent, socket
}

// On a terminal a table has colours and fits; with NO_COLOR it has none.
func TestTableOnATerminal(t *testing.T) {
	_, socket := fakeCloud(t)
	for _, environ := range [][]string{{"TERM=xterm"}, {"TERM=xterm", "NO_COLOR=1"}, {"TERM=dumb"}} {
		c := newConsole(t, 60, 20)
		code := run(context.Background(), []string{"--socket", socket, "ps"}, Streams{In: c.tty, Out: c.tty, Err: c.tty, Environ: environ}, fakeParts())
		shown := c.close()
		if code != 0 || !strings.Contains(shown, "identity/keystone") {
			t.Errorf("%v: exit code %d, %q", environ, code, shown)
		}
		if colored := strings.Contains(shown, "\x1b[31munhealthy"); colored != (len(environ) == 1 && environ[0] == "TERM=xterm") {
			t.Errorf("%v: coloured is %v: %q", environ, colored, shown)
		}
		for _, line := range strings.Split(shown, "\n") {
			if ansi.StringWidth(line) > 60 {
				t.Errorf("%d columns: %q", ansi.StringWidth(line), line)
			}
		}
	}
}

// A program in a container gets a terminal of the same size, keys as they are typed, and the
// operator's terminal is as before afterwards.
func TestExecOnATerminal(t *testing.T) {
	agent, socket := fakeCloud(t)
	asked := make(chan api.ExecRequest, 1)
	agent.Exec = func(request api.ExecRequest, in *json.Decoder, out *json.Encoder) {
		asked <- request
		typed := ""
		for !strings.HasSuffix(typed, "q") {
			var frame api.Frame
			if in.Decode(&frame) != nil {
				return
			}
			typed += string(frame.Stdin)
		}
		status := 7
		if out.Encode(api.Frame{Stdout: []byte(fmt.Sprintf("typed %q\r\n", typed))}) == nil {
			_ = out.Encode(api.Frame{Exit: &status}) // a client that has gone fails the test below
		}
	}
	c := newConsole(t, 90, 33)
	before, err := term.GetState(int(c.tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan int, 1)
	go func() {
		done <- run(context.Background(), []string{"--socket", socket, "exec", "keystone", "--", "sh"}, Streams{In: c.tty, Out: c.tty, Err: c.tty}, fakeParts())
	}()
	request := <-asked
	// Ctrl-C and Ctrl-D are keys like others once the terminal is raw; the program is asked
	// for only after it is.
	for {
		now, err := unix.IoctlGetTermios(int(c.master.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if now.Lflag&unix.ICANON == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := c.master.WriteString("a\x03\x04q"); err != nil {
		t.Fatal(err)
	}
	code := <-done
	after, err := term.GetState(int(c.tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if code != 7 || !request.TTY || request.Width != 90 || request.Height != 33 {
		t.Errorf("exit code %d, request %+v", code, request)
	}
	if *before != *after {
		t.Errorf("the terminal is not as before: %+v, %+v", before, after)
	}
	if shown := c.close(); !strings.Contains(shown, `typed "a\x03\x04q"`) {
		t.Errorf("the terminal showed %q", shown)
	}
}

// An end of the context while a change is followed: 130, and the change goes on.
func TestInterruptDetaches(t *testing.T) {
	agent, socket := fakeCloud(t)
	agent.Held = 2
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-agent.Watched()
		cancel()
	}()
	var out, errs strings.Builder
	code := run(ctx, []string{"--socket", socket, "--format", "json", "restart", "keystone"}, Streams{In: strings.NewReader(""), Out: &out, Err: &errs}, fakeParts())
	if code != exitInterrupted || !strings.Contains(errs.String(), "`copse abort 2` stops it") {
		t.Errorf("exit code %d, %s", code, errs.String())
	}
	agent.Lock()
	defer agent.Unlock()
	if change := agent.Changes[1]; change.Ended() {
		t.Errorf("the change has ended: %+v", change)
	}
	// Every line of both streams is an object, the last thing said too.
	for _, line := range strings.Split(strings.TrimSpace(out.String()+errs.String()), "\n") {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %q", line)
		}
	}
}

// No command but openrc shows the password.
func TestNoSecretIsShown(t *testing.T) {
	_, socket := fakeCloud(t)
	for _, format := range []string{"human", "plain", "json"} {
		for _, command := range []string{"ps --all", "tree", "health", "history", "changes", "change 1", "logs", "top", "secret ls", "secret rotate keystone-admin-password", "version", "plan", "up", "upgrade --to 2026.1 --yes", "rollback keystone --yes", "prune", "restart keystone", "images", "render compose", "openrc"} {
			var out, errs strings.Builder
			args := append([]string{"--socket", socket, "--format", format}, strings.Fields(command)...)
			run(context.Background(), args, Streams{In: strings.NewReader(""), Out: &out, Err: &errs}, fakeParts())
			if shown := strings.Contains(out.String()+errs.String(), "$ecret"); shown != (command == "openrc") {
				t.Errorf("copse %s --format %s: the password is shown: %v", command, format, shown)
			}
		}
	}
}
