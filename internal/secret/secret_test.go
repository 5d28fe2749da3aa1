// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"copse/internal/tree"
)

func password(name string) tree.Secret {
	return tree.Secret{Name: name, Generate: tree.Generator{Kind: "password", Length: 32}}
}

func open(t *testing.T) (*Secrets, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "secrets")
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func value(t *testing.T, s *Secrets, name string, version int) string {
	t.Helper()
	v, err := s.Value(name, version)
	if err != nil {
		t.Fatal(err)
	}
	return v.Reveal()
}

func TestKinds(t *testing.T) {
	for kind, pattern := range map[string]string{
		"password": `^[A-Za-z0-9]{24}$`, "hex": `^[0-9a-f]{48}$`, "base64": `^[A-Za-z0-9_-]{32}$`,
	} {
		s, _ := open(t)
		if _, _, err := s.Ensure(tree.Secret{Name: "x", Generate: tree.Generator{Kind: kind, Length: 24}}); err != nil {
			t.Fatal(err)
		}
		if got := value(t, s, "x", 1); !regexp.MustCompile(pattern).MatchString(got) {
			t.Errorf("a secret of kind %s does not match %s", kind, pattern)
		}
	}
	s, _ := open(t)
	for _, g := range []tree.Generator{{Kind: "pin", Length: 4}, {Kind: "hex"}} {
		if _, _, err := s.Ensure(tree.Secret{Name: "x", Generate: g}); err == nil || !strings.Contains(err.Error(), "secret x") {
			t.Errorf("%+v: error %v; want one that names the secret", g, err)
		}
	}
}

func TestEnsureAndRotate(t *testing.T) {
	s, dir := open(t)
	version, created, err := s.Ensure(password("db"))
	if err != nil || version != 1 || !created {
		t.Fatalf("first: version %d, created %t, %v", version, created, err)
	}
	first := value(t, s, "db", 1)
	if version, created, err = s.Ensure(password("db")); err != nil || version != 1 || created {
		t.Fatalf("again: version %d, created %t, %v", version, created, err)
	}
	if value(t, s, "db", 1) != first {
		t.Error("a second Ensure has changed the value")
	}
	for want := 2; want <= 5; want++ {
		if got, err := s.Rotate(password("db")); err != nil || got != want {
			t.Fatalf("rotate: version %d, %v; want %d", got, err, want)
		}
	}
	if _, err := s.Value("db", 2); err == nil || !strings.Contains(err.Error(), "copse secret rotate db") {
		t.Errorf("version 2: %v; want an error with the way out", err)
	}
	if value(t, s, "db", 3) == value(t, s, "db", 5) {
		t.Error("a rotation has not changed the value")
	}
	versions, err := s.Versions()
	if err != nil || len(versions) != 1 || versions["db"] != 5 {
		t.Errorf("versions %v, %v", versions, err)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "db"): 0o700, filepath.Join(dir, "db", "5"): 0o400} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: mode %v, %v; want %v", path, info.Mode().Perm(), err, mode)
		}
	}
}

// TestHalfWritten: what a crash left of a version is not taken for one.
func TestHalfWritten(t *testing.T) {
	s, dir := open(t)
	if err := os.MkdirAll(filepath.Join(dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "db", ".new-123"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, found, err := s.Current("db"); found || err != nil {
		t.Errorf("found %t, %v; want nothing", found, err)
	}
	if version, created, err := s.Ensure(password("db")); version != 1 || !created || err != nil {
		t.Errorf("version %d, created %t, %v", version, created, err)
	}
}

func TestConcurrentEnsure(t *testing.T) {
	s, _ := open(t)
	var made sync.Map
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			_, created, err := s.Ensure(password("db"))
			if err != nil {
				t.Error(err)
			}
			if created {
				made.Store(i, true)
			}
		})
	}
	group.Wait()
	n := 0
	made.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d callers made the secret; want 1", n)
	}
}

func TestPlace(t *testing.T) {
	s, _ := open(t)
	if _, _, err := s.Ensure(password("db")); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "api.3", "secrets")
	mount := tree.SecretMount{Name: "db", Target: "/run/secrets/db", Mode: 0o400, UID: os.Getuid(), GID: os.Getgid()}
	for range 2 { // run again after a crash
		if err := s.Place(dir, []tree.SecretMount{mount}, map[string]int{"db": 1}); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(filepath.Join(dir, "db"))
	if err != nil || string(content) != value(t, s, "db", 1) {
		t.Errorf("the placed secret differs (%v)", err)
	}
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Errorf("the directory's mode is %v", info.Mode().Perm())
	}
	if err := s.Place(dir, []tree.SecretMount{mount}, map[string]int{"db": 9}); err == nil {
		t.Error("a version that does not exist was placed")
	}
}

func TestNames(t *testing.T) {
	s, _ := open(t)
	for _, name := range []string{"", "../x", "a/b", ".hidden"} {
		if _, _, err := s.Ensure(password(name)); err == nil {
			t.Errorf("name %q was taken", name)
		}
	}
}

func TestValueHidesItself(t *testing.T) {
	v := Value{"hunter2"}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
	encoded, err := json.Marshal(map[string]any{"v": v})
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprint(v), fmt.Sprintf("%v %+v %#v %s %q", v, v, v, v, v), log.String(), string(encoded)} {
		if strings.Contains(shown, "hunter2") {
			t.Errorf("the secret shows in %q", shown)
		}
	}
}
