// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package durable writes files so that a reader, or a crash at any point, finds the old content or the
// new one, and never a part.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// Temporary begins the names of files that are not written to their end; after a crash one may be left
// beside the file that it was to become.
const Temporary = ".new-"

// WriteFile writes a file and replaces what is there. Its directory must exist. The file has its mode
// and owner before it has its name; a uid or gid of -1 is the process's own. When WriteFile returns, the
// file is on the disk; where it returns an error, what was there is as it was.
func WriteFile(path string, content []byte, mode os.FileMode, uid, gid int) error {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, Temporary+"*") // 0600
	if err != nil {
		return err
	}
	err = errors.Join(fill(file, content, mode, uid, gid), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return SyncDir(dir)
}

func fill(file *os.File, content []byte, mode os.FileMode, uid, gid int) error {
	if _, err := file.Write(content); err != nil {
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

// SyncDir makes what was made, renamed or removed in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
