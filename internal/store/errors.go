// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	bolterrors "go.etcd.io/bbolt/errors"
)

// FileError says that the file system or the file itself stands in the way.
type FileError struct {
	Op     string // what was tried: "write"
	Path   string // the file
	Err    error  // why not
	WayOut string // what the operator can do; may be empty
}

// Error implements error.
func (e *FileError) Error() string {
	msg := fmt.Sprintf("cannot %s %s: %v", e.Op, e.Path, e.Err)
	if e.WayOut != "" {
		msg += "; " + e.WayOut
	}
	return msg
}

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// explain puts a way out beside the errors an operator can do something about.
func explain(op, path string, err error) error {
	var already *FileError
	if errors.As(err, &already) {
		return err
	}
	e := &FileError{Op: op, Path: path, Err: err}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e.WayOut = fmt.Sprintf("nothing was changed; free space on the file system of %s, and try again", filepath.Dir(path))
	case errors.Is(err, syscall.EROFS):
		e.WayOut = fmt.Sprintf("the file system of %s is mounted read-only; mount it read-write (an error of the disk, seen in dmesg, may be why it is not)", filepath.Dir(path))
	case errors.Is(err, fs.ErrPermission):
		e.WayOut = fmt.Sprintf("run as root, or give this user read and write access to %s", filepath.Dir(path))
	case errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENOTDIR):
		e.WayOut = "a file is expected there, in a directory; move away what is in its place"
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		e.WayOut = "the file is not a store or is damaged; put a copy back in its place, or move it away to start empty"
	}
	return e
}
