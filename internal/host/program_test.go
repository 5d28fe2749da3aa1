// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func script(t *testing.T, path, body string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestPrograms(t *testing.T) {
	h := &Host{}
	dir := filepath.Join(t.TempDir(), "hooks.d")
	if paths, err := h.Programs(t.Context(), dir); err != nil || len(paths) != 0 {
		t.Errorf("a directory that is not there has %v, %v", paths, err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	script(t, filepath.Join(dir, "20-b"), "", 0o755)
	script(t, filepath.Join(dir, "10-a"), "", 0o700)
	script(t, filepath.Join(dir, "README"), "", 0o644)
	script(t, filepath.Join(dir, ".hidden"), "", 0o755)
	if err := os.Mkdir(filepath.Join(dir, "below"), 0o755); err != nil {
		t.Fatal(err)
	}
	paths, err := h.Programs(t.Context(), dir)
	if want := []string{filepath.Join(dir, "10-a"), filepath.Join(dir, "20-b")}; err != nil || !slices.Equal(paths, want) {
		t.Errorf("got %v, %v; want %v", paths, err, want)
	}
	for _, path := range []string{filepath.Join(dir, "20-b"), dir} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Programs(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "chmod go-w "+path) {
			t.Errorf("with %s for everybody to write: %v", path, err)
		}
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRunProgram(t *testing.T) {
	h := &Host{}
	dir := t.TempDir()
	path := filepath.Join(dir, "hook")
	script(t, path, fmt.Sprintf(`{ env; pwd; cat; } > %s/out`, dir), 0o755)
	t.Setenv("SECRET_OF_THE_AGENT", "x")
	if err := h.RunProgram(t.Context(), path, []string{"COPSE_SET=a"}, []byte("{}\n")); err != nil {
		t.Fatal(err)
	}
	out, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	for part, want := range map[string]bool{"COPSE_SET=a\n": true, "PATH=/usr": true, "\n/\n{}\n": true, "SECRET": false} {
		if strings.Contains(string(out), part) != want {
			t.Errorf("%q in what the program saw: want %t:\n%s", part, want, out)
		}
	}
	script(t, path, "echo first; seq 10000; echo last words >&2; exit 3", 0o755)
	if err := h.RunProgram(t.Context(), path, nil, nil); err == nil || !strings.HasSuffix(err.Error(), "last words") ||
		!strings.HasPrefix(err.Error(), "exit status 3") || strings.Contains(err.Error(), "first") {
		t.Errorf("a program that fails: %.100v", err)
	}
}

// What it has started is killed with it, and does not keep its caller.
func TestRunProgramIsKilled(t *testing.T) {
	h := &Host{}
	dir := t.TempDir()
	path := filepath.Join(dir, "hook")
	fifo := filepath.Join(dir, "started")
	script(t, path, fmt.Sprintf("mkfifo %s; sleep 1000 & echo go > %s; wait", fifo, fifo), 0o755)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			if _, err := os.ReadFile(fifo); err == nil { // opens once the program writes
				cancel()
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if err := h.RunProgram(ctx, path, nil, nil); err == nil {
		t.Error("a program that was killed has no error")
	}
}
