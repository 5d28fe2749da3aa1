// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"

	"copse/internal/engine"
	"copse/internal/tree"
)

func testLogs(t *testing.T, s suite) {
	id := s.start(t, "a", s.spec("print", "out:one", "out:two", "err:three", "--", "sleep", "50", "--", "print", "out:four"))
	s.wait(t, id)
	byStream := map[string][]string{}
	var last engine.LogLine
	must(t, s.Logs(t.Context(), id, engine.LogOptions{}, func(line engine.LogLine) {
		byStream[line.Stream] = append(byStream[line.Stream], line.Text)
		if line.Time.IsZero() || line.Time.Before(last.Time) && line.Stream == last.Stream {
			t.Errorf("the time %v of %q follows %v", line.Time, line.Text, last.Time)
		}
		last = line
	}))
	expectLines(t, "stdout", byStream["stdout"], []string{"one", "two", "four"})
	expectLines(t, "stderr", byStream["stderr"], []string{"three"})
	expectLines(t, "the last line", s.logs(t, id, engine.LogOptions{Tail: 1}), []string{"stdout:four"})
	expectLines(t, "since the last line", s.logs(t, id, engine.LogOptions{Since: last.Time}), []string{"stdout:four"})
	expectLines(t, "since then", s.logs(t, id, engine.LogOptions{Since: last.Time.Add(1)}), nil)
	expect(t, "lines until before the last", len(s.logs(t, id, engine.LogOptions{Until: last.Time.Add(-1)})), 3)
}

func testLogsFollow(t *testing.T, s suite) {
	id := s.start(t, "a", s.spec("print", "out:one", "--", "trap"))
	up, followed := make(chan bool), make(chan error)
	var lines []string
	go func() {
		followed <- s.Logs(t.Context(), id, engine.LogOptions{Follow: true}, func(line engine.LogLine) {
			lines = append(lines, line.Text)
			if line.Text == "ready" {
				close(up)
			}
		})
	}()
	<-up
	must(t, s.Stop(t.Context(), id, grace))
	if err := <-followed; err != nil {
		t.Errorf("following ends with the container, but it ended with %v", err)
	}
	expectLines(t, "the first lines", lines[:2], []string{"one", "ready"})

	must(t, s.Start(t.Context(), id))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		followed <- s.Logs(ctx, id, engine.LogOptions{Follow: true}, func(engine.LogLine) { cancel() })
	}()
	expectError(t, "following until the context ends", <-followed, context.Canceled)
	expect(t, "state", s.inspect(t, id).State, engine.Running)
}

func testExec(t *testing.T, s suite) {
	spec := s.spec("wait")
	spec.Environment = map[string]string{"COLOUR": "green", "SHAPE": "round"}
	id := s.start(t, "a", spec)
	expect(t, "status 0", s.exec(t, id, "exit", "0"), ran{})
	expect(t, "status 3", s.exec(t, id, "exit", "3"), ran{code: 3})
	expect(t, "streams", s.exec(t, id, "print", "out:a", "err:b"), ran{stdout: "a", stderr: "b"})
	expect(t, "the container's environment", s.see(t, id, "env", "COLOUR"), "green")

	with := func(exec engine.Exec, command ...string) string {
		t.Helper()
		return s.execWith(t, id, exec, command...).stdout
	}
	red := engine.Exec{Environment: map[string]string{"COLOUR": "red"}}
	expect(t, "an environment of its own", with(red, "env", "COLOUR"), "red")
	expect(t, "the rest of the environment", with(red, "env", "SHAPE"), "round")
	input := strings.Repeat("0123456789abcdef", 8192)
	expect(t, "what went in and came out", with(engine.Exec{Stdin: strings.NewReader(input)}, "cat"), input)
	expect(t, "no input", with(engine.Exec{}, "cat"), "")
	expect(t, "the user", with(engine.Exec{User: "1234:1234"}, "ids"), "1234 1234 [1234]")

	// Discarded output must not block.
	code, err := s.Exec(t.Context(), id, engine.Exec{Command: []string{Program, "print", "out:a", "err:b", "--", "exit", "4"}})
	must(t, err)
	expect(t, "status without writers", code, 4)
}

func testExecNotRunning(t *testing.T, s suite) {
	id := s.create(t, "a", s.spec("exit", "0"))
	exec := engine.Exec{Command: []string{Program, "exit", "0"}}
	_, err := s.Exec(t.Context(), id, exec)
	expectError(t, "before start", err, engine.ErrConflict)
	must(t, s.Start(t.Context(), id))
	s.wait(t, id)
	_, err = s.Exec(t.Context(), id, exec)
	expectError(t, "after the end", err, engine.ErrConflict)
}

