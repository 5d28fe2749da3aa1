// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"fmt"
	"os"
	"path/filepath"

	"copse/internal/durable"
	"copse/internal/tree"
)

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
		if err := durable.WriteFile(path, []byte(values[i].Reveal()), os.FileMode(mount.Mode)&0o777, mount.UID, mount.GID); err != nil {
			return fmt.Errorf("cannot place secret %q: %w", mount.Name, err)
		}
	}
	return nil
}
