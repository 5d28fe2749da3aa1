// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package testcloud

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// ComposeProgram returns the path of docker compose, the peer, which is fetched once.
func (c *Cloud) ComposeProgram(t testing.TB) string {
	t.Helper()
	path := Must(t, filepath.Join(c.Repository, "scripts", "fetch-compose.sh"), filepath.Join(c.Repository, "build", "peer"))
	if !filepath.IsAbs(path) {
		t.Fatalf("scripts/fetch-compose.sh names no program: %q", path)
	}
	return path
}

// rendered is what of a rendered file the test has to know: which secrets whose containers read.
type rendered struct {
	Services map[string]struct {
		User    string `json:"user"`
		Secrets []struct {
			Source string `json:"source"`
		} `json:"secrets"`
	} `json:"services"`
	Secrets map[string]struct {
		File string `json:"file"`
	} `json:"secrets"`
}

// PlaceSecrets puts the secrets where the rendered file expects them, readable by who reads them, for as
// long as the test runs.
func (c *Cloud) PlaceSecrets(t testing.TB) {
	t.Helper()
	file := Object[rendered](t, c.Must(t, "render", "compose", "--format", "json"))
	for name, service := range file.Services {
		if len(service.Secrets) == 0 {
			continue
		}
		uid, _, _ := strings.Cut(service.User, ":")
		owner, err := strconv.Atoi(uid)
		if err != nil {
			t.Fatalf("service %s runs as %q, which is no number", name, service.User)
		}
		for _, use := range service.Secrets {
			path := file.Secrets[use.Source].File
			if path == "" {
				t.Fatalf("service %s uses the secret %s, which the file does not define", name, use.Source)
			}
			versions, err := filepath.Glob(filepath.Join(StateDir, "secrets", filepath.Base(path), "*"))
			if err != nil || len(versions) == 0 {
				t.Fatalf("no version of the secret %s is kept: %v", filepath.Base(path), err)
			}
			value, err := os.ReadFile(newest(t, versions))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(path)) }) // of no use to anybody else
			if err := os.WriteFile(path, value, 0o400); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(path, owner, owner); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// newest picks the file with the highest number.
func newest(t testing.TB, files []string) string {
	t.Helper()
	best, file := 0, ""
	for _, f := range files {
		version, err := strconv.Atoi(filepath.Base(f))
		if err != nil {
			t.Fatalf("%s is no version of a secret", f)
		}
		if version > best {
			best, file = version, f
		}
	}
	return file
}
