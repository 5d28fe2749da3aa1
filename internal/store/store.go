// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// lockTimeout is how long Open waits for another process to let go of the file. It covers an agent that
// is just being replaced, and is short enough that a person does not think the program hangs.
const lockTimeout = 3 * time.Second

// Store is an open database. Its methods may be called from several goroutines; write transactions run
// one after the other, read transactions beside them.
type Store struct {
	db     *bolt.DB
	path   string
	schema int
}

type options struct {
	timeout  time.Duration
	noSync   bool
	upgrades []Upgrade
	now      func() time.Time
}

// Option changes how a store is opened.
type Option func(*options)

// WithoutSync leaves out fsync. A crash of the machine may then lose or damage the file, so it is for
// tests and benchmarks alone; a crash of the process loses nothing.
func WithoutSync() Option { return func(o *options) { o.noSync = true } }

// WithLockTimeout sets how long Open waits for another process that has the file open (3 s by default;
// 0 or less does not wait).
func WithLockTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// WithUpgrades gives the steps that bring the documents of older programs to what this one writes. The
// first step leads from version 1 to 2, and so on; a program's schema version is one more than the number
// of its steps. Steps are only ever appended.
func WithUpgrades(steps ...Upgrade) Option {
	return func(o *options) { o.upgrades = append(o.upgrades, steps...) }
}

// Open opens the store at path, creating it (mode 0600) and its directory (mode 0700) where they are
// missing.
//
// The error is a [*HeldError] where another process has it open, a [*NewerError] where its data was
// written by a newer program, a [*FileError] where the file system refuses (no space, no permission), and
// names the file and the way out in every case.
func Open(path string, opts ...Option) (*Store, error) {
	o := options{timeout: lockTimeout, now: time.Now}
	for _, opt := range opts {
		opt(&o)
	}
	if o.timeout <= 0 {
		o.timeout = time.Nanosecond // bbolt takes 0 as "for ever"
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, explain("create the directory of", path, err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout:      o.timeout,
		NoSync:       o.noSync,
		FreelistType: bolt.FreelistMapType,
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, &HeldError{Path: path, Holder: readHolder(path)}
	case err != nil:
		return nil, explain("open", path, err)
	}
	s := &Store{db: db, path: path, schema: 1 + len(o.upgrades)}
	if err := s.migrate(o.upgrades); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	writeHolder(path, o.now())
	return s, nil
}

// Path returns the path the store was opened at.
func (s *Store) Path() string { return s.path }

// Schema returns the schema version of the documents, which is this program's.
func (s *Store) Schema() int { return s.schema }

// Close waits for running transactions and closes the file. A closed store may be closed again.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return explain("close", s.path, err)
	}
	return nil
}

// View runs fn in a read transaction: one consistent state, whatever is written meanwhile. fn's error is
// returned as it is. fn must not call Update, and should be short, since the file grows while it runs.
func (s *Store) View(fn func(*Tx) error) error {
	var fnErr error
	err := s.db.View(func(btx *bolt.Tx) error {
		fnErr = fn(&Tx{tx: btx, path: s.path})
		return fnErr
	})
	if fnErr != nil {
		return fnErr
	}
	if err != nil {
		return explain("read", s.path, err)
	}
	return nil
}

// Update runs fn in a write transaction, and makes it durable. Where fn returns an error or panics, or
// the write fails, nothing is changed. fn's error is returned as it is. fn must not call View or Update.
func (s *Store) Update(fn func(*Tx) error) error {
	var fnErr error
	err := s.db.Update(func(btx *bolt.Tx) error {
		fnErr = fn(&Tx{tx: btx, path: s.path})
		return fnErr
	})
	if fnErr != nil {
		return fnErr
	}
	if err != nil {
		return explain("write", s.path, err)
	}
	return nil
}

// CopyTo writes a consistent copy of the store to path (mode 0600), while the store goes on being used.
// The copy appears under its name when it is complete and on the disk, replacing what was there.
func (s *Store) CopyTo(path string) error {
	const op = "copy the store to"
	if same, err := sameFile(s.path, path); err != nil {
		return explain(op, path, err)
	} else if same {
		return fmt.Errorf("cannot %s %s: that is the store itself; name another file", op, path)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return explain("create the directory of", path, err)
	}
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return explain(op, path, err)
	}
	if err := s.fill(tmp); err != nil {
		return explain(op, path, errors.Join(err, os.Remove(tmp.Name())))
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return explain(op, path, errors.Join(err, os.Remove(tmp.Name())))
	}
	if err := syncDir(dir); err != nil {
		return explain(op, path, err)
	}
	return nil
}

// fill writes the store to f, and closes it once it is on the disk.
func (s *Store) fill(f *os.File) error {
	err := s.db.View(func(tx *bolt.Tx) error {
		_, err := tx.WriteTo(f)
		return err
	})
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func sameFile(a, b string) (bool, error) {
	ai, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	bi, err := os.Stat(b)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return os.SameFile(ai, bi), nil
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
