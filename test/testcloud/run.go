// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package testcloud is a real cloud on this host for tests: made by the real programs on the real
// engine, from nothing, beside whatever the host had before, which is put back at the end.
package testcloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// patience is how long anything may take before a test gives up. It decides no result: what is
// waited for comes in seconds, or something is broken.
const patience = 10 * time.Minute

// Result is how a program ended.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// String is everything that it wrote.
func (r Result) String() string { return r.Stdout + r.Stderr }

// Command is a program that has not been started, with this process's environment and more. It is
// killed when the test ends.
func Command(t testing.TB, dir string, environment []string, name string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), environment...)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Run runs a program to its end.
func Run(t testing.TB, cmd *exec.Cmd) Result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatalf("cannot run %s: %v\n%s%s", strings.Join(cmd.Args, " "), err, stdout.String(), stderr.String())
	}
	return Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
}

// Must runs a program that has to succeed, and returns its standard output without the last newline.
func Must(t testing.TB, name string, args ...string) string {
	t.Helper()
	r := Run(t, Command(t, "", nil, name, args...))
	if r.Code != 0 {
		t.Fatalf("%s %s ended with %d:\n%s", name, strings.Join(args, " "), r.Code, r)
	}
	return strings.TrimRight(r.Stdout, "\n")
}

// Docker runs the engine's client, which has to succeed.
func Docker(t testing.TB, args ...string) string {
	t.Helper()
	return Must(t, "docker", args...)
}

// Lines splits output into its lines, without empty ones.
func Lines(output string) []string {
	return strings.FieldsFunc(output, func(r rune) bool { return r == '\n' })
}

// Objects reads a stream of JSON objects.
func Objects[T any](t testing.TB, stream string) []T {
	t.Helper()
	objects := []T{}
	decoder := json.NewDecoder(strings.NewReader(stream))
	for {
		var object T
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatalf("no stream of JSON objects: %v:\n%s", err, stream)
		}
		objects = append(objects, object)
	}
}

// Object reads one JSON object.
func Object[T any](t testing.TB, stream string) T {
	t.Helper()
	objects := Objects[T](t, stream)
	if len(objects) != 1 {
		t.Fatalf("%d JSON objects, want one:\n%s", len(objects), stream)
	}
	return objects[0]
}

// Until waits until a condition holds; it returns what is still missing, "" for nothing.
func Until(t testing.TB, what string, missing func() string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		m := missing()
		if m == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s: %s", patience, what, m)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
