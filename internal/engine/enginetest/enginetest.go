// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package enginetest is the conformance suite of container engines: what callers of
// engine.Engine rely on, as tests.
//
// Run is for every engine, the fake one included. RunKernel is for engines that run real
// processes: it looks from inside containers at what the kernel grants. Both use one image,
// made of testbox alone (see ImageArchive). What the suite makes carries the fixture's labels,
// is named with its prefix, and is removed again.
package enginetest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"copse/internal/engine"
	"copse/internal/tree"
)

// Fixture is what an engine brings to the suite.
type Fixture struct {
	// TestImage is the reference of an image made from ImageArchive and ImageChanges; it
	// carries Labels.
	TestImage string
	// Labels go onto everything that the suite makes; nothing else on the engine has them.
	Labels map[string]string
	// Prefix begins the name of everything that the suite makes.
	Prefix string
	// Pass lets time pass between two looks at something that is awaited.
	Pass func()
	// Directory is a directory on the engine's host that RunKernel may write; also where the
	// test itself sees it.
	Directory string
}

// suite is an engine with helpers.
type suite struct {
	engine.Engine
	Fixture
}

// runAll runs tests, each with a fixture of its own.
func runAll(t *testing.T, open func(*testing.T) (engine.Engine, Fixture), tests map[string]func(*testing.T, suite)) {
	for _, name := range tree.SortedKeys(tests) {
		t.Run(name, func(t *testing.T) {
			e, fixture := open(t)
			tests[name](t, suite{e, fixture})
		})
	}
}

// name makes a name from the fixture's prefix.
func (s suite) name(name string) string { return s.Prefix + name }

// spec is a container that runs a command of testbox without a network.
func (s suite) spec(command ...string) tree.Spec {
	return tree.Spec{
		Image: s.TestImage, Command: command, NetworkMode: "none", Labels: maps.Clone(s.Labels), Restart: "no",
	}
}

// with returns spec after changes to it.
func with(spec tree.Spec, change func(*tree.Spec)) tree.Spec {
	change(&spec)
	return spec
}

// create makes a container, which goes when the test ends.
func (s suite) create(t *testing.T, name string, spec tree.Spec) string {
	t.Helper()
	id, err := s.Create(t.Context(), s.name(name), spec)
	if err != nil {
		t.Fatal(err)
	}
	s.removeLater(t, id)
	return id
}

// removeLater removes a container when the test ends, if it is still there.
func (s suite) removeLater(t *testing.T, id string) {
	t.Cleanup(func() {
		// The test's own context has ended.
		if err := s.Remove(context.Background(), id, true); err != nil && !errors.Is(err, engine.ErrNotFound) {
			t.Error(err)
		}
	})
}

// start makes and starts a container.
func (s suite) start(t *testing.T, name string, spec tree.Spec) string {
	t.Helper()
	id := s.create(t, name, spec)
	if err := s.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

// startReady starts a container that runs "trap" or "ignore", and waits until its program is
// up: before, a signal finds no handler, and ps does not know its arguments.
func (s suite) startReady(t *testing.T, name string, spec tree.Spec) string {
	t.Helper()
	id := s.start(t, name, spec)
	s.awaitReady(t, id)
	return id
}

// awaitReady waits until the program of a container that runs "trap" or "ignore" is up.
func (s suite) awaitReady(t *testing.T, id string) {
	t.Helper()
	s.await(t, "the program handles signals", func() bool { return len(s.logs(t, id, engine.LogOptions{})) > 0 })
}

// volume makes a volume, which goes when the test ends; so it is made before containers.
func (s suite) volume(t *testing.T, name string) string {
	t.Helper()
	name = s.name(name)
	if err := s.CreateVolume(t.Context(), name, s.Labels); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.RemoveVolume(context.Background(), name); err != nil && !errors.Is(err, engine.ErrNotFound) {
			t.Error(err)
		}
	})
	return name
}

// inspect describes a container.
func (s suite) inspect(t *testing.T, id string) engine.Container {
	t.Helper()
	c, err := s.Inspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// await looks until ok; the test's own time limit ends it.
func (s suite) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if ok() {
		return
	}
	t.Logf("waiting: %s", what)
	for !ok() {
		s.Pass()
	}
}

// wait returns a container's exit status. Time passes on the way.
func (s suite) wait(t *testing.T, id string) int {
	t.Helper()
	s.await(t, "the container's end", func() bool { return s.inspect(t, id).State != engine.Running })
	code, err := s.Wait(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// logs returns the lines of a container as "stdout:text".
func (s suite) logs(t *testing.T, id string, options engine.LogOptions) []string {
	t.Helper()
	var lines []string
	err := s.Logs(t.Context(), id, options, func(line engine.LogLine) {
		lines = append(lines, line.Stream+":"+line.Text)
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// ran is what a program did.
type ran struct {
	code           int
	stdout, stderr string
}

// exec runs a command of testbox in a container.
func (s suite) exec(t *testing.T, id string, command ...string) ran {
	t.Helper()
	return s.execWith(t, id, engine.Exec{}, command...)
}

func (s suite) execWith(t *testing.T, id string, exec engine.Exec, command ...string) ran {
	t.Helper()
	var stdout, stderr bytes.Buffer
	exec.Command = append([]string{Program}, command...)
	exec.Stdout, exec.Stderr = &stdout, &stderr
	code, err := s.Exec(t.Context(), id, exec)
	if err != nil {
		t.Fatal(err)
	}
	return ran{code, strings.TrimSpace(stdout.String()), strings.TrimSpace(stderr.String())}
}

// see runs a command of testbox that must succeed, and returns what it printed.
func (s suite) see(t *testing.T, id string, command ...string) string {
	t.Helper()
	result := s.exec(t, id, command...)
	if result.code != 0 {
		t.Fatalf("testbox %q: status %d, %s", command, result.code, result.stderr)
	}
	return result.stdout
}

// expect compares.
func expect[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// expectLines compares lists.
func expectLines(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s is\n%q, want\n%q", what, got, want)
	}
}

// expectError checks that an error matches.
func expectError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: the error is %v, want one that matches %q", what, err, want)
	}
}

// must fails the test at an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// grace is enough for a program that handles signals, on any machine.
const grace = time.Minute
