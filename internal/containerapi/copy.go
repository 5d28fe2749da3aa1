// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// resolvedFile is an entry of config_files with the numbers of its owner.
type resolvedFile struct {
	ConfigFile
	name  string
	owner ids
}

// target is one source that the glob of an entry found, and where it goes.
type target struct{ source, dest string }

// targets expands the glob. Nothing found is an error unless the entry is optional.
func (r *resolvedFile) targets(tree filesystem) ([]target, error) {
	sources := tree.glob(pythonGlob, r.Source)
	if len(sources) == 0 && !r.Optional {
		return nil, fault(MissingRequiredSource, "%s: nothing is found at %s; mount it, or set \"optional\": true", r.name, r.Source)
	}
	var targets []target
	for _, source := range sources {
		dest := r.Dest
		if strings.HasSuffix(dest, "/") {
			// A source that ends in a slash has no name: its content goes into dest.
			_, name := splitPath(source)
			dest += name
		}
		t := target{source: source, dest: tree.absolute(dest)}
		if err := r.refuseOverlap(tree, t); err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// refuseOverlap stops what would delete its own source or copy without end.
func (r *resolvedFile) refuseOverlap(tree filesystem, t target) error {
	source := tree.absolute(t.source)
	switch {
	case !r.Merge && t.dest == "/":
		return fault(InvalidConfig, "%s would replace the whole image: set \"merge\": true", r.name)
	case !r.Merge && within(source, t.dest):
		return fault(InvalidConfig, "%s would delete its own source %s", r.name, t.source)
	case within(t.dest, source) && tree.isDir(t.source):
		return fault(InvalidConfig, "%s would copy %s into itself", r.name, t.source)
	}
	return nil
}

// within tells whether a clean absolute path is another or lies below it.
func within(inner, outer string) bool {
	return inner == outer || outer == "/" || strings.HasPrefix(inner, outer+"/")
}

// node is one file, directory or link that an entry puts somewhere.
type node struct {
	source, dest string
	// keptLink is the target of a link that is kept as one; empty otherwise.
	keptLink string
	stat     unix.Stat_t // of the source, links followed unless kept
	children []string    // names, when it is a directory
}

func (n *node) isDir() bool { return n.keptLink == "" && n.stat.Mode&unix.S_IFMT == unix.S_IFDIR }

// attributes are those of the source, or the entry's.
func (r *resolvedFile) attributes(tree filesystem, n *node) attributes {
	if r.PreserveProperties {
		return attributesOf(tree.host(n.source), &n.stat)
	}
	mode := uint32(r.Perm)
	if n.isDir() {
		mode = forDirectory(mode)
	}
	return attributes{ids: r.owner, mode: mode}
}

// walk visits everything an entry copies from t.source, a directory before
// what it holds. Links are followed; merge with preserve_properties keeps
// those that do not lead to a directory. leave, if not nil, is called after the
// children of a directory.
func (r *resolvedFile) walk(tree filesystem, t target, visit, leave func(*node) error) error {
	w := walker{file: r, tree: tree, visit: visit, leave: leave}
	return w.walk(t.source, t.dest, nil)
}

type walker struct {
	file         *resolvedFile
	tree         filesystem
	visit, leave func(*node) error
}

// inode names a directory for good, to notice links that lead back up.
type inode struct{ device, number uint64 }

func (w *walker) walk(source, dest string, above []inode) error {
	n, err := w.file.examine(w.tree, source, dest)
	if err != nil {
		return err
	}
	if !n.isDir() {
		return w.visit(n)
	}
	self := inode{device: uint64(n.stat.Dev), number: n.stat.Ino}
	if slices.Contains(above, self) {
		return fmt.Errorf("cannot copy %s: a link in it leads back to a directory above", source)
	}
	if n.children, err = readNames(w.tree.host(source)); err != nil {
		return fmt.Errorf("cannot copy %s: %w", source, err)
	}
	if err := w.visit(n); err != nil {
		return err
	}
	above = append(slices.Clip(above), self)
	for _, name := range n.children {
		if err := w.walk(joinPath(source, name), path.Join(dest, name), above); err != nil {
			return err
		}
	}
	if w.leave == nil {
		return nil
	}
	return w.leave(n)
}

func (r *resolvedFile) examine(tree filesystem, source, dest string) (*node, error) {
	n := &node{source: source, dest: dest}
	host := tree.host(source)
	followErr := unix.Stat(host, &n.stat)
	if r.Merge && r.PreserveProperties && !(followErr == nil && n.isDir()) {
		if link, err := os.Readlink(host); err == nil {
			n.keptLink = link
			return n, nil
		}
	}
	if followErr != nil {
		return nil, fmt.Errorf("cannot copy %s to %s: %w", source, dest, followErr)
	}
	if kind := n.stat.Mode & unix.S_IFMT; kind == unix.S_IFIFO || kind == unix.S_IFSOCK {
		return nil, fmt.Errorf("cannot copy %s to %s: it is neither a file nor a directory", source, dest)
	}
	return n, nil
}

// copier does the step "restore defaults → copy" of a start.
type copier struct {
	files    files
	defaults *defaults
	entries  []*resolvedFile
}

// run puts back what the image had, puts aside what will be replaced and was
// not before, and copies.
func (c *copier) run() error {
	if err := c.defaults.restore(); err != nil {
		return err
	}
	if err := c.putAside(); err != nil {
		return err
	}
	for i, entry := range c.entries {
		if err := c.copyEntry(entry, c.chained(i)); err != nil {
			return err
		}
	}
	return nil
}

// putAside records all places before the first is changed, while everything is
// as the image had it.
func (c *copier) putAside() error {
	type place struct {
		path   string
		merged bool
	}
	var places []place
	keep := map[string]bool{}
	for i, entry := range c.entries {
		if c.chained(i) {
			continue
		}
		targets, err := entry.targets(c.files.tree)
		if _, known := errors.AsType[*Error](err); known {
			continue // reported when its turn to be copied comes
		}
		if err != nil {
			return err
		}
		for _, t := range targets {
			err := c.places(entry, t, func(path string, merged bool) error {
				places = append(places, place{path: path, merged: merged})
				keep[path] = true
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	c.defaults.forget(keep)
	for _, place := range places {
		if err := c.defaults.remember(place.path, place.merged); err != nil {
			return err
		}
	}
	if err := c.defaults.store(); err != nil {
		return err
	}
	return c.defaults.sweep()
}

// places lists what copying one target replaces: dest as a whole or, when it is
// merged into, each file and directory in it that is written to.
func (c *copier) places(entry *resolvedFile, t target, each func(path string, merged bool) error) error {
	if !entry.Merge {
		return each(t.dest, false)
	}
	tree := c.files.tree
	return entry.walk(tree, t, func(n *node) error {
		if n.dest == "/" {
			return nil
		}
		return each(n.dest, n.isDir() && (tree.isDir(n.dest) || !tree.lexists(n.dest)))
	}, nil)
}

// chained tells whether the source of an entry may be what an earlier entry
// puts in place, so that it cannot be looked at before that is copied.
func (c *copier) chained(index int) bool {
	tree := c.files.tree
	source := c.entries[index].Source
	if i := strings.IndexAny(source, "*?["); i >= 0 {
		source = source[:strings.LastIndexByte(source[:i], '/')+1]
	}
	source = tree.absolute(source)
	for _, earlier := range c.entries[:index] {
		dest := tree.absolute(earlier.Dest)
		if earlier.Merge && dest == "/" {
			continue // it says nothing about where the files go
		}
		if within(source, dest) || within(dest, source) {
			return true
		}
	}
	return false
}

func (c *copier) copyEntry(entry *resolvedFile, chained bool) error {
	targets, err := entry.targets(c.files.tree)
	if err != nil {
		return err
	}
	if len(targets) == 0 {
		c.files.log.info("%s is not there, and is optional", entry.Source)
	}
	for _, t := range targets {
		if chained {
			err := c.places(entry, t, c.defaults.remember)
			if err == nil {
				err = c.defaults.store()
			}
			if err != nil {
				return err
			}
		}
		c.files.log.info("copying %s to %s", t.source, t.dest)
		if err := c.copyTarget(entry, t); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) copyTarget(entry *resolvedFile, t target) error {
	tree := c.files.tree
	if !entry.Merge {
		// A file that replaces a file is renamed over it instead.
		if info, err := os.Lstat(tree.host(t.dest)); err == nil && (info.IsDir() || tree.isDir(t.source)) {
			if err := c.files.remove(t.dest); err != nil {
				return err
			}
		}
	}
	if err := c.files.makeDirectory(path.Dir(t.dest)); err != nil {
		return err
	}
	return entry.walk(tree, t,
		func(n *node) error { return c.put(entry, n) },
		func(n *node) error {
			c.files.setAttributes(tree.host(n.dest), n.dest, entry.attributes(tree, n))
			return nil
		})
}

// put makes one node. A directory gets its owner and mode when it is complete.
func (c *copier) put(entry *resolvedFile, n *node) error {
	host := c.files.tree.host(n.dest)
	info, err := os.Lstat(host)
	present := err == nil
	if n.isDir() {
		if c.files.tree.isDir(n.dest) {
			return nil
		}
		if present {
			if err := c.files.remove(n.dest); err != nil {
				return err
			}
		}
		if err := os.Mkdir(host, 0o700); err != nil {
			return fmt.Errorf("cannot make directory %s: %w", n.dest, err)
		}
		return nil
	}
	if present && (info.IsDir() || n.keptLink != "") {
		if err := c.files.remove(n.dest); err != nil {
			return err
		}
	}
	if n.keptLink != "" {
		if err := os.Symlink(n.keptLink, host); err != nil {
			return fmt.Errorf("cannot make the link %s: %w", n.dest, err)
		}
		return nil
	}
	return c.files.writeFile(n.source, n.dest, entry.attributes(c.files.tree, n))
}
