// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"copse/internal/durable"
	"copse/internal/tree"
)

func open(t *testing.T) *Secrets {
	t.Helper()
	secrets, err := Open(filepath.Join(t.TempDir(), "state", "secrets"))
	if err != nil {
		t.Fatal(err)
	}
	return secrets
}

func password(name string) tree.Secret {
	return tree.Secret{Name: name, Generate: tree.Generator{Kind: "password", Length: 32}}
}

func reveal(t *testing.T, secrets *Secrets, name string, version int) string {
	t.Helper()
	value, err := secrets.Value(name, version)
	if err != nil {
		t.Fatal(err)
	}
	return value.Reveal()
}

func TestEnsure(t *testing.T) {
	secrets := open(t)
	version, created, err := secrets.Ensure(password("keystone_db"))
	if err != nil || version != 1 || !created {
		t.Fatalf("first: %d, %t, %v", version, created, err)
	}
	value := reveal(t, secrets, "keystone_db", 1)
	again, err := Open(secrets.dir)
	if err != nil {
		t.Fatal(err)
	}
	if version, created, err := again.Ensure(password("keystone_db")); err != nil || version != 1 || created {
		t.Fatalf("again: %d, %t, %v", version, created, err)
	}
	if reveal(t, again, "keystone_db", 1) != value {
		t.Error("the value changed")
	}
	for path, want := range map[string]fs.FileMode{"": 0o700, "keystone_db": 0o700, "keystone_db/1": 0o400} {
		info, err := os.Stat(filepath.Join(secrets.dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%q has mode %o, want %o", path, got, want)
		}
	}
}

func TestKinds(t *testing.T) {
	seen := map[string]bool{}
	for range 20 {
		for _, kind := range []string{"password", "hex", "base64"} {
			value, err := generate(tree.Generator{Kind: kind, Length: 32})
			if err != nil {
				t.Fatal(err)
			}
			text := value.Reveal()
			if seen[text] {
				t.Fatalf("%s: twice the same", kind)
			}
			seen[text] = true
			var raw []byte
			switch kind {
			case "password":
				if strings.Trim(text, alphabet) != "" || len(text) != 32 {
					t.Errorf("password of %d characters, or with strange ones", len(text))
				}
				continue
			case "hex":
				raw, err = hex.DecodeString(text)
			case "base64":
				raw, err = base64.URLEncoding.DecodeString(text)
			}
			if err != nil || len(raw) != 32 {
				t.Errorf("%s: %d bytes, %v", kind, len(raw), err)
			}
		}
	}
	for _, bad := range []tree.Generator{{}, {Kind: "uuid", Length: 32}, {Kind: "hex", Length: 4}, {Kind: "hex", Length: 1 << 20}} {
		if _, err := generate(bad); err == nil {
			t.Errorf("%+v makes a value", bad)
		}
	}
}

func TestRotateKeepsThree(t *testing.T) {
	secrets := open(t)
	if _, err := secrets.Rotate(password("a")); !errors.Is(err, ErrNotFound) {
		t.Fatalf("what does not exist is rotated: %v", err)
	}
	if _, _, err := secrets.Ensure(password("a")); err != nil {
		t.Fatal(err)
	}
	values := map[int]string{1: reveal(t, secrets, "a", 1)}
	for want := 2; want <= 5; want++ {
		version, err := secrets.Rotate(password("a"))
		if err != nil || version != want {
			t.Fatalf("version %d, %v; want %d", version, err, want)
		}
		values[version] = reveal(t, secrets, "a", version)
		if values[version] == values[version-1] {
			t.Error("the value did not change")
		}
	}
	for version := 1; version <= 5; version++ {
		value, err := secrets.Value("a", version)
		if version <= 2 {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("version %d is still there: %v", version, err)
			}
		} else if err != nil || value.Reveal() != values[version] {
			t.Errorf("version %d: %v", version, err)
		}
	}
	if _, _, err := secrets.Ensure(password("b")); err != nil {
		t.Fatal(err)
	}
	got, err := secrets.Versions()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"a": 5, "b": 1}, got); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
}

