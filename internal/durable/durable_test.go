// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package durable_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"copse/internal/durable"
)

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, c := range []struct {
		content string
		mode    os.FileMode
	}{{"first", 0o600}, {"second, and longer", 0o440}, {"", 0o644}} {
		if err := durable.WriteFile(path, []byte(c.content), c.mode, -1, -1); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil || string(content) != c.content {
			t.Errorf("it holds %q, %v; want %q", content, err, c.content)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != c.mode {
			t.Errorf("its mode is %v, %v; want %v", info.Mode(), err, c.mode)
		}
	}
	mustBeAlone(t, dir)
}

func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("files can be given away by root alone")
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := durable.WriteFile(path, []byte("x"), os.ModeSetuid|0o750, 42, 43); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	// A mode that is set before the owner loses its bit.
	if stat := info.Sys().(*syscall.Stat_t); stat.Uid != 42 || stat.Gid != 43 || info.Mode() != os.ModeSetuid|0o750 {
		t.Errorf("it is %v of %d:%d", info.Mode(), stat.Uid, stat.Gid)
	}
}

// TestFailureLeavesWhatWasThere has a directory where the file is to be, which no file can replace.
func TestFailureLeavesWhatWasThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(path, "below"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(path, []byte("x"), 0o600, -1, -1); err == nil {
		t.Error("a directory was replaced")
	}
	if _, err := os.Stat(filepath.Join(path, "below")); err != nil {
		t.Error(err)
	}
	mustBeAlone(t, dir)
	if err := durable.WriteFile(filepath.Join(dir, "no", "such"), nil, 0o600, -1, -1); err == nil {
		t.Error("a file was written where there is no directory")
	}
}

// mustBeAlone holds that nothing temporary is left beside the one entry of a directory.
func mustBeAlone(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
}
