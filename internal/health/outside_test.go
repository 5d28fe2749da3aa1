// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"copse/internal/engine"
)

// inside is an engine with one container, whose programs all say the same.
type inside struct {
	engine.Container
	err   error
	execs int
}

const insideStatus = 42

func (i *inside) Inspect(context.Context, string) (engine.Container, error) {
	return i.Container, i.err
}

func (i *inside) Exec(_ context.Context, _ string, exec engine.Exec) (int, error) {
	i.execs++
	fmt.Fprint(exec.Stdout, "from inside")
	return insideStatus, nil
}

// groupsOf is what stands in for a container's id: a process's own control groups.
func groupsOf(t *testing.T, pid int) string {
	t.Helper()
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	return string(groups)
}

// service starts a process that waits, in namespaces of its own if there are flags.
func service(t *testing.T, flags uintptr) *exec.Cmd {
	t.Helper()
	command := exec.Command("sleep", "3600")
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	return command
}

func TestOutside(t *testing.T) {
	own := service(t, 0)
	apart := service(t, syscall.CLONE_NEWUSER|syscall.CLONE_NEWNET)
	var end func()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ends" {
			end()
			http.Error(w, "no more", http.StatusInternalServerError)
		}
	}))
	defer server.Close()
	running := engine.Container{
		ID: groupsOf(t, own.Process.Pid), State: engine.Running, PID: own.Process.Pid,
		Environment: map[string]string{"ADDRESS": strings.TrimPrefix(server.URL, "http://")},
	}
	const toServer = "copse-init check http http://$ADDRESS/"
	for _, c := range []struct {
		name   string
		change func(*inside)
		test   string
		status int
		execs  int
	}{
		{"a port", nil, toServer, 0, 0},
		{"a process", nil, "copse-init check process sleep", 0, 0},
		{"a process that is not there", nil, "copse-init check process copse-no-such", 1, 0},
		{"another program", nil, "pgrep sleep", insideStatus, 1},
		{"a variable that the engine does not tell", nil, "copse-init check tcp 127.0.0.1:$ELSE", insideStatus, 1},
		{"paused", func(i *inside) { i.State = engine.Paused }, toServer, insideStatus, 1},
		{"ended", func(i *inside) { i.State, i.PID = engine.Exited, 0 }, toServer, insideStatus, 1},
		{"an engine that is away", func(i *inside) { i.err = engine.ErrUnavailable }, toServer, insideStatus, 1},
		{"a network of its own", func(i *inside) { i.PID = apart.Process.Pid }, toServer, insideStatus, 1},
		{"another process has its number", func(i *inside) { i.ID = "0123456789abcdef" }, toServer, insideStatus, 1},
		{"it ends while it is asked", func(i *inside) {
			short := service(t, 0)
			i.PID = short.Process.Pid
			end = func() { _, _ = short.Process.Kill(), short.Wait() }
		}, toServer + "ends", insideStatus, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := &inside{Container: running}
			if c.change != nil {
				c.change(i)
			}
			var said bytes.Buffer
			status, err := Outside{Engine: i}.Exec(context.Background(), "one", engine.Exec{Command: strings.Fields(c.test), Stdout: &said})
			if err != nil || status != c.status || i.execs != c.execs {
				t.Errorf("status %d, %d programs run inside, error %v; want %d and %d; it says %q", status, i.execs, err, c.status, c.execs, &said)
			}
			if (c.execs == 1) != (said.String() == "from inside") {
				t.Errorf("it says %q", &said)
			}
		})
	}
}

func TestOutsideEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	own := service(t, 0)
	i := &inside{Container: engine.Container{ID: groupsOf(t, own.Process.Pid), State: engine.Running, PID: own.Process.Pid}}
	_, err := Outside{Engine: i}.Exec(ctx, "one", engine.Exec{Command: []string{"copse-init", "check", "http", server.URL}})
	if !errors.Is(err, context.Canceled) || i.execs != 0 {
		t.Errorf("error %v after %d programs, want that of the context", err, i.execs)
	}
}