// A crash between write and rename leaves a file that must never be read, and goes away.
func TestHalfWritten(t *testing.T) {
	secrets := open(t)
	dir := filepath.Join(secrets.dir, "a")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(dir, durable.Temporary+"123")
	if err := os.WriteFile(half, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if versions, err := secrets.Versions(); err != nil || len(versions) != 0 {
		t.Errorf("half a file counts: %v, %v", versions, err)
	}
	version, created, err := secrets.Ensure(password("a"))
	if err != nil || version != 1 || !created {
		t.Fatalf("%d, %t, %v", version, created, err)
	}
	if reveal(t, secrets, "a", 1) == "half" {
		t.Error("half a file was read")
	}
	if _, err := os.Stat(half); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a file is still there: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestConcurrentEnsure(t *testing.T) {
	secrets := open(t)
	var wait sync.WaitGroup
	var mu sync.Mutex
	made, values := 0, map[string]bool{}
	for range 16 {
		wait.Go(func() {
			other, err := Open(secrets.dir) // as another process would
			if err != nil {
				t.Error(err)
				return
			}
			version, created, err := other.Ensure(password("a"))
			if err != nil {
				t.Error(err)
				return
			}
			value, err := other.Value("a", version)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			values[value.Reveal()] = true
			if created {
				made++
			}
		})
	}
	wait.Wait()
	if made != 1 || len(values) != 1 {
		t.Errorf("made %d times, %d values", made, len(values))
	}
}

func TestNames(t *testing.T) {
	secrets := open(t)
	for _, name := range []string{"", ".", "..", "../a", "a/b", ".hidden", "a\nb", strings.Repeat("a", 200)} {
		if _, _, err := secrets.Ensure(password(name)); err == nil {
			t.Errorf("%q is a name", name)
		}
		if _, err := secrets.Value(name, 1); err == nil {
			t.Errorf("%q is read", name)
		}
	}
}

func TestPlace(t *testing.T) {
	secrets := open(t)
	for _, name := range []string{"a", "b"} {
		if _, _, err := secrets.Ensure(password(name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := secrets.Rotate(password("b")); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "keystone.7")
	mounts := []tree.SecretMount{
		{Name: "a", Target: "/run/secrets/a", Mode: 0o440, UID: os.Getuid(), GID: os.Getgid()},
		{Name: "b", Target: "/run/secrets/b", Mode: 0o400, UID: os.Getuid(), GID: os.Getgid()},
	}
	if os.Getuid() == 0 {
		mounts[1].UID, mounts[1].GID = 42425, 42426
	}
	versions := map[string]int{"a": 1, "b": 1}
	for range 2 {
		if err := secrets.Place(dir, mounts, versions); err != nil {
			t.Fatal(err)
		}
	}
	for _, mount := range mounts {
		path := filepath.Join(dir, FileName(mount))
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(content) != reveal(t, secrets, mount.Name, 1) {
			t.Errorf("%s: not the version asked for", mount.Name)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		owner := info.Sys().(*syscall.Stat_t)
		if info.Mode() != fs.FileMode(mount.Mode) || int(owner.Uid) != mount.UID || int(owner.Gid) != mount.GID {
			t.Errorf("%s: %v %d:%d", mount.Name, info.Mode(), owner.Uid, owner.Gid)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}

	untouched := filepath.Join(t.TempDir(), "none")
	for name, test := range map[string]struct {
		mounts   []tree.SecretMount
		versions map[string]int
	}{
		"version gone":      {mounts, map[string]int{"a": 1, "b": 9}},
		"version not given": {mounts, map[string]int{"a": 1}},
		"two owners":        {append(mounts[:1:1], tree.SecretMount{Name: "a", Target: "/x", Mode: 0o400}), versions},
	} {
		if err := secrets.Place(untouched, test.mounts, test.versions); err == nil {
			t.Errorf("%s: placed", name)
		}
		if _, err := os.Stat(untouched); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something was written", name)
		}
	}
}

func TestValueDoesNotShow(t *testing.T) {
	const text = "hunter2hunter2"
	value := newValue(text)
	wrapped := struct {
		V Value
		P *Value
	}{value, &value}
	hidden := struct{ v Value }{value}
	encoded, err := json.Marshal(wrapped)
	if err != nil {
		t.Fatal(err)
	}
	key, err := json.Marshal(map[Value]int{value: 1})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("made", "value", value, "in", wrapped)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("made", "value", value, "in", wrapped)
	shown := []string{string(encoded), string(key), log.String(), fmt.Errorf("with %w and %v", errors.New("x"), value).Error()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		shown = append(shown, fmt.Sprintf(verb, value), fmt.Sprintf(verb, wrapped), fmt.Sprintf(verb, []Value{value}), fmt.Sprintf(verb, hidden))
	}
	for _, s := range shown {
		if strings.Contains(s, text) || strings.Contains(strings.ToLower(s), hex.EncodeToString([]byte(text))) {
			t.Errorf("it shows: %s", s)
		}
	}
	if value.Reveal() != text {
		t.Error("Reveal does not")
	}
}
