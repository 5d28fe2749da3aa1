// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package secret keeps the values of secrets in files for root alone.
//
//	DIR/NAME/VERSION    mode 0400, in directories of mode 0700
//
// Versions are numbered from 1 and the highest is the current one. A file appears complete
// under its name or not at all, so that a crash never leaves half a secret.
package secret

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"copse/internal/tree"
)

// kept is how many versions of a secret are kept, for generations that are gone back to.
const kept = 3

// Value is a secret. It shows itself in no log, message or encoding; Reveal gives it.
type Value struct{ secret string }

const redacted = "(secret)"

// Reveal returns the secret itself.
func (v Value) Reveal() string { return v.secret }

// String implements fmt.Stringer and hides the secret.
func (Value) String() string { return redacted }

// GoString implements fmt.GoStringer and hides the secret.
func (Value) GoString() string { return redacted }

// MarshalText implements encoding.TextMarshaler and hides the secret.
func (Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements slog.LogValuer and hides the secret.
func (Value) LogValue() slog.Value { return slog.StringValue(redacted) }

// Info describes a version of a secret.
type Info struct {
	Version int
	Created time.Time
}

// Secrets is a directory of secrets. It is safe for concurrent use within one process, the
// agent, which is its only writer.
type Secrets struct {
	dir string
	mu  sync.Mutex
}

// Open opens the directory, which is made where it is missing.
func Open(dir string) (*Secrets, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the directory of secrets: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot keep the secrets for root alone: %w", err)
	}
	return &Secrets{dir: dir}, nil
}

// Ensure makes a first version of a secret where there is none, and returns the current one.
func (s *Secrets) Ensure(secret tree.Secret) (version int, created bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, found, err := s.current(secret.Name)
	if err != nil || found {
		return info.Version, false, err
	}
	return 1, true, s.generate(secret, 1)
}

// Rotate makes a new version and returns it. Versions older than the last three are removed.
func (s *Secrets) Rotate(secret tree.Secret) (version int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, _, err := s.current(secret.Name)
	if err != nil {
		return 0, err
	}
	version = info.Version + 1
	if err := s.generate(secret, version); err != nil {
		return 0, err
	}
	versions, err := s.versions(secret.Name)
	if err != nil {
		return 0, err
	}
	for _, old := range versions[:max(0, len(versions)-kept)] {
		if err := os.Remove(s.path(secret.Name, old)); err != nil {
			return version, fmt.Errorf("cannot remove version %d of secret %s: %w", old, secret.Name, err)
		}
	}
	return version, nil
}

// Current describes the current version of a secret, and says whether there is one.
func (s *Secrets) Current(name string) (Info, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current(name)
}

// Versions returns the current version of each secret.
func (s *Secrets) Versions() (map[string]int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list the secrets: %w", err)
	}
	versions := make(map[string]int, len(entries))
	for _, e := range entries {
		info, found, err := s.current(e.Name())
		if err != nil {
			return nil, err
		}
		if found {
			versions[e.Name()] = info.Version
		}
	}
	return versions, nil
}

// Value reads one version of a secret.
func (s *Secrets) Value(name string, version int) (Value, error) {
	if err := checkName(name); err != nil {
		return Value{}, err
	}
	content, err := os.ReadFile(s.path(name, version))
	if errors.Is(err, os.ErrNotExist) {
		return Value{}, fmt.Errorf("version %d of secret %s is not kept: rotate it with \"copse secret rotate %s\" and run \"copse up\"", version, name, name)
	}
	if err != nil {
		return Value{}, fmt.Errorf("cannot read secret %s: %w", name, err)
	}
	return Value{string(content)}, nil
}

// Place writes copies for one container below dir, each named as its secret, with the owner and
// mode that its mount says. The directory itself is closed to all but root on its way there.
func (s *Secrets) Place(dir string, mounts []tree.SecretMount, versions map[string]int) error {
	// The container sees each file by its own mount: nobody needs to walk through the directory.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the directory for a container's secrets: %w", err)
	}
	for _, m := range mounts {
		value, err := s.Value(m.Name, versions[m.Name])
		if err != nil {
			return err
		}
		if err := write(filepath.Join(dir, m.Name), value.secret, os.FileMode(m.Mode), m.UID, m.GID); err != nil {
			return fmt.Errorf("cannot place secret %s: %w", m.Name, err)
		}
	}
	return nil
}

// names are those that are safe as a file's name; a name comes from a Compose file.
var names = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]*$`)

func checkName(name string) error {
	if !names.MatchString(name) {
		return fmt.Errorf("%q cannot be the name of a secret: use letters, digits, \"_\", \"-\" and \".\"", name)
	}
	return nil
}

func (s *Secrets) path(name string, version int) string {
	return filepath.Join(s.dir, name, strconv.Itoa(version))
}

// versions returns the numbers of the versions that are there, ascending. Temporary files that a
// crash left are no versions.
func (s *Secrets) versions(name string) ([]int, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the versions of secret %s: %w", name, err)
	}
	var versions []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && n > 0 {
			versions = append(versions, n)
		}
	}
	slices.Sort(versions)
	return versions, nil
}

func (s *Secrets) current(name string) (Info, bool, error) {
	versions, err := s.versions(name)
	if err != nil || len(versions) == 0 {
		return Info{}, false, err
	}
	version := versions[len(versions)-1]
	stat, err := os.Stat(s.path(name, version))
	if err != nil {
		return Info{}, false, fmt.Errorf("cannot look at secret %s: %w", name, err)
	}
	return Info{Version: version, Created: stat.ModTime()}, true, nil
}

func (s *Secrets) generate(secret tree.Secret, version int) error {
	value, err := generate(secret.Generate)
	if err != nil {
		return fmt.Errorf("cannot make secret %s: %w", secret.Name, err)
	}
	dir := filepath.Join(s.dir, secret.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the directory of secret %s: %w", secret.Name, err)
	}
	if err := write(s.path(secret.Name, version), value, 0o400, 0, 0); err != nil {
		return fmt.Errorf("cannot write secret %s: %w", secret.Name, err)
	}
	return nil
}

// letters are those of passwords: none of them needs quoting anywhere.
const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// generate makes a value. Kinds are those of tree.Generator.
func generate(g tree.Generator) (string, error) {
	if g.Length <= 0 {
		return "", fmt.Errorf("its length is %d", g.Length)
	}
	switch g.Kind {
	case "password":
		password := make([]byte, g.Length)
		for i := range password {
			n, err := rand.Int(rand.Reader, big.NewInt(int64(len(letters))))
			if err != nil {
				return "", err
			}
			password[i] = letters[n.Int64()]
		}
		return string(password), nil
	case "hex", "base64":
		random := make([]byte, g.Length)
		if _, err := rand.Read(random); err != nil {
			return "", err
		}
		if g.Kind == "hex" {
			return hex.EncodeToString(random), nil
		}
		return base64.URLEncoding.EncodeToString(random), nil
	}
	return "", fmt.Errorf("%q is no way to make one: use password, hex or base64", g.Kind)
}

// write makes a file appear complete under its name, durably.
func write(path, content string, mode os.FileMode, uid, gid int) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.WriteString(content)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Chown(uid, gid), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
