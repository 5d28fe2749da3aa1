// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// layer is one directory of a catalogue.
type layer struct {
	name  string // as shown to the operator
	files fs.FS
}

// overlay is a catalogue with others laid over it: a file of a later layer hides that of an
// earlier one, directories are merged.
type overlay struct {
	layers []layer
}

// Open opens the topmost file of that name. Directories are listed by ReadDir, not through
// the file that Open returns.
func (o overlay) Open(name string) (fs.File, error) {
	for _, l := range slices.Backward(o.layers) {
		file, err := l.files.Open(name)
		if !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// ReadDir lists a directory in all layers together, by name.
func (o overlay) ReadDir(name string) ([]fs.DirEntry, error) {
	merged := map[string]fs.DirEntry{}
	found := false
	for _, l := range o.layers {
		entries, err := fs.ReadDir(l.files, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = true
		for _, entry := range entries {
			merged[entry.Name()] = entry
		}
	}
	if !found {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	entries := make([]fs.DirEntry, 0, len(merged))
	for _, entry := range merged {
		entries = append(entries, entry)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// shownName is a file's name with that of the layer it comes from.
func (o overlay) shownName(name string) string {
	for _, l := range slices.Backward(o.layers) {
		if _, err := fs.Stat(l.files, name); err == nil {
			return path.Join(l.name, name)
		}
	}
	return name
}

// composeFile is the name of the file that makes a directory a set with containers.
const composeFile = "compose.yaml"

// catalogueFiles is what Load needs of a catalogue, read into memory.
type catalogueFiles struct {
	sets   map[string]*source // by set path; nil content for a set with subsets only
	values []*source          // values.yaml of each layer, lowest first
	files  overlay
}

func readCatalogue(layers []layer) (*catalogueFiles, error) {
	c := &catalogueFiles{sets: map[string]*source{}, files: overlay{layers: layers}}
	for _, l := range layers {
		content, err := fs.ReadFile(l.files, "values.yaml")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the catalogue's values: %w", err)
		}
		c.values = append(c.values, &source{name: path.Join(l.name, "values.yaml"), content: content})
	}
	if err := c.readSets("sets"); err != nil {
		return nil, fmt.Errorf("cannot read the catalogue's sets: %w", err)
	}
	return c, nil
}

// readSets finds the sets below a directory: every directory with a compose.yaml, and those above it.
func (c *catalogueFiles) readSets(directory string) error {
	entries, err := c.files.ReadDir(directory)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		at := path.Join(directory, entry.Name())
		set := strings.TrimPrefix(at, "sets/")
		file := path.Join(at, composeFile)
		before := len(c.sets)
		content, err := fs.ReadFile(c.files, file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil {
			c.sets[set] = &source{name: c.files.shownName(file), content: content}
		}
		if err := c.readSets(at); err != nil {
			return err
		}
		if c.sets[set] == nil && len(c.sets) > before {
			c.sets[set] = &source{name: c.files.shownName(at)}
		}
	}
	return nil
}
