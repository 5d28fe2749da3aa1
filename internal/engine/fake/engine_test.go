// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package fake_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"copse/internal/engine"
	"copse/internal/engine/fake"
	"copse/internal/tree"
)

// run creates and starts containers of one specification.
func run(t *testing.T, e *fake.Engine, spec tree.Spec, names ...string) {
	t.Helper()
	if spec.Image == "" {
		spec.Image = "any:1"
	}
	for _, name := range names {
		if _, err := e.Create(t.Context(), name, spec); err != nil {
			t.Fatal(err)
		}
		if err := e.Start(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
}

func inspect(t *testing.T, e *fake.Engine, name string) engine.Container {
	t.Helper()
	c, err := e.Inspect(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func expectRunning(t *testing.T, when string, e *fake.Engine, want ...string) {
	t.Helper()
	if got := e.Running(); !slices.Equal(got, want) {
		t.Errorf("%s %q run, want %q", when, got, want)
	}
}

// TestEngineRestart has the trap of restart policies: what was stopped with the policy "always" comes
// back with the engine.
func TestEngineRestart(t *testing.T) {
	for _, live := range []bool{false, true} {
		e := &fake.Engine{AnyImage: true, Now: newClock().Now, Description: engine.Info{LiveRestore: live}}
		for _, policy := range []string{"always", "unless-stopped", "on-failure", "no"} {
			run(t, e, tree.Spec{Restart: policy}, policy+"-runs", policy+"-stopped", policy+"-failed")
			if err := e.Stop(t.Context(), policy+"-stopped", 0); err != nil {
				t.Fatal(err)
			}
			if _, err := e.Create(t.Context(), policy+"-created", tree.Spec{Image: "x", Restart: policy}); err != nil {
				t.Fatal(err)
			}
		}
		for _, policy := range []string{"on-failure", "no"} {
			if err := e.Exit(policy+"-failed", 3); err != nil {
				t.Fatal(err)
			}
		}
		before := inspect(t, e, "always-runs").PID
		e.Restart()
		want := []string{
			"always-failed", "always-runs", "always-stopped", "on-failure-failed", "on-failure-runs",
			"unless-stopped-failed", "unless-stopped-runs",
		}
		if live {
			want = []string{
				"always-failed", "always-runs", "always-stopped", "no-runs", "on-failure-failed", "on-failure-runs",
				"unless-stopped-failed", "unless-stopped-runs",
			}
		}
		expectRunning(t, fmt.Sprintf("after a restart with live-restore %v", live), e, want...)
		if same := inspect(t, e, "always-runs").PID == before; same != live {
			t.Errorf("with live-restore %v the process is the same: %v", live, same)
		}
		e.Reboot()
		if inspect(t, e, "always-runs").PID == before {
			t.Error("a process survived a reboot")
		}
		if c := inspect(t, e, "no-runs"); c.State != engine.Exited {
			t.Errorf("without a policy it is %s after a reboot", c.State)
		}
	}
}

func TestEngineDown(t *testing.T) {
	e := &fake.Engine{AnyImage: true}
	run(t, e, tree.Spec{}, "aa")
	connected, ended, waited := make(chan bool), make(chan error), make(chan error)
	go func() {
		ended <- e.Events(t.Context(), nil, func(engine.Event) { close(connected) })
	}()
	<-connected
	go func() {
		_, err := e.Wait(t.Context(), "aa")
		waited <- err
	}()
	e.Down()
	for _, errs := range []chan error{ended, waited} {
		if err := <-errs; !errors.Is(err, engine.ErrUnavailable) {
			t.Errorf("the error is %v, want ErrUnavailable", err)
		}
	}
	if _, err := e.List(t.Context(), nil); !errors.Is(err, engine.ErrUnavailable) {
		t.Errorf("List: %v, want ErrUnavailable", err)
	}
	e.Boot()
	if _, err := e.List(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func TestFaultsAndLostAnswers(t *testing.T) {
	broken := errors.New("broken")
	fault, lost := "", ""
	hook := func(which *string) func(op, object string) error {
		return func(op, object string) error {
			if op+" "+object == *which {
				return broken
			}
			return nil
		}
	}
	e := &fake.Engine{AnyImage: true, Fault: hook(&fault), Lost: hook(&lost)}
	fault = "Create a.1"
	if _, err := e.Create(t.Context(), "a.1", tree.Spec{Image: "x"}); !errors.Is(err, broken) {
		t.Errorf("Create: %v, want the fault", err)
	}
	if _, err := e.Inspect(t.Context(), "a.1"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("after a fault: %v, want nothing to have happened", err)
	}
	fault, lost = "", "Create a.1"
	if id, err := e.Create(t.Context(), "a.1", tree.Spec{Image: "x"}); !errors.Is(err, broken) || id != "" {
		t.Errorf("Create: %q, %v, want the answer to be lost", id, err)
	}
	lost = "Start a.1"
	if err := e.Start(t.Context(), inspect(t, e, "a.1").ID); !errors.Is(err, broken) {
		t.Errorf("Start by id: %v, want the answer to be lost", err)
	}
	expectRunning(t, "after a lost answer", e, "a.1")
	if want := []string{"Create a.1", "Start a.1"}; !slices.Equal(e.Changes(), want) {
		t.Errorf("changes are %q, want %q", e.Changes(), want)
	}
	calls := e.Journal()
	if first := calls[0]; first.String() != "Create a.1" || first.Done || !errors.Is(first.Err, broken) {
		t.Errorf("the first call is %+v", first)
	}
	e.ResetJournal()
	if len(e.Journal()) != 0 {
		t.Error("the journal is not empty")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Stop(ctx, "a.1", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop: %v, want the context's error", err)
	}
	expectRunning(t, "after a call that was cancelled", e, "a.1")
}

// TestFaultTakesEngineAway: a hook may call methods.
func TestFaultTakesEngineAway(t *testing.T) {
	e := &fake.Engine{AnyImage: true}
	e.Lost = func(op, _ string) error {
		if op == "Start" {
			e.Down()
			return engine.ErrUnavailable
		}
		return nil
	}
	if _, err := e.Create(t.Context(), "aa", tree.Spec{Image: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), "aa"); !errors.Is(err, engine.ErrUnavailable) {
		t.Errorf("Start: %v, want ErrUnavailable", err)
	}
	e.Boot()
	if c := inspect(t, e, "aa"); c.State != engine.Exited || c.Started.IsZero() {
		t.Errorf("it is %s, started %v; want it to have run", c.State, c.Started)
	}
}

func TestRestartsBackOff(t *testing.T) {
	clock := newClock()
	e := &fake.Engine{AnyImage: true, Now: clock.Now, Program: func(string, tree.Spec) fake.Program {
		return fake.Program{Exit: &fake.Exit{Code: 1}}
	}}
	begin := clock.Now()
	run(t, e, tree.Spec{Restart: "always"}, "aa")
	var starts []time.Duration
	for len(starts) < 12 {
		e.Tick()
		if c := inspect(t, e, "aa"); c.State != engine.Restarting {
			t.Fatalf("it is %s", c.State)
		}
		due, ok := e.NextDue()
		if !ok {
			t.Fatal("nothing is due")
		}
		starts = append(starts, due.Sub(clock.Now()))
		clock.Advance(due.Sub(clock.Now()))
	}
	for i, pause := range starts {
		if want := min(100*time.Millisecond<<i, time.Minute); pause != want {
			t.Errorf("pause %d is %v, want %v", i, pause, want)
		}
	}
	if clock.Now().Sub(begin) < time.Minute {
		t.Error("no time has passed")
	}
	if err := e.Stop(t.Context(), "aa", 0); err != nil {
		t.Fatal(err)
	}
	if due, ok := e.NextDue(); ok {
		t.Errorf("after Stop something is due at %v", due)
	}
}

func TestCrashesAndPrograms(t *testing.T) {
	clock := newClock()
	var slept []time.Duration
	programs := map[string]fake.Program{
		"cannot":   {StartError: "exec /none: no such file"},
		"slow":     {StopTakes: 3 * time.Second, StopCode: 5},
		"stubborn": {IgnoresStop: true},
		"memory":   {Exit: &fake.Exit{After: time.Minute, Code: 137, OOM: true}},
	}
	e := &fake.Engine{
		AnyImage: true, Now: clock.Now,
		Program: func(name string, _ tree.Spec) fake.Program { return programs[name] },
		Sleep: func(_ context.Context, d time.Duration) error {
			slept = append(slept, d)
			clock.Advance(d)
			return nil
		},
	}
	if _, err := e.Create(t.Context(), "cannot", tree.Spec{Image: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), "cannot"); err == nil || !strings.Contains(err.Error(), "/none") {
		t.Errorf("Start: %v, want the program's error", err)
	}
	if c := inspect(t, e, "cannot"); c.State != engine.Created || c.Error == "" {
		t.Errorf("it is %s with the error %q", c.State, c.Error)
	}

	run(t, e, tree.Spec{}, "slow", "stubborn", "memory", "plain")
	for name, want := range map[string]int{"slow": 5, "stubborn": 137} {
		if err := e.Stop(t.Context(), name, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		if c := inspect(t, e, name); c.ExitCode != want {
			t.Errorf("%s has the status %d, want %d", name, c.ExitCode, want)
		}
	}
	slices.Sort(slept)
	if want := []time.Duration{3 * time.Second, 10 * time.Second}; !slices.Equal(slept, want) {
		t.Errorf("stopping took %v, want %v", slept, want)
	}
	clock.Advance(time.Minute)
	if c := inspect(t, e, "memory"); !c.OOMKilled || c.ExitCode != 137 {
		t.Errorf("after a minute: %+v, want it killed for its memory", c)
	}
	if err := e.RunOutOfMemory("plain"); err != nil {
		t.Fatal(err)
	}
	if c := inspect(t, e, "plain"); !c.OOMKilled || c.State != engine.Exited {
		t.Errorf("plain is %+v", c)
	}
	if err := e.Exit("plain", 1); !errors.Is(err, engine.ErrConflict) {
		t.Errorf("a crash of what does not run: %v", err)
	}
}

func TestViolations(t *testing.T) {
	mounts := []tree.Mount{{Type: tree.NamedVolume, Source: "data", Target: "/d"}, {Type: tree.NamedVolume, Source: "logs", Target: "/l"}}
	reader := []tree.Mount{{Type: tree.NamedVolume, Source: "data", Target: "/d", ReadOnly: true}}
	e := &fake.Engine{AnyImage: true, Now: newClock().Now, SharedVolume: func(volume string) bool { return volume == "logs" }}
	run(t, e, tree.Spec{Mounts: mounts}, "db.1", "other.1")
	run(t, e, tree.Spec{Mounts: reader}, "db.2")
	if got := e.Violations(); len(got) != 0 {
		t.Errorf("violations are %q, want none yet", got)
	}
	run(t, e, tree.Spec{Mounts: mounts}, "db.3")
	host := tree.Spec{NetworkMode: "host", Environment: map[string]string{"PORT": "5001"}}
	run(t, e, host, "api.1", "api.2")
	run(t, e, tree.Spec{NetworkMode: "none", Environment: host.Environment}, "api.3")
	want := []string{"db.1 and db.3 both run and write volume data", "api.1 and api.2 both want port 5001"}
	if got := e.Violations(); !slices.Equal(got, want) {
		t.Errorf("violations are %q, want %q", got, want)
	}
	if c := inspect(t, e, "api.2"); c.State != engine.Exited || c.ExitCode != 1 {
		t.Errorf("what found its port taken is %s with status %d", c.State, c.ExitCode)
	}
	var lines []string
	if err := e.Logs(t.Context(), "api.2", engine.LogOptions{}, func(l engine.LogLine) { lines = append(lines, l.Stream+":"+l.Text) }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"stderr:cannot listen on port 5001: address already in use"}; !slices.Equal(lines, want) {
		t.Errorf("it wrote %q, want %q", lines, want)
	}
	expectRunning(t, "then", e, "api.1", "api.3", "db.1", "db.2", "db.3", "other.1")
}

// TestWaitsWithoutClock: with the time of the day, a call that waits sees what becomes due.
func TestWaitsWithoutClock(t *testing.T) {
	e := &fake.Engine{AnyImage: true, Program: func(string, tree.Spec) fake.Program {
		return fake.Program{Exit: &fake.Exit{After: 5 * time.Millisecond, Code: 4}, Lines: []fake.Line{{Text: "late", After: time.Millisecond}}}
	}}
	run(t, e, tree.Spec{}, "aa")
	var lines []string
	if err := e.Logs(t.Context(), "aa", engine.LogOptions{Follow: true}, func(l engine.LogLine) { lines = append(lines, l.Text) }); err != nil {
		t.Error(err)
	}
	if !slices.Equal(lines, []string{"late"}) {
		t.Errorf("lines are %q", lines)
	}
	if code, err := e.Wait(t.Context(), "aa"); code != 4 || err != nil {
		t.Errorf("Wait: %d, %v, want 4", code, err)
	}
}

func TestImageStore(t *testing.T) {
	e := &fake.Engine{Now: newClock().Now, Registry: func(reference string) (engine.Image, error) {
		if reference == "there:1" {
			return engine.Image{ID: "sha256:1", Layers: []string{"a"}}, nil
		}
		return engine.Image{}, engine.ErrNotFound
	}}
	ctx := t.Context()
	if _, err := e.Create(ctx, "aa", tree.Spec{Image: "there:1"}); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("before the pull: %v", err)
	}
	var progress []string
	if err := e.PullImage(ctx, "there:1", func(line string) { progress = append(progress, line) }); err != nil || len(progress) == 0 {
		t.Errorf("PullImage: %v with the progress %q", err, progress)
	}
	if err := e.PullImage(ctx, "gone:1", nil); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("pulling what is not there: %v", err)
	}
	image, err := e.Image(ctx, "there:1")
	if err != nil || image.ID != "sha256:1" || !slices.Equal(image.Layers, []string{"a"}) || image.Created.IsZero() {
		t.Errorf("the image is %+v, %v", image, err)
	}

	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	manifest := `[{"RepoTags":["loaded:1","loaded:2"]}]`
	if err := w.WriteHeader(&tar.Header{Name: "manifest.json", Mode: 0o644, Size: int64(len(manifest))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(manifest)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	references, err := e.LoadImage(ctx, &archive)
	if err != nil || !slices.Equal(references, []string{"loaded:1", "loaded:2"}) {
		t.Errorf("loaded %q, %v", references, err)
	}
	if _, err := e.Create(ctx, "aa", tree.Spec{Image: "loaded:2"}); err != nil {
		t.Error(err)
	}
	if _, err := e.LoadImage(ctx, strings.NewReader("no archive")); err == nil {
		t.Error("what is not an archive was loaded")
	}
}

func TestCopiedFiles(t *testing.T) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: "nova/nova.conf", Mode: 0o640, Uid: 42436, Gid: 42437, Size: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("hi")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	content := archive.Bytes()
	e := &fake.Engine{AnyImage: true}
	mounts := []tree.Mount{{Type: tree.Tmpfs, Target: "/etc"}}
	for name, spec := range map[string]tree.Spec{"plain": {Image: "x"}, "closed": {Image: "x", ReadOnly: true}, "mounted": {Image: "x", ReadOnly: true, Mounts: mounts}} {
		if _, err := e.Create(t.Context(), name, spec); err != nil {
			t.Fatal(err)
		}
		err := e.CopyTo(t.Context(), name, "/etc", bytes.NewReader(content))
		if refused := err != nil; refused != (name == "closed") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, want := e.Files("plain")["/etc/nova/nova.conf"], (fake.File{Content: "hi", Mode: 0o640, UID: 42436, GID: 42437}); got != want {
		t.Errorf("the file is %+v, want %+v", got, want)
	}
	if len(e.Files("closed")) != 0 {
		t.Error("a container that is read-only has the files")
	}
}

// TestDeterminism runs one scene twice.
func TestDeterminism(t *testing.T) {
	scene := func() string {
		clock := newClock()
		e := &fake.Engine{AnyImage: true, Now: clock.Now}
		run(t, e, tree.Spec{Restart: "always"}, "cc", "aa", "bb")
		for range 5 {
			for _, name := range e.Running() {
				if err := e.Exit(name, 1); err != nil {
					t.Fatal(err)
				}
			}
			clock.Advance(time.Second)
			e.Restart()
		}
		list, err := e.List(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(list, inspect(t, e, "aa"), e.Journal())
	}
	if first, second := scene(), scene(); first != second {
		t.Errorf("two runs differ:\n%s\n%s", first, second)
	}
}
