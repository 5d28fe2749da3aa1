// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"copse/internal/tree"
)

// temporary begins the names of files that are not written to their end.
const temporary = ".new-"

// FileName is where Place puts the copy of a mounted secret, below the directory it is given.
func FileName(mount tree.SecretMount) string { return mount.Name }

// Place writes the copies that one generation of a container mounts into a directory of its
// own, FileName for each mount, with the mount's owner and mode. versions gives the version of
// each secret. The directory is root's alone: what a container sees is each file, bound to its
// target. Placing again replaces what is there.
func (s *Secrets) Place(dir string, mounts []tree.SecretMount, versions map[string]int) error {
	if len(mounts) == 0 {
		return nil
	}
	// Everything that can be missing is looked for before the first file is written.
	values := make([]Value, len(mounts))
	owners := map[string]tree.SecretMount{}
	for i, mount := range mounts {
		version, declared := versions[mount.Name]
		if !declared {
			return fmt.Errorf("cannot place secret %q: its version is not given", mount.Name)
		}
		if first, twice := owners[mount.Name]; twice && (first.UID != mount.UID || first.GID != mount.GID || first.Mode != mount.Mode) {
			return fmt.Errorf("cannot place secret %q: it is mounted at %s and %s with different owners or modes", mount.Name, first.Target, mount.Target)
		}
		owners[mount.Name] = mount
		value, err := s.Value(mount.Name, version)
		if err != nil {
			return err
		}
		values[i] = value
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot place secrets: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("cannot place secrets: %w", err)
	}
	for i, mount := range mounts {
		path := filepath.Join(dir, FileName(mount))
		if err := writeFile(path, values[i], os.FileMode(mount.Mode)&0o777, mount.UID, mount.GID); err != nil {
			return fmt.Errorf("cannot place secret %q: %w", mount.Name, err)
		}
	}
	return nil
}

// writeFile writes a value so that a reader, or a crash, sees all of it or nothing. An owner
// of -1 is the process's own.
func writeFile(path string, value Value, mode os.FileMode, uid, gid int) error {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, temporary+"*") // 0600
	if err != nil {
		return err
	}
	err = errors.Join(fill(file, value, mode, uid, gid), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return syncDir(dir)
}

func fill(file *os.File, value Value, mode os.FileMode, uid, gid int) error {
	if _, err := file.WriteString(value.Reveal()); err != nil {
		return err
	}
	if uid >= 0 || gid >= 0 {
		if err := file.Chown(uid, gid); err != nil {
			return err
		}
	}
	// After the owner: a change of owner takes mode bits away.
	if err := file.Chmod(mode); err != nil {
		return err
	}
	return file.Sync()
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