func testExecCancelled(t *testing.T, s suite) {
	id := s.start(t, "a", s.spec("wait"))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Exec(ctx, id, engine.Exec{
		Command: []string{Program, "print", "out:ready", "--", "wait"},
		Stdout:  writerFunc(func() { cancel() }),
	})
	expectError(t, "Exec", err, context.Canceled)
	expect(t, "state", s.inspect(t, id).State, engine.Running)
}

// writerFunc is called when something is written.
type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

// followEvents collects events as "name action" until an action of the last container.
func (s suite) followEvents(t *testing.T, until string, during func()) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	connected, followed := make(chan bool), make(chan error)
	var lines []string
	go func() {
		followed <- s.Events(ctx, s.Labels, func(event engine.Event) {
			if event.Action == engine.EventConnected {
				close(connected)
				return
			}
			line := strings.TrimPrefix(event.Name, s.Prefix) + " " + event.Action
			if event.Action == "die" {
				line += fmt.Sprint(" ", event.ExitCode)
			}
			for key, value := range s.Labels {
				if event.Labels[key] != value {
					t.Errorf("the event %q lacks the label %s", line, key)
				}
			}
			if event.ID == "" || event.Time.IsZero() {
				t.Errorf("the event %q lacks its container or time", line)
			}
			lines = append(lines, line)
			if line == until {
				cancel()
			}
		})
	}()
	<-connected
	during()
	if err := <-followed; err != nil {
		t.Errorf("the stream ends with its context, but it ended with %v", err)
	}
	return lines
}

func testEvents(t *testing.T, s suite) {
	lines := s.followEvents(t, "b destroy", func() {
		id := s.start(t, "a", s.spec("exit", "5"))
		s.wait(t, id)
		must(t, s.Rename(t.Context(), id, s.name("b")))
		must(t, s.SetRestartPolicy(t.Context(), id, "unless-stopped"))
		must(t, s.Remove(t.Context(), id, false))
	})
	expectLines(t, "the events", lines, []string{"a create", "a start", "a die 5", "b rename", "b update", "b destroy"})
}

func testEventsOfOthers(t *testing.T, s suite) {
	lines := s.followEvents(t, "mine destroy", func() {
		other := s.spec("wait")
		// Still to be found by who cleans up, but not by all labels.
		other.Labels = maps.Clone(s.Labels)
		other.Labels[tree.SortedKeys(s.Labels)[0]] = "other"
		id, err := s.Create(t.Context(), s.name("other"), other)
		must(t, err)
		must(t, s.Remove(t.Context(), id, true))
		id = s.create(t, "mine", s.spec("wait"))
		must(t, s.Remove(t.Context(), id, true))
	})
	expectLines(t, "the events", lines, []string{"mine create", "mine destroy"})
}

func testCopyTo(t *testing.T, s suite) {
	file := tar.Header{Name: "hello", Mode: 0o640, Uid: 1234, Gid: 1234}
	id := s.create(t, "a", s.spec("wait"))
	must(t, s.CopyTo(t.Context(), id, "/data", fileArchive(t, file, "hello")))
	must(t, s.Start(t.Context(), id))
	must(t, s.CopyTo(t.Context(), id, "/data", fileArchive(t, file, "again")))
	err := s.CopyTo(t.Context(), s.name("none"), "/data", fileArchive(t, file, "hello"))
	expectError(t, "a container that does not exist", err, engine.ErrNotFound)
	if err := s.CopyTo(t.Context(), id, "/data", strings.NewReader(strings.Repeat("no archive", 100))); err == nil {
		t.Error("what is not an archive was copied")
	}
}

func testCopyFrom(t *testing.T, s suite) {
	file := tar.Header{Name: "hello", Mode: 0o640, Uid: 1234, Gid: 1234}
	id := s.create(t, "a", s.spec("wait")) // never started
	must(t, s.CopyTo(t.Context(), id, "/data", fileArchive(t, file, "hello")))
	archive, err := s.CopyFrom(t.Context(), id, "/data/hello")
	must(t, err)
	reader := tar.NewReader(archive)
	header, err := reader.Next()
	must(t, err)
	content, err := io.ReadAll(reader)
	must(t, errors.Join(err, archive.Close()))
	if header.Name != "hello" || header.Mode&0o777 != 0o640 || string(content) != "hello" {
		t.Errorf("it is %s, mode %o, with %q", header.Name, header.Mode, content)
	}
	_, err = s.CopyFrom(t.Context(), id, "/data/none")
	expectError(t, "a file that does not exist", err, engine.ErrNotFound)
	_, err = s.CopyFrom(t.Context(), s.name("none"), "/data/hello")
	expectError(t, "a container that does not exist", err, engine.ErrNotFound)
}

