// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// do binds the directory on itself where it is no mount yet, and makes it and what is below
// shared (mount(8), "shared subtree operations"). A crash between the two leaves a mount that
// the next call makes shared.
func (s shareMount) do(*edge) (string, error) {
	if err := os.MkdirAll(s.path, 0o755); err != nil {
		return "", fmt.Errorf("cannot make the directory of shared mount %s: %w", s.path, err)
	}
	shared, root, err := mountOf(s.path)
	if err != nil {
		return "", err
	}
	said := s.path + " is a shared mount now"
	if shared {
		return said, nil // by way of a directory above
	}
	if !root {
		if err := unix.Mount(s.path, s.path, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return "", fmt.Errorf("cannot bind %s on itself: %w", s.path, err)
		}
	}
	if err := unix.Mount("", s.path, "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return "", fmt.Errorf("cannot make %s a shared mount: %w", s.path, err)
	}
	return said, nil
}

func (d makeDirectory) do(*edge) (string, error) {
	said := fmt.Sprintf("directory %s is %04o %d:%d now", d.Path, d.Mode, d.UID, d.GID)
	if err := os.MkdirAll(d.Path, 0o755); err != nil {
		return "", fmt.Errorf("cannot make directory %s: %w", d.Path, err)
	}
	// By the open directory, so that no link can take its place in between.
	fd, err := unix.Open(d.Path, unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("cannot open directory %s: %w", d.Path, err)
	}
	defer unix.Close(fd)
	if err := unix.Fchown(fd, d.UID, d.GID); err != nil {
		return "", fmt.Errorf("cannot give directory %s to %d:%d: %w", d.Path, d.UID, d.GID, err)
	}
	// After its owner: a change of owner may take set-user and set-group bits away.
	if err := unix.Fchmod(fd, d.Mode); err != nil {
		return "", fmt.Errorf("cannot set the mode of directory %s: %w", d.Path, err)
	}
	return said, nil
}

func (s setParameter) do(*edge) (string, error) {
	err := os.WriteFile(parameterFile(s.name), []byte(s.value), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("cannot set kernel parameter %s: the kernel has none of that name; a module may be missing", s.name)
	}
	if err != nil {
		return "", fmt.Errorf("cannot set kernel parameter %s to %s: %w", s.name, s.value, err)
	}
	return fmt.Sprintf("kernel parameter %s is %s now", s.name, s.value), nil
}
