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

// TestProgramsCannotBeReplaced: whoever can write a directory on the way to a program, or owns a link
// that leads there, decides what is run as root.
func TestProgramsCannotBeReplaced(t *testing.T) {
	h := &Host{}
	home := filepath.Join(t.TempDir(), "home")
	safe := filepath.Join(t.TempDir(), "safe")
	for _, dir := range []string{home, safe, filepath.Join(home, "hooks.d"), filepath.Join(safe, "hooks.d")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script(t, filepath.Join(home, "hooks.d", "10-a"), "", 0o755)
	script(t, filepath.Join(safe, "hooks.d", "10-a"), "", 0o755)
	for from, to := range map[string]string{
		filepath.Join(safe, "linked.d"):            "../" + filepath.Base(safe) + "/./hooks.d",
		filepath.Join(home, "back"):                safe,
		filepath.Join(safe, "through"):             filepath.Join(home, "back", "hooks.d"),
		filepath.Join(safe, "circle"):              "circle",
		filepath.Join(home, "hooks.d", "20-there"): filepath.Join(home, "back", "hooks.d", "10-a"),
	} {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	dirs := []string{filepath.Join(home, "hooks.d"), filepath.Join(safe, "linked.d"), filepath.Join(safe, "through")}
	for _, dir := range dirs {
		if paths, err := h.Programs(t.Context(), dir); err != nil || len(paths) == 0 {
			t.Errorf("%s, all root's: %v, %v", dir, paths, err)
		}
	}
	if _, err := h.Programs(t.Context(), filepath.Join(safe, "circle")); err == nil {
		t.Error("a link to itself is taken for a directory")
	}
	if err := os.Chmod(home, 0o777); err != nil {
		t.Fatal(err)
	}
	for dir, refused := range map[string]bool{dirs[0]: true, dirs[1]: false, dirs[2]: true} {
		if _, err := h.Programs(t.Context(), dir); (err != nil) != refused || refused && !strings.Contains(err.Error(), "chmod go-w "+home) {
			t.Errorf("%s, with %s for everybody to write: %v", dir, home, err)
		}
	}
	// Where nobody can take away what is another's it is safe again.
	if err := os.Chmod(home, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Programs(t.Context(), dirs[2]); err != nil {
		t.Errorf("in a sticky directory: %v", err)
	}
	if os.Getuid() != 0 {
		return // only root can give a link away
	}
	if err := os.Lchown(filepath.Join(home, "back"), 12345, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Programs(t.Context(), dirs[2]); err == nil || !strings.Contains(err.Error(), "belongs to user 12345") {
		t.Errorf("through another's link: %v", err)
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
