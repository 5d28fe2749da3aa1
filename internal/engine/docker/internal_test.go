// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"copse/internal/engine"
)

func TestErrorKinds(t *testing.T) {
	e := &Engine{host: "unix:///run/e.sock"}
	dial := &net.OpError{Op: "dial", Net: "unix", Err: syscall.ECONNREFUSED}
	for _, test := range []struct {
		err  error
		want error
		says string
	}{
		{fmt.Errorf("x: %w", errdefs.ErrNotFound), engine.ErrNotFound, "cannot do it: x"},
		{fmt.Errorf("x: %w", errdefs.ErrConflict), engine.ErrConflict, "x"},
		{dial, engine.ErrUnavailable, "unix:///run/e.sock"},
		{io.ErrUnexpectedEOF, engine.ErrUnavailable, "dockerd"},
		{fmt.Errorf("write: %w", syscall.EPIPE), engine.ErrUnavailable, "dockerd"},
		{errors.New("Error response from daemon: mkdir /x: no space left on device"), engine.ErrNoSpace, "cannot do it: mkdir /x: no space left on device; free space"},
		{withStatus(&jsonstream.Error{Code: 404, Message: "gone"}), engine.ErrNotFound, "gone"},
		{withStatus(&jsonstream.Error{Message: "odd"}), nil, "odd"},
		{context.DeadlineExceeded, nil, "deadline"},
		{errors.New("odd"), nil, "cannot do it: odd"},
	} {
		err := e.fail(test.err, "do it")
		for _, kind := range []error{engine.ErrNotFound, engine.ErrConflict, engine.ErrUnavailable, engine.ErrNoSpace} {
			if got, want := errors.Is(err, kind), kind == test.want; got != want {
				t.Errorf("%v is %v: %v, want %v", test.err, kind, got, want)
			}
		}
		if !errors.Is(err, test.err) {
			t.Errorf("%v lost its cause", err)
		}
		if !strings.Contains(err.Error(), test.says) {
			t.Errorf("%q does not say %q", err, test.says)
		}
	}
	if err := e.fail(nil, "do it"); err != nil {
		t.Errorf("no error became %v", err)
	}
}

func TestMissingCapabilities(t *testing.T) {
	status := func(bits string) string { return "Name:\tdockerd\nCapEff:\t0\nCapBnd:\t" + bits + "\nSeccomp:\t0\n" }
	for _, test := range []struct {
		status, last string
		want         []string
	}{
		{status("000001ffffffffff"), "40", nil},
		{status("000001fffeffffff"), "40", []string{"SYS_RESOURCE"}},
		{status("0000003fffffffff"), "40", []string{"PERFMON", "BPF", "CHECKPOINT_RESTORE"}},
		// A kernel that knows fewer does not lack them; one that knows more is newer than us.
		{status("0000003fffffffff"), "37", nil},
		{status("000003fffffffffe"), "41", []string{"CHOWN"}},
		{"Name:\tx\n", "40", nil},
		{status("none"), "40", nil},
		{status("0"), "many", nil},
	} {
		if got := missingFrom(test.status, test.last); !slices.Equal(got, test.want) {
			t.Errorf("%q with %s: %q, want %q", test.status, test.last, got, test.want)
		}
	}
}

