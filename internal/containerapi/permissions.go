// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"os"
	"regexp"
	"slices"
)

// resolvedPermission is an entry of permissions with the numbers of its owner.
type resolvedPermission struct {
	Permission
	owner ids
}

// excluded tells whether a path found by recursion is to be left alone.
func (p *resolvedPermission) excluded(path string) bool {
	return slices.ContainsFunc(p.Exclude, func(pattern *regexp.Regexp) bool { return pattern.MatchString(path) })
}

// modeFor is the mode a path gets, or nil when it keeps its own.
func (p *resolvedPermission) modeFor(isDirectory bool) *uint32 {
	if p.Perm == nil {
		return nil
	}
	mode := uint32(*p.Perm)
	if isDirectory {
		mode = forDirectory(mode)
	}
	return &mode
}

// setPermissions does one entry. Nothing that happens here ends a start.
func (f files) setPermissions(p *resolvedPermission) {
	paths := f.tree.glob(pythonGlob, p.Path)
	if len(paths) == 0 {
		f.log.warn("permissions of %s are not set: nothing is there", p.Path)
	}
	for _, path := range paths {
		f.setPermission(p, path)
		if p.Recurse && f.tree.isDir(path) {
			f.setPermissionsBelow(p, path)
		}
	}
}

// setPermissionsBelow does not go into directories that are reached by a link,
// though the link's target itself is changed, as chown(2) does.
func (f files) setPermissionsBelow(p *resolvedPermission, directory string) {
	entries, err := os.ReadDir(f.tree.host(directory))
	if err != nil {
		f.log.warn("permissions below %s are not set: %v", directory, err)
		return
	}
	for _, entry := range entries {
		path := joinPath(directory, entry.Name())
		if !p.excluded(path) {
			f.setPermission(p, path)
		}
		if entry.IsDir() {
			f.setPermissionsBelow(p, path)
		}
	}
}

func (f files) setPermission(p *resolvedPermission, path string) {
	info, err := os.Stat(f.tree.host(path))
	if err != nil {
		f.log.warn("permissions of %s are not set: %v", path, err)
		return
	}
	f.setOwnerAndMode(f.tree.host(path), path, p.owner, p.modeFor(info.IsDir()))
}
