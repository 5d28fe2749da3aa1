// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
)

// memory is a build context in memory. Everything in it is root's and as old as can be, so that
// who builds where makes no difference.
type memory struct {
	paths []string // in the order of a walk
	files map[string]File
}

var _ fsutil.FS = (*memory)(nil)

func newMemory(files []File) *memory {
	m := &memory{files: map[string]File{}}
	for _, file := range files {
		m.files[file.Path] = file
		for dir := path.Dir(file.Path); dir != "."; dir = path.Dir(dir) {
			m.files[dir] = File{Path: dir, Mode: fs.ModeDir | 0o755}
		}
	}
	m.paths = sortedKeys(m.files)
	// A directory's entries come before anything that merely starts with its name.
	slices.SortFunc(m.paths, func(a, b string) int {
		return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
	})
	return m
}

// Walk implements fsutil.FS.
func (m *memory) Walk(ctx context.Context, target string, visit fs.WalkDirFunc) error {
	target = strings.Trim(path.Clean("/"+target), "/")
	skipped := ""
	for _, name := range m.paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		if target != "" && name != target && !strings.HasPrefix(name, target+"/") {
			continue
		}
		if skipped != "" && strings.HasPrefix(name, skipped) {
			continue
		}
		file := m.files[name]
		stat := &types.Stat{Path: name, Mode: uint32(file.Mode)}
		switch {
		case file.Mode&fs.ModeSymlink != 0:
			stat.Linkname = string(file.Content)
		case file.Mode.IsRegular():
			stat.Size = int64(len(file.Content))
		}
		switch err := visit(name, &fsutil.DirEntryInfo{Stat: stat}, nil); {
		case err == fs.SkipAll:
			return nil
		case err == fs.SkipDir && file.Mode.IsDir():
			skipped = name + "/"
		case err == fs.SkipDir:
			skipped = path.Dir(name) + "/"
		case err != nil:
			return err
		}
	}
	return nil
}

// Open implements fsutil.FS.
func (m *memory) Open(name string) (io.ReadCloser, error) {
	file, ok := m.files[strings.Trim(path.Clean("/"+name), "/")]
	if !ok || !file.Mode.IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return io.NopCloser(bytes.NewReader(file.Content)), nil
}
