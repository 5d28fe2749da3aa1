// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package secret makes, keeps, rotates and places secrets.
//
// They lie below one directory, in files that root alone can read: DIR/NAME/VERSION. A version
// never changes; the highest is the present one, and the last three are kept for generations
// that are rolled back to. A file appears whole or not at all, and two processes that need the
// same new secret get the same one.
//
// No error, log line or JSON document carries a value: see Value.
package secret

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"copse/internal/durable"
	"copse/internal/tree"
)

// kept is how many versions of a secret stay: as many as generations of a container.
const kept = 3

// ErrNotFound: there is no such secret, or not that version of it.
var ErrNotFound = errors.New("no such secret")

// Secrets are those kept in one directory. It is safe for concurrent use, by several processes
// too.
type Secrets struct {
	dir string
	mu  sync.Mutex

	hiding sync.Mutex // guards hider
	hider  *strings.Replacer
}

// Open uses a directory and makes it where it is missing. Its mode becomes 0700.
func Open(dir string) (*Secrets, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot keep secrets: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot keep secrets: %w", err)
	}
	return &Secrets{dir: dir}, nil
}

// Ensure returns the present version of a secret and makes the first one where there is none.
func (s *Secrets) Ensure(secret tree.Secret) (version int, created bool, err error) {
	err = s.locked(secret.Name, func() error {
		versions, err := s.versions(secret.Name)
		if err != nil {
			return err
		}
		if len(versions) > 0 {
			version = versions[len(versions)-1]
			return nil
		}
		value, err := generate(secret.Generate)
		if err != nil {
			return err
		}
		version, created = 1, true
		return s.write(secret.Name, version, value)
	})
	if err != nil {
		return 0, false, fmt.Errorf("cannot make secret %q: %w", secret.Name, err)
	}
	return version, created, nil
}

// Rotate makes a new version of a secret that exists and returns its number. Versions before
// the last three are removed.
func (s *Secrets) Rotate(secret tree.Secret) (version int, err error) {
	err = s.locked(secret.Name, func() error {
		versions, err := s.versions(secret.Name)
		if err != nil {
			return err
		}
		if len(versions) == 0 {
			return ErrNotFound
		}
		value, err := generate(secret.Generate)
		if err != nil {
			return err
		}
		version = versions[len(versions)-1] + 1
		if err := s.write(secret.Name, version, value); err != nil {
			return err
		}
		versions = append(versions, version)
		for _, old := range versions[:max(0, len(versions)-kept)] {
			if err := os.Remove(s.path(secret.Name, old)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("cannot rotate secret %q: %w", secret.Name, err)
	}
	return version, nil
}

// Value returns one version of a secret; ErrNotFound when it is not kept.
func (s *Secrets) Value(name string, version int) (Value, error) {
	if err := checkName(name); err != nil {
		return Value{}, err
	}
	content, err := os.ReadFile(s.path(name, version))
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound
	}
	if err != nil {
		return Value{}, fmt.Errorf("cannot read version %d of secret %q: %w", version, name, err)
	}
	return newValue(string(content)), nil
}

// Created returns when a version was made; ErrNotFound when it is not kept.
func (s *Secrets) Created(name string, version int) (time.Time, error) {
	if err := checkName(name); err != nil {
		return time.Time{}, err
	}
	info, err := os.Stat(s.path(name, version))
	if errors.Is(err, os.ErrNotExist) {
		return time.Time{}, fmt.Errorf("secret %q, version %d: %w", name, version, ErrNotFound)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot look at secret %q: %w", name, err)
	}
	return info.ModTime().UTC(), nil
}

// Versions returns the present version of each secret.
func (s *Secrets) Versions() (map[string]int, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list secrets: %w", err)
	}
	present := map[string]int{}
	for _, entry := range entries {
		if !entry.IsDir() || checkName(entry.Name()) != nil {
			continue
		}
		versions, err := s.versions(entry.Name())
		if err != nil {
			return nil, fmt.Errorf("cannot list secrets: %w", err)
		}
		if len(versions) > 0 {
			present[entry.Name()] = versions[len(versions)-1]
		}
	}
	return present, nil
}

// versions returns the versions of one secret, oldest first. Temporary files do not count.
func (s *Secrets) versions(name string) ([]int, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var versions []int
	for _, entry := range entries {
		version, err := strconv.Atoi(entry.Name())
		if err == nil && version > 0 && entry.Name() == strconv.Itoa(version) && entry.Type().IsRegular() {
			versions = append(versions, version)
		}
	}
	slices.Sort(versions)
	return versions, nil
}

func (s *Secrets) path(name string, version int) string {
	return filepath.Join(s.dir, name, strconv.Itoa(version))
}

// write puts a version in place, and removes what a crash in an earlier write left behind.
func (s *Secrets) write(name string, version int, value Value) error {
	dir := filepath.Join(s.dir, name)
	if err := os.Mkdir(dir, 0o700); err == nil {
		if err := durable.SyncDir(s.dir); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), durable.Temporary) {
			if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	defer s.changed()
	return durable.WriteFile(filepath.Join(dir, strconv.Itoa(version)), []byte(value.Reveal()), 0o400, -1, -1)
}

// locked runs do while no other goroutine and no other process makes secrets. The lock is the
// kernel's, so a crash releases it.
func (s *Secrets) locked(name string, do func() error) error {
	if err := checkName(name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	dir, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX)
		if err == nil {
			return do()
		}
		if !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("cannot lock %s: %w", s.dir, err)
		}
	}
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)

func checkName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("%q is not the name of a secret: letters, digits, dots, dashes and underscores", name)
	}
	return nil
}
