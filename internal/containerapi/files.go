// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// permBits are the bits that chmod(2) sets.
const permBits = 0o7777

// temporaryName is what a file is called until it is complete. One run writes
// one file at a time, so the name can be fixed, and what a killed run left is
// found and removed.
const temporaryName = ".copse-new"

// attributes are what a copy gets beside its content.
type attributes struct {
	ids
	mode uint32 // permBits
	// from, when not nil, is the status of the file whose times and extended
	// attributes are taken over; fromPath is where that is, on the host.
	from     *unix.Stat_t
	fromPath string
}

// forDirectory adds the right to enter for everyone who may list.
func forDirectory(mode uint32) uint32 { return mode | (mode&0o444)>>2 }

// attributesOf copies everything of one file, for a place of its own.
func attributesOf(hostPath string, stat *unix.Stat_t) attributes {
	return attributes{
		ids:  ids{uid: int(stat.Uid), gid: int(stat.Gid)},
		mode: stat.Mode & permBits,
		from: stat, fromPath: hostPath,
	}
}

// files does the changes to a tree of files that a start needs. What the
// original only logs (owner and mode that cannot be set) is logged here too.
type files struct {
	tree filesystem
	log  *logger
	// sync makes what is written durable before it is put in place.
	sync bool
}

// remove deletes whatever is at path, never following a link. A mount point
// itself stays: its directory is emptied, its file is left to be written over.
func (f files) remove(path string) error {
	host := f.tree.host(path)
	if filepath.Clean("/"+path) == "/" {
		return errors.New("cannot remove /: the whole image would go")
	}
	err := os.RemoveAll(host)
	if !errors.Is(err, unix.EBUSY) {
		if err != nil {
			return fmt.Errorf("cannot remove %s: %w", path, err)
		}
		return nil
	}
	info, statErr := os.Lstat(host)
	if statErr != nil {
		return fmt.Errorf("cannot remove %s: %w", path, statErr)
	}
	if !info.IsDir() {
		return nil
	}
	names, err := readNames(host)
	if err != nil {
		return fmt.Errorf("cannot empty %s: %w", path, err)
	}
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(host, name)); err != nil {
			return fmt.Errorf("cannot empty the mount point %s: %w", path, err)
		}
	}
	return nil
}

// makeDirectory makes path and its parents unless it is there; what is there
// and is neither a directory nor a link to one is an error.
func (f files) makeDirectory(path string) error {
	if err := os.MkdirAll(f.tree.host(path), 0o777); err != nil {
		return fmt.Errorf("cannot make directory %s: %w", path, err)
	}
	return nil
}

// writeFile gives dest the content of the file at source, complete or not at
// all: under a temporary name first, then renamed over what was there. Where
// that is not possible, on a mount point or in a directory that is read-only,
// the file that is there is written over.
func (f files) writeFile(source, dest string, attr attributes) error {
	input, err := os.Open(f.tree.host(source))
	if err != nil {
		return fmt.Errorf("cannot copy %s to %s: %w", source, dest, err)
	}
	defer input.Close()
	return f.write(input, dest, attr)
}

func (f files) write(content io.ReadSeeker, dest string, attr attributes) error {
	host := f.tree.host(dest)
	temporary := filepath.Join(filepath.Dir(host), temporaryName)
	err := f.writeNew(content, temporary, dest, attr)
	if err == nil {
		if err = os.Rename(temporary, host); err == nil {
			return nil
		}
	}
	_ = os.Remove(temporary)
	info, statErr := os.Lstat(host)
	inPlace := errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS)
	if !inPlace || statErr != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("cannot write %s: %w", dest, err)
	}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("cannot write %s: %w", dest, err)
	}
	if err := f.writeTo(content, host, os.O_TRUNC, dest, attr); err != nil {
		return fmt.Errorf("cannot write %s: %w", dest, err)
	}
	return nil
}

func (f files) writeNew(content io.Reader, temporary, dest string, attr attributes) error {
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.writeTo(content, temporary, os.O_CREATE|os.O_EXCL, dest, attr)
}

