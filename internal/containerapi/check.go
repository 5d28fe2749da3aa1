// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Check is kolla_set_configs --check: it compares what is in place with what a
// start would put there, and changes nothing. A difference is a known error
// (exit code 1); all of them are logged.
//
// Compared are the command, and of everything that config_files puts in place
// the content, owner and mode, with what permissions then does to it. What
// directories, files and permissions do elsewhere is not: a service may change
// that while it runs.
func Check(ctx context.Context, c Container) error {
	log := c.logger("kolla_set_configs")
	s, err := c.open(log)
	if err != nil {
		return err
	}
	if err := s.checkCommand(); err != nil {
		return err
	}
	wanted, err := s.expect()
	if err != nil {
		return err
	}
	if err := s.checkState(wanted); err != nil {
		return err
	}
	var bad []string
	for _, place := range slices.Sorted(maps.Keys(wanted.places)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		difference, err := wanted.places[place].compare(s.files.tree, place, wanted)
		if err != nil {
			return err
		}
		if difference != "" {
			log.error("%s %s", place, difference)
			bad = append(bad, place)
		}
	}
	if len(bad) > 0 {
		return fault(ConfigFileBadState, "not as configured: %s", strings.Join(bad, ", "))
	}
	return nil
}

func (s *session) checkCommand() error {
	running, err := os.ReadFile(s.files.tree.host(runCommandFile))
	if errors.Is(err, fs.ErrNotExist) {
		return fault(ConfigFileCommandDiffers, "there is no %s yet", runCommandFile)
	}
	if err != nil {
		return fmt.Errorf("cannot compare the command: %w", err)
	}
	if string(running) != s.config.Command {
		// A command may hold a password; the configuration and the file show it to who may see it.
		return fault(ConfigFileCommandDiffers, "%s is not the command that is configured", runCommandFile)
	}
	return nil
}

// expectation is the tree that the entries of config_files make, one on top of
// the other.
type expectation struct {
	places map[string]*expected
	// written holds every place that an entry writes to, overwritten since or not.
	written map[string]bool
}

// expected is what one place should be.
type expected struct {
	node
	attributes
	// exclusive marks a directory that holds nothing but what was copied.
	exclusive bool
}

// expect computes what should be there, in the way and order of a start.
func (s *session) expect() (*expectation, error) {
	wanted := &expectation{places: map[string]*expected{}, written: map[string]bool{}}
	for _, entry := range s.entries {
		targets, err := entry.targets(s.files.tree)
		if err != nil {
			return nil, err
		}
		for _, t := range targets {
			if err := wanted.add(s.files.tree, entry, t); err != nil {
				return nil, err
			}
		}
	}
	for _, permission := range s.permissions {
		wanted.permit(s.files.tree, permission)
	}
	return wanted, nil
}

func (w *expectation) add(tree filesystem, entry *resolvedFile, t target) error {
	w.written[t.dest] = true
	if !entry.Merge {
		w.drop(t.dest)
	}
	return entry.walk(tree, t, func(n *node) error {
		w.written[n.dest] = true
		earlier := w.places[n.dest]
		if earlier != nil && (!n.isDir() || !earlier.isDir()) {
			w.drop(n.dest)
			earlier = nil
		}
		w.places[n.dest] = &expected{
			node:       *n,
			attributes: entry.attributes(tree, n),
			exclusive:  !entry.Merge || earlier != nil && earlier.exclusive,
		}
		return nil
	}, nil)
}

// drop forgets a place and everything below it.
func (w *expectation) drop(place string) {
	maps.DeleteFunc(w.places, func(other string, _ *expected) bool { return within(other, place) })
}

// permit applies one entry of permissions to what was copied.
func (w *expectation) permit(tree filesystem, p *resolvedPermission) {
	for _, found := range tree.glob(pythonGlob, p.Path) {
		top := tree.resolveLinks(found)
		for place, e := range w.places {
			below, isBelow := strings.CutPrefix(place, strings.TrimSuffix(top, "/")+"/")
			switch {
			case place == top:
			case p.Recurse && isBelow && !p.excluded(joinPath(found, below)):
			default:
				continue
			}
			if e.keptLink != "" {
				continue // it is the target that changes
			}
			e.ids = p.owner
			if mode := p.modeFor(e.isDir()); mode != nil {
				e.mode = *mode
			}
		}
	}
}