func testUsage(t *testing.T, s suite) {
	id := s.create(t, "a", with(s.spec("trap"), func(spec *tree.Spec) { spec.Memory = 64 << 20 }))
	_, err := s.Top(t.Context(), id)
	expectError(t, "Top before start", err, engine.ErrConflict)
	_, err = s.Stats(t.Context(), id)
	expectError(t, "Stats before start", err, engine.ErrConflict)
	must(t, s.Start(t.Context(), id))
	s.awaitReady(t, id)
	processes, err := s.Top(t.Context(), id)
	must(t, err)
	if len(processes) != 1 || processes[0].PID != s.inspect(t, id).PID || !strings.HasSuffix(processes[0].Command, "trap") {
		t.Errorf("processes are %+v, want testbox alone", processes)
	}
	stats, err := s.Stats(t.Context(), id)
	must(t, err)
	if stats.CPU <= 0 || stats.Memory <= 0 || stats.Pids < 1 {
		t.Errorf("a running program uses %+v", stats)
	}
	expect(t, "memory limit", stats.MemoryLimit, 64<<20)
}

func testSpecIsReported(t *testing.T, s suite) {
	volume := s.volume(t, "v")
	mounts := []tree.Mount{
		{Type: tree.NamedVolume, Source: volume, Target: "/a", NoCopy: true},
		{Type: tree.NamedVolume, Source: volume, Target: "/b", ReadOnly: true},
		{Type: tree.Tmpfs, Target: "/c", TmpfsOptions: "size=1m,mode=0750"},
	}
	spec := s.spec("wait")
	spec.Mounts = mounts
	spec.Environment = map[string]string{"A": "1", "B": "x=y"}
	spec.Restart = "unless-stopped"
	c := s.inspect(t, s.create(t, "a", spec))
	expect(t, "policy", c.RestartPolicy, "unless-stopped")
	expect(t, "A", c.Environment["A"], "1")
	expect(t, "B", c.Environment["B"], "x=y")
	expect(t, "labels", maps.Equal(c.Labels, withImageLabels(t, s, spec.Labels)), true)
	if len(c.Mounts) != len(mounts) {
		t.Fatalf("mounts are %+v, want %+v", c.Mounts, mounts)
	}
	for i := range mounts {
		expect(t, "mount", c.Mounts[i], mounts[i])
	}
}

// withImageLabels adds the labels that a container inherits.
func withImageLabels(t *testing.T, s suite, labels map[string]string) map[string]string {
	t.Helper()
	image, err := s.Image(t.Context(), s.TestImage)
	must(t, err)
	all := maps.Clone(image.Labels)
	maps.Copy(all, labels)
	return all
}

func testBadSpecRejected(t *testing.T, s suite) {
	volume := s.volume(t, "v")
	for what, change := range map[string]func(*tree.Spec){
		"restart policy": func(spec *tree.Spec) { spec.Restart = "sometimes" },
		"relative target": func(spec *tree.Spec) {
			spec.Mounts = []tree.Mount{{Type: tree.Tmpfs, Target: "tmp"}}
		},
		"mount type": func(spec *tree.Spec) {
			spec.Mounts = []tree.Mount{{Type: "magic", Target: "/x"}}
		},
		"two mounts at one target": func(spec *tree.Spec) {
			spec.Mounts = []tree.Mount{
				{Type: tree.NamedVolume, Source: volume, Target: "/x"},
				{Type: tree.Bind, Source: "/tmp", Target: "/x"},
			}
		},
	} {
		id, err := s.Create(t.Context(), s.name("bad"), with(s.spec("wait"), change))
		if err == nil {
			s.removeLater(t, id)
			t.Errorf("%s: accepted", what)
			continue
		}
		if errors.Is(err, engine.ErrUnavailable) || errors.Is(err, engine.ErrNotFound) || errors.Is(err, engine.ErrConflict) {
			t.Errorf("%s: the error %v is of a kind that somebody acts on", what, err)
		}
		if _, err := s.Inspect(t.Context(), s.name("bad")); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("%s: a container was left behind (%v)", what, err)
		}
	}
}
