// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// filesystem is a tree of files with its own root. With a root other than "/"
// a link with an absolute target leads outside: that is for tests, which know
// what they put there; a program that must not leave a tree calls chroot(2).
type filesystem struct {
	root string
	// workDir is what relative paths start from, itself a path in the tree.
	workDir string
}

// host turns a path of the tree into one of the operating system. It keeps a
// trailing slash, which asks for a directory.
func (f filesystem) host(path string) string {
	if !strings.HasPrefix(path, "/") {
		path = strings.TrimSuffix(f.workDir, "/") + "/" + path
	}
	if f.root == "/" || f.root == "" {
		return path
	}
	return strings.TrimSuffix(f.root, "/") + path
}

func (f filesystem) lexists(path string) bool {
	_, err := os.Lstat(f.host(path))
	return err == nil
}

func (f filesystem) isDir(path string) bool {
	info, err := os.Stat(f.host(path))
	return err == nil && info.IsDir()
}

// glob lists the paths that match, in order of their bytes: as Python's
// glob.glob does (which leaves the order open), or as a shell does apart from
// what it does when nothing matches.
func (f filesystem) glob(d dialect, pattern string) []string {
	paths := f.globUnsorted(d, pattern)
	slices.Sort(paths)
	return paths
}

func (f filesystem) globUnsorted(d dialect, pattern string) []string {
	directory, name := splitPath(pattern)
	if !d.hasMagic(pattern) {
		path := d.literal(pattern)
		if name == "" && f.isDir(d.literal(directory)) || name != "" && f.lexists(path) {
			return []string{path}
		}
		return nil
	}
	directories := []string{d.literal(directory)}
	if directory != pattern && d.hasMagic(directory) {
		directories = f.globUnsorted(d, directory)
	}
	var paths []string
	for _, directory := range directories {
		for _, found := range f.matchesIn(d, directory, name) {
			paths = append(paths, joinPath(directory, found))
		}
	}
	return paths
}

// matchesIn lists the names in one directory that match the last element of a pattern.
func (f filesystem) matchesIn(d dialect, directory, pattern string) []string {
	switch {
	case pattern == "":
		if f.isDir(directory) {
			return []string{""}
		}
		return nil
	case !d.hasMagic(pattern):
		if name := d.literal(pattern); f.lexists(joinPath(directory, name)) {
			return []string{name}
		}
		return nil
	}
	listed := directory
	if listed == "" {
		listed = "."
	}
	handle, err := os.Open(f.host(listed))
	if err != nil {
		return nil // like the original: what cannot be listed holds no match
	}
	defer handle.Close()
	names, _ := handle.Readdirnames(-1)
	return slices.DeleteFunc(names, func(name string) bool { return !d.match(pattern, name) })
}

// literal is what a pattern without magic stands for.
func (d dialect) literal(pattern string) string {
	if d == pythonGlob || !strings.ContainsRune(pattern, '\\') {
		return pattern
	}
	var text strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == '\\' && i+1 < len(pattern) {
			i++
		}
		text.WriteByte(pattern[i])
	}
	return text.String()
}

// splitPath is Python's os.path.split: everything after the last slash, and
// what is before it, without its trailing slashes unless it has nothing else.
func splitPath(path string) (directory, name string) {
	i := strings.LastIndexByte(path, '/') + 1
	directory, name = path[:i], path[i:]
	if trimmed := strings.TrimRight(directory, "/"); trimmed != "" {
		directory = trimmed
	}
	return directory, name
}

func joinPath(directory, name string) string {
	if directory == "" || strings.HasSuffix(directory, "/") {
		return directory + name
	}
	return directory + "/" + name
}

// absolute gives the one spelling of a path by which the state knows it.
func (f filesystem) absolute(path string) string {
	if !strings.HasPrefix(path, "/") {
		path = f.workDir + "/" + path
	}
	return filepath.Clean("/" + path)
}
