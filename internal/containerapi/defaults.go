// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	defaultsDir = "/etc/kolla/defaults"
	stateFile   = defaultsDir + "/state"
	savedDir    = defaultsDir + "/saved"
)

// defaults remembers, across the starts of one container, what its image had
// in each place that a start writes to. The state file has the original's
// form: a JSON object of dest → record. A record with a key that is not known
// was written by something newer and is refused.
//
// Invariant: a place is changed only after its record is in the state file, so
// that a start which is killed anywhere can be followed by another.
type defaults struct {
	files   files
	records map[string]record
	written []byte // what the state file holds
}

// record is what one place held in the image.
type record struct {
	// Source is where the image's own file was put aside; empty when there was none.
	Source string `json:"source,omitempty"`
	// Dest is the place again, or null when the image had nothing there.
	Dest *string `json:"dest"`
	// PreserveProperties is always true with Source; the original wants it.
	PreserveProperties bool `json:"preserve_properties,omitempty"`
	// Merge marks a directory that was merged into: only its owner and mode
	// are put back, and if the image did not have it, it goes only when empty.
	Merge bool `json:"merge,omitempty"`
}

func (r record) absent() bool { return r.Dest == nil }

// loadDefaults reads the state; a missing file is an empty state.
func loadDefaults(f files) (*defaults, error) {
	f.sync = true
	d := &defaults{files: f, records: map[string]record{}}
	data, err := os.ReadFile(f.tree.host(stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read what earlier starts replaced: %w", err)
	}
	if d.records, err = parseState(data); err != nil {
		return nil, fault(StateMismatch, "%s cannot be used: %v; a new container of the same image has none", stateFile, err)
	}
	d.written = data
	return d, nil
}

func parseState(data []byte) (map[string]record, error) {
	records := map[string]record{}
	if len(bytes.TrimSpace(data)) == 0 {
		return records, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&records); err != nil {
		return nil, err
	}
	for place, r := range records {
		if !strings.HasPrefix(place, "/") || path.Clean(place) == "/" {
			return nil, fmt.Errorf("%q is no place a start writes to", place)
		}
		if !r.absent() && r.Source == "" {
			return nil, fmt.Errorf("it does not say where the image's %s was put aside", place)
		}
	}
	return records, nil
}

// store makes the records durable, if they changed.
func (d *defaults) store() error {
	data, err := json.MarshalIndent(d.records, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", stateFile, err)
	}
	data = append(data, '\n')
	if bytes.Equal(data, d.written) || d.written == nil && len(d.records) == 0 {
		return nil
	}
	if err := d.files.makeDirectory(defaultsDir); err != nil {
		return err
	}
	owner := attributes{ids: ids{uid: os.Geteuid(), gid: os.Getegid()}, mode: 0o644}
	if err := d.files.write(bytes.NewReader(data), stateFile, owner); err != nil {
		return err
	}
	d.written = data
	return syncDirectory(d.files.tree.host(defaultsDir))
}

func syncDirectory(host string) error {
	directory, err := os.Open(host)
	if err != nil {
		return err
	}
	defer directory.Close()
	return directory.Sync()
}

// sweep removes what a killed start left: half-written files, and copies that
// were put aside but not recorded.
func (d *defaults) sweep() error {
	directories := map[string]bool{"/": true, defaultsDir: true}
	referenced := map[string]bool{}
	for place, r := range d.records {
		directories[path.Dir(place)] = true
		referenced[r.Source] = true
	}
	for directory := range directories {
		err := os.Remove(d.files.tree.host(joinPath(directory, temporaryName)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
			// It is in nobody's way; what needs the name fails with the reason.
			d.files.log.warn("cannot remove what a killed start left: %v", err)
		}
	}
	names, err := readNames(d.files.tree.host(savedDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot list what earlier starts put aside: %w", err)
	}
	for _, name := range names {
		if saved := joinPath(savedDir, name); !referenced[saved] {
			if err := d.files.remove(saved); err != nil {
				return err
			}
		}
	}
	return nil
}

// restore puts back what the image had in every recorded place. The records
// stay: a start that is killed here does it again.
func (d *defaults) restore() error {
	if err := d.sweep(); err != nil {
		return err
	}
	places := slices.Sorted(maps.Keys(d.records))
	// What the image did not have goes first, the deepest first, so that a
	// directory is empty when its turn comes.
	for _, place := range slices.Backward(places) {
		if r := d.records[place]; r.absent() {
			if err := d.removeAdded(place, r); err != nil {
				return err
			}
		}
	}
	for _, place := range places {
		if r := d.records[place]; !r.absent() {
			if err := d.putBack(place, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *defaults) removeAdded(place string, r record) error {
	if !r.Merge {
		return d.files.remove(place)
	}
	err := unix.Rmdir(d.files.tree.host(place))
	for _, expected := range []error{unix.ENOENT, unix.ENOTDIR, unix.ENOTEMPTY, unix.EEXIST, unix.EBUSY} {
		if errors.Is(err, expected) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("cannot remove %s: %w", place, err)
	}
	return nil
}

func (d *defaults) putBack(place string, r record) error {
	tree := d.files.tree
	var saved unix.Stat_t
	if err := unix.Lstat(tree.host(r.Source), &saved); err != nil {
		return fault(StateMismatch, "the image's own %s cannot be put back from %s: %v; a new container of the same image has it", place, r.Source, err)
	}
	// Durability matters for what is put aside, not for what is put back.
	writer := d.files
	writer.sync = false
	isDirectory := saved.Mode&unix.S_IFMT == unix.S_IFDIR
	if !r.Merge || !tree.isDir(place) {
		// A file is renamed over another, so there is no moment without one.
		if present, err := os.Lstat(tree.host(place)); err == nil && (isDirectory || present.IsDir() || saved.Mode&unix.S_IFMT != unix.S_IFREG) {
			if err := writer.remove(place); err != nil {
				return err
			}
		}
		if err := writer.makeDirectory(path.Dir(place)); err != nil {
			return err
		}
		return writer.duplicate(r.Source, place)
	}
	writer.setAttributes(tree.host(place), place, attributesOf(tree.host(r.Source), &saved))
	return nil
}

// covered tells whether putting back a recorded place brings back this one too.
func (d *defaults) covered(place string) bool {
	if _, recorded := d.records[place]; recorded {
		return true
	}
	for parent := path.Dir(place); parent != "/"; parent = path.Dir(parent) {
		if r, recorded := d.records[parent]; recorded && !r.Merge {
			return true
		}
	}
	return false
}

// remember puts aside what is at place, unless that is known already. For a
// directory that is merged into, only its owner and mode are kept.
func (d *defaults) remember(place string, merged bool) error {
	if d.covered(place) {
		return nil
	}
	tree := d.files.tree
	if !tree.lexists(place) {
		d.records[place] = record{Merge: merged}
		return nil
	}
	saved := savedDir + "/" + savedName(place)
	if err := d.files.remove(saved); err != nil {
		return err
	}
	if err := os.MkdirAll(tree.host(savedDir), 0o700); err != nil {
		return fmt.Errorf("cannot put aside the image's own %s: %w", place, err)
	}
	if merged {
		var stat unix.Stat_t
		if err := unix.Stat(tree.host(place), &stat); err != nil {
			return fmt.Errorf("cannot put aside the owner and mode of %s: %w", place, err)
		}
		if err := d.files.makeDirectory(saved); err != nil {
			return err
		}
		d.files.setAttributes(tree.host(saved), saved, attributesOf(tree.host(place), &stat))
	} else if err := d.files.duplicate(place, saved); err != nil {
		return err
	}
	d.records[place] = record{Source: saved, Dest: &place, PreserveProperties: true, Merge: merged}
	return nil
}

// savedName is flat and unique: a copy named by the path itself could lie
// inside the copy of its own parent, or behind a link put aside.
func savedName(place string) string {
	const longest = 60
	digest := sha256.Sum256([]byte(place))
	name := path.Base(place)
	return name[:min(len(name), longest)] + "-" + hex.EncodeToString(digest[:8])
}

// forget drops the records of places that are not in keep. Their copies go with
// the next sweep.
func (d *defaults) forget(keep map[string]bool) {
	maps.DeleteFunc(d.records, func(place string, _ record) bool { return !keep[place] })
}
