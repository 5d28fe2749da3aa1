// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"copse/catalog"
)

// TestDumpsAreTheirOwnersAlone runs the catalogue's program that saves databases.
func TestDumpsAreTheirOwnersAlone(t *testing.T) {
	script, err := fs.ReadFile(catalog.Files(), "sets/database-control/dump.sh")
	if err != nil {
		t.Fatal(err)
	}
	dumps, programs := t.TempDir(), t.TempDir()
	moved := strings.Replace(string(script), "directory=/var/lib/dumps", "directory="+dumps, 1)
	if moved == string(script) {
		t.Fatal("the program keeps its files elsewhere")
	}
	for name, text := range map[string]string{"mariadb": "", "mariadb-dump": "echo 'CREATE DATABASE keystone;'", "dump.sh": moved} {
		if err := os.WriteFile(filepath.Join(programs, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.Command("/bin/bash", "-c", `umask 022; exec /bin/bash "$0" all`, filepath.Join(programs, "dump.sh"))
	command.Env = append(os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"))
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	entries, err := os.ReadDir(dumps)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d files, %v; want one dump", len(entries), err)
	}
	info, err := entries[0].Info()
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 || info.Size() == 0 {
		t.Errorf("%s has mode %v and %d bytes, want it for its owner alone", info.Name(), info.Mode(), info.Size())
	}
}