func TestEnginePID(t *testing.T) {
	proc := t.TempDir()
	for pid, name := range map[string]string{"1": "systemd", "77": "dockerd", "88": "other"} {
		if err := os.Mkdir(filepath.Join(proc, pid), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, pid, "comm"), []byte(name+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	pidfile := filepath.Join(proc, "docker.pid")
	for _, test := range []struct {
		peer int
		file string
		want int
	}{
		{peer: 42, file: "77", want: 42},
		{peer: 0, file: "77", want: 0},    // another PID namespace
		{peer: 1, file: "77\n", want: 77}, // systemd's socket
		{peer: 1, file: "88", want: 1},    // the file outlived the engine
		{peer: 1, file: "99", want: 1},
		{peer: 1, file: "", want: 1},
	} {
		if err := os.WriteFile(pidfile, []byte(test.file), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := enginePID(proc, pidfile, test.peer); got != test.want {
			t.Errorf("peer %d and pidfile %q: %d, want %d", test.peer, test.file, got, test.want)
		}
	}
	if got := enginePID(proc, filepath.Join(proc, "none"), 1); got != 1 {
		t.Errorf("without a pidfile: %d, want 1", got)
	}
}

func TestPeerPID(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if got := peerPID(t.Context(), socket); got != os.Getpid() {
		t.Errorf("the listener is %d, want this process, %d", got, os.Getpid())
	}
	if got := peerPID(t.Context(), socket+"none"); got != 0 {
		t.Errorf("the listener of no socket is %d", got)
	}
}

func TestTraits(t *testing.T) {
	docker := client.ServerVersionResult{Components: []system.ComponentVersion{{Name: "Engine"}}}
	podman := client.ServerVersionResult{Components: []system.ComponentVersion{{Name: "Podman Engine"}}}
	for _, test := range []struct {
		version client.ServerVersionResult
		api     string
		want    traits
	}{
		{docker, "1.41", traits{name: "Docker Engine"}},
		{docker, "1.42", traits{name: "Docker Engine", clips: true}},
		{docker, "1.45", traits{name: "Docker Engine", clips: true}},
		{docker, "1.56", traits{name: "Docker Engine", clips: true}},
		{podman, "1.41", traits{name: "Podman", clips: true}},
	} {
		if got := traitsOf(test.version, test.api); got != test.want {
			t.Errorf("%v at %s: %+v, want %+v", test.version.Components, test.api, got, test.want)
		}
	}
}

func TestLineWriter(t *testing.T) {
	var lines []engine.LogLine
	w := &lineWriter{stream: "stdout", handle: func(line engine.LogLine) { lines = append(lines, line) }}
	for _, message := range []string{
		"2026-11-21T01:02:03.000000001Z one\n",
		"2026-11-21T01:02:04.000000001Z long ", "2026-11-21T01:02:05Z and longer ", "2026-11-21T01:02:06Z still\n",
		"2026-11-21T01:02:07Z \n",
		"2026-11-21T01:02:08Z tty\r\n",
		"no time\n",
		"2026-11-21T01:02:09Z unended",
	} {
		if n, err := w.Write([]byte(message)); err != nil || n != len(message) {
			t.Fatalf("Write: %d, %v", n, err)
		}
	}
	w.flush()
	w.flush()
	var texts []string
	for _, line := range lines {
		texts = append(texts, line.Text)
	}
	if want := []string{"one", "long and longer still", "", "tty", "no time", "unended"}; !slices.Equal(texts, want) {
		t.Errorf("lines are %q, want %q", texts, want)
	}
	if want := time.Date(2026, 11, 21, 1, 2, 4, 1, time.UTC); !lines[1].Time.Equal(want) {
		t.Errorf("the time of a long line is %v, want that of its beginning, %v", lines[1].Time, want)
	}
}

// TestLineWithoutEnd: a container may write and never end its line.
func TestLineWithoutEnd(t *testing.T) {
	for name, read := range map[string]func(w *lineWriter, messages []string) error{
		"messages": func(w *lineWriter, messages []string) error {
			for _, message := range messages {
				if _, err := w.Write([]byte(message)); err != nil {
					return err
				}
			}
			return nil
		},
		"terminal": func(w *lineWriter, messages []string) error {
			return w.readLines(strings.NewReader(strings.Join(messages, "")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var lines []engine.LogLine
			w := &lineWriter{stream: "stdout", handle: func(line engine.LogLine) { lines = append(lines, line) }}
			messages := slices.Repeat([]string{"2026-11-21T01:02:03Z " + strings.Repeat("x", 16<<10)}, 64)
			if err := read(w, append(messages, "\n", "2026-11-21T01:02:04Z after\n")); err != nil {
				t.Fatal(err)
			}
			if len(lines) < 64*16<<10/mostLine {
				t.Fatalf("%d lines of a million bytes, want them in parts of %d", len(lines), mostLine)
			}
			for _, line := range lines {
				if len(line.Text) > mostLine || line.Time.IsZero() {
					t.Errorf("a line at %v has %d bytes, want at most %d", line.Time, len(line.Text), mostLine)
				}
			}
			if last := lines[len(lines)-1].Text; last != "after" {
				t.Errorf("the line after it is %.20q", last)
			}
		})
	}
}

func TestUsedMemory(t *testing.T) {
	for _, test := range []struct {
		memory container.MemoryStats
		want   int64
	}{
		{container.MemoryStats{Usage: 100}, 100},
		{container.MemoryStats{Usage: 100, Stats: map[string]uint64{"inactive_file": 30}}, 70},
		{container.MemoryStats{Usage: 100, Stats: map[string]uint64{"inactive_file": 30, "total_inactive_file": 40}}, 60},
		{container.MemoryStats{Usage: 100, Stats: map[string]uint64{"inactive_file": 130}}, 0},
	} {
		if got := usedMemory(test.memory); got != test.want {
			t.Errorf("%+v: %d, want %d", test.memory, got, test.want)
		}
	}
}

func TestParseProcess(t *testing.T) {
	got, err := parseProcess([]string{"42", "1", "nova", "nova-api", "--config", "x"})
	if want := (engine.Process{PID: 42, PPID: 1, User: "nova", Command: "nova-api --config x"}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for _, row := range [][]string{nil, {"42", "1", "nova"}, {"x", "1", "nova", "a"}, {"1", "x", "nova", "a"}} {
		if _, err := parseProcess(row); err == nil {
			t.Errorf("%q was accepted", row)
		}
	}
}

func TestReporter(t *testing.T) {
	var lines []string
	report := reporter(func(line string) { lines = append(lines, line) })
	for _, message := range []jsonstream.Message{
		{Status: "Pulling from x"}, {ID: "a", Status: "Downloading"}, {ID: "a", Status: "Downloading"},
		{ID: "b", Status: "Downloading"}, {ID: "a", Status: "Done"}, {Stream: "x"},
	} {
		report(message)
	}
	if want := []string{"Pulling from x", "a: Downloading", "b: Downloading", "a: Done"}; !slices.Equal(lines, want) {
		t.Errorf("progress is %q, want %q", lines, want)
	}
	reporter(nil)(jsonstream.Message{Status: "x"})
}

func TestRegistryAuth(t *testing.T) {
	var asked []string
	e := &Engine{}
	if auth, err := e.registryAuth("x"); auth != "" || err != nil {
		t.Errorf("without credentials: %q, %v", auth, err)
	}
	WithCredentials(func(registry string) (string, string, error) {
		asked = append(asked, registry)
		switch registry {
		case "docker.io":
			return "", "", nil
		case "registry.example:5000":
			return "user", "secret", nil
		}
		return "", "", errors.New("locked")
	})(e)
	if auth, err := e.registryAuth("debian:trixie"); auth != "" || err != nil {
		t.Errorf("no user: %q, %v", auth, err)
	}
	if auth, err := e.registryAuth("registry.example:5000/copse/x:1"); auth == "" || err != nil {
		t.Errorf("a user: %q, %v", auth, err)
	}
	if _, err := e.registryAuth("other.example/x"); err == nil || !strings.Contains(err.Error(), "other.example") {
		t.Errorf("no access to the credentials: the error is %v, want one that names the registry", err)
	}
	if _, err := e.registryAuth("NOT A NAME"); err == nil {
		t.Error("a name that is none has credentials")
	}
	if want := []string{"docker.io", "registry.example:5000", "other.example"}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q, want %q", asked, want)
	}
}

func TestAPITime(t *testing.T) {
	if got, want := apiTime(time.Unix(1700000000, 5)), "1700000000.000000005"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
