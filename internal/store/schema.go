// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
)

// Upgrade is one step from a schema version to the next. Apply changes documents in place; all missing
// steps of one opening are a single transaction.
type Upgrade struct {
	Summary string // "rename the field host of generations"
	Apply   func(*Tx) error
}

// NewerError says that the data was written by a newer program.
type NewerError struct {
	Path  string
	Data  int // the schema version of the file
	Known int // the newest this program knows
}

// Error implements error.
func (e *NewerError) Error() string {
	return fmt.Sprintf("cannot open %s: its data has schema version %d, and this program knows versions up to %d only; run the newer program that wrote it, or put back the copy made before the upgrade (%s)",
		e.Path, e.Data, e.Known, copyBeforeUpgrade(e.Path, e.Known))
}

// The store's own documents. Their bucket's name cannot clash with one of a caller, see bucketFor.
const (
	metaBucket  = "\x00store"
	schemaKey   = "schema"
	revisionKey = "revision"
)

// copyBeforeUpgrade names the copy that is put beside the store before data of that version is changed.
func copyBeforeUpgrade(path string, version int) string {
	return fmt.Sprintf("%s.schema-%d", path, version)
}

// migrate brings the file to the schema version of this program.
func (s *Store) migrate(steps []Upgrade) error {
	known := s.schema
	version := 0 // a file just created
	if err := s.View(func(tx *Tx) error {
		_, err := get(tx, metaBucket, schemaKey, &version)
		return err
	}); err != nil {
		return err
	}
	switch {
	case version == known:
		return nil
	case version > known:
		return &NewerError{Path: s.path, Data: version, Known: known}
	case version > 0:
		if err := s.CopyTo(copyBeforeUpgrade(s.path, version)); err != nil {
			return err
		}
	}
	return s.Update(func(tx *Tx) error {
		if version > 0 {
			for v := version; v < known; v++ {
				step := steps[v-1]
				if err := step.Apply(tx); err != nil {
					return fmt.Errorf("cannot upgrade %s from schema version %d to %d (%s): %w; nothing was changed, the program that wrote it still works",
						s.path, v, v+1, step.Summary, err)
				}
			}
		}
		return put(tx, metaBucket, schemaKey, known)
	})
}
