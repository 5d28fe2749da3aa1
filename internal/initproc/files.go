// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package initproc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// writeFile puts a file in place so that a reader sees the old contents or the
// new, never a part. Missing parents are made with mode 0755. The file is for
// a tmpfs that lives no longer than the container, so it is not synced.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	directory := filepath.Dir(path)
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return explainWrite(path, directory, err)
	}
	temporary, err := os.CreateTemp(directory, "."+filepath.Base(path)+".*")
	if err != nil {
		return explainWrite(path, directory, err)
	}
	_, err = temporary.Write(data)
	if err == nil {
		// CreateTemp makes the file 0600, so nobody could read it until here.
		err = temporary.Chmod(mode)
	}
	if closeErr := temporary.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return errors.Join(explainWrite(path, directory, err), os.Remove(temporary.Name()))
	}
	return nil
}

// explainWrite adds the way out to the two errors that a read-only root and a
// user of one's own lead to.
func explainWrite(path, directory string, err error) error {
	hint := ""
	if errors.Is(err, fs.ErrPermission) || isReadOnly(err) {
		hint = fmt.Sprintf("; make %s a tmpfs that user %d can write", directory, os.Geteuid())
	}
	return fmt.Errorf("cannot write %s: %w%s", path, unwrapPath(err), hint)
}

// unwrapPath takes the path out of an error that is shown beside it.
func unwrapPath(err error) error {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return pathError.Err
	}
	if linkError, ok := errors.AsType[*os.LinkError](err); ok {
		return linkError.Err
	}
	return err
}