func (f files) writeTo(content io.Reader, host string, flags int, dest string, attr attributes) (err error) {
	output, err := os.OpenFile(host, os.O_WRONLY|syscall.O_NOFOLLOW|flags, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := output.Close(); err == nil {
			err = closeErr
		}
	}()
	if _, err := io.Copy(output, content); err != nil {
		return err
	}
	f.setAttributes(host, dest, attr)
	if f.sync {
		return output.Sync()
	}
	return nil
}

// setAttributes sets the owner first: changing it clears set-uid and set-gid.
// Failures are logged under the name path.
func (f files) setAttributes(host, path string, attr attributes) {
	f.setOwnerAndMode(host, path, attr.ids, &attr.mode)
	if attr.from == nil {
		return
	}
	copyXattrs(attr.fromPath, host)
	times := []unix.Timespec{attr.from.Atim, attr.from.Mtim}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, host, times, 0); err != nil {
		f.log.warn("cannot set the times of %s: %v", path, err)
	}
}

// setOwnerAndMode follows links. A mode of nil stays as it is.
func (f files) setOwnerAndMode(host, path string, owner ids, mode *uint32) {
	if err := unix.Chown(host, owner.uid, owner.gid); err != nil {
		f.log.warn("cannot change the owner of %s to %d:%d: %v", path, owner.uid, owner.gid, err)
	}
	if mode == nil {
		return
	}
	if err := unix.Chmod(host, *mode); err != nil {
		f.log.warn("cannot change the mode of %s to %04o: %v", path, *mode, err)
	}
}

// copyXattrs takes over what it can: not every file system has extended
// attributes, and not every caller may set each of them.
func copyXattrs(from, to string) {
	size, err := unix.Listxattr(from, nil)
	if err != nil || size == 0 {
		return
	}
	names := make([]byte, size)
	if size, err = unix.Listxattr(from, names); err != nil {
		return
	}
	for _, name := range splitZero(names[:size]) {
		length, err := unix.Getxattr(from, name, nil)
		if err != nil {
			continue
		}
		value := make([]byte, length)
		if length, err = unix.Getxattr(from, name, value); err == nil {
			_ = unix.Setxattr(to, name, value[:length], 0)
		}
	}
}

func splitZero(list []byte) []string {
	var result []string
	start := 0
	for i, b := range list {
		if b == 0 {
			result = append(result, string(list[start:i]))
			start = i + 1
		}
	}
	return result
}

// duplicate copies everything at from, links as links, with all properties, to
// dest, where nothing is. It is how the image's own files are put aside and
// back.
func (f files) duplicate(from, dest string) error {
	var stat unix.Stat_t
	hostFrom, hostDest := f.tree.host(from), f.tree.host(dest)
	if err := unix.Lstat(hostFrom, &stat); err != nil {
		return fmt.Errorf("cannot copy %s to %s: %w", from, dest, err)
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return f.writeFile(from, dest, attributesOf(hostFrom, &stat))
	case unix.S_IFLNK:
		target, err := os.Readlink(hostFrom)
		if err == nil {
			err = os.Symlink(target, hostDest)
		}
		if err != nil {
			return fmt.Errorf("cannot copy %s to %s: %w", from, dest, err)
		}
		if err := unix.Lchown(hostDest, int(stat.Uid), int(stat.Gid)); err != nil {
			f.log.warn("cannot change the owner of the link %s: %v", dest, err)
		}
		return nil
	case unix.S_IFDIR:
		if err := os.Mkdir(hostDest, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("cannot copy %s to %s: %w", from, dest, err)
		}
		names, err := readNames(hostFrom)
		if err != nil {
			return fmt.Errorf("cannot copy %s to %s: %w", from, dest, err)
		}
		for _, name := range names {
			if err := f.duplicate(joinPath(from, name), joinPath(dest, name)); err != nil {
				return err
			}
		}
		f.setAttributes(hostDest, dest, attributesOf(hostFrom, &stat))
		return nil
	default: // fifos, sockets, devices
		if err := unix.Mknod(hostDest, stat.Mode, int(stat.Rdev)); err != nil {
			return fmt.Errorf("cannot copy %s to %s: %w", from, dest, err)
		}
		f.setAttributes(hostDest, dest, attributesOf(hostFrom, &stat))
		return nil
	}
}

// readNames lists a directory in a fixed order.
func readNames(host string) ([]string, error) {
	entries, err := os.ReadDir(host)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return names, nil
}