// resolveLinks is the absolute path behind all links, or the path itself when
// that cannot be found.
func (f filesystem) resolveLinks(found string) string {
	place := f.absolute(found)
	host, err := filepath.EvalSymlinks(f.host(place))
	if err != nil {
		return place
	}
	inside, ok := strings.CutPrefix(host, strings.TrimSuffix(f.root, "/"))
	if !ok || !strings.HasPrefix(inside, "/") {
		return place
	}
	return inside
}

// checkState finds what an earlier start put in place and the next would take away.
func (s *session) checkState(wanted *expectation) error {
	saved, err := loadDefaults(s.files)
	if err != nil {
		return err
	}
	for _, place := range slices.Sorted(maps.Keys(saved.records)) {
		if !wanted.written[place] {
			return fault(StateMismatch, "%s was put in place by an earlier start and is no longer configured", place)
		}
	}
	return nil
}

// compare says in words what is different, or nothing.
func (e *expected) compare(tree filesystem, place string, wanted *expectation) (string, error) {
	host := tree.host(place)
	var actual unix.Stat_t
	status := unix.Lstat
	if e.isDir() && !e.exclusive {
		status = unix.Stat // merged into, a link to a directory is as good
	}
	switch err := status(host, &actual); {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return "is missing", nil
	case err != nil:
		return "", fmt.Errorf("cannot compare %s: %w", place, err)
	}
	kind := actual.Mode & unix.S_IFMT
	switch {
	case e.keptLink != "":
		if link, err := os.Readlink(host); err != nil || link != e.keptLink {
			return "is not a link to " + e.keptLink, nil
		}
		return "", nil
	case e.isDir() && kind != unix.S_IFDIR:
		return "is no directory", nil
	case !e.isDir() && kind != unix.S_IFREG:
		return "is no regular file", nil
	}
	if difference := e.compareAttributes(&actual); difference != "" {
		return difference, nil
	}
	if !e.isDir() {
		return e.compareContent(tree, place)
	}
	if e.exclusive {
		return e.compareChildren(host, place, wanted)
	}
	return "", nil
}

func (e *expected) compareAttributes(actual *unix.Stat_t) string {
	switch mode := actual.Mode & permBits; {
	case mode != e.mode:
		return fmt.Sprintf("has mode %04o instead of %04o", mode, e.mode)
	case int(actual.Uid) != e.uid:
		return fmt.Sprintf("belongs to user %d instead of %d", actual.Uid, e.uid)
	case int(actual.Gid) != e.gid:
		return fmt.Sprintf("belongs to group %d instead of %d", actual.Gid, e.gid)
	}
	return ""
}

func (e *expected) compareChildren(host, place string, wanted *expectation) (string, error) {
	names, err := readNames(host)
	if err != nil {
		return "", fmt.Errorf("cannot compare %s: %w", place, err)
	}
	for _, name := range names {
		if _, known := wanted.places[path.Join(place, name)]; !known && !wanted.leadsTo(path.Join(place, name)) {
			return fmt.Sprintf("holds %q, which is not configured", name), nil
		}
	}
	return "", nil
}

// leadsTo tells whether something is expected below a place: then the place is
// a directory that was made on the way there.
func (w *expectation) leadsTo(place string) bool {
	for other := range w.places {
		if within(other, place) {
			return true
		}
	}
	return false
}

func (e *expected) compareContent(tree filesystem, place string) (string, error) {
	source, err := os.Open(tree.host(e.source))
	if err != nil {
		return "", fmt.Errorf("cannot compare %s: %w", place, err)
	}
	defer source.Close()
	dest, err := os.Open(tree.host(place))
	if err != nil {
		return "", fmt.Errorf("cannot compare %s: %w", place, err)
	}
	defer dest.Close()
	same, err := sameContent(source, dest)
	if err != nil {
		return "", fmt.Errorf("cannot compare %s: %w", place, err)
	}
	if !same {
		return "has other content than " + e.source, nil
	}
	return "", nil
}

func sameContent(a, b io.Reader) (bool, error) {
	const chunk = 64 << 10
	left, right := make([]byte, chunk), make([]byte, chunk)
	for {
		n, leftErr := io.ReadFull(a, left)
		m, rightErr := io.ReadFull(b, right)
		if !bytes.Equal(left[:n], right[:m]) {
			return false, nil
		}
		ended := func(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
		switch {
		case leftErr != nil && !ended(leftErr):
			return false, leftErr
		case rightErr != nil && !ended(rightErr):
			return false, rightErr
		case leftErr != nil || rightErr != nil:
			return true, nil
		}
	}
}
