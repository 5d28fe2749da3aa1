// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// Tx is a transaction: one consistent state of all buckets. It is valid until the function it was given
// to returns, and belongs to that function's goroutine.
type Tx struct {
	tx   *bolt.Tx
	path string
}

// Writable says whether the transaction may write.
func (tx *Tx) Writable() bool { return tx.tx.Writable() }

// Key returns the key of a number: keys sort as their numbers do.
func Key(n uint64) string { return fmt.Sprintf("%020d", n) }

// Get reads the document under key into v, and says whether there is one. What v held is kept where the
// document says nothing about it.
func Get[T any](tx *Tx, bucket, key string, v *T) (bool, error) {
	if err := callersBucket(bucket); err != nil {
		return false, err
	}
	return get(tx, bucket, key, v)
}

// Put writes v as the document under key, creating the bucket where it is missing.
func Put(tx *Tx, bucket, key string, v any) error {
	if err := callersBucket(bucket); err != nil {
		return err
	}
	return put(tx, bucket, key, v)
}

// Delete removes the document under key. A missing one is no error.
func Delete(tx *Tx, bucket, key string) error {
	if err := callersBucket(bucket); err != nil {
		return err
	}
	b := tx.tx.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	if err := b.Delete([]byte(key)); err != nil {
		return explain(fmt.Sprintf("delete %s/%s from", bucket, key), tx.path, err)
	}
	return nil
}

// Each calls fn with every document of the bucket, in the order of the keys, until fn returns an error,
// which is returned as it is. fn may write to the bucket: documents it deletes before their turn are left
// out, and new keys are not visited.
func Each[T any](tx *Tx, bucket string, fn func(key string, v T) error) error {
	return EachIn(tx, bucket, "", "", fn)
}

// EachPrefix is Each for the keys that start with prefix.
func EachPrefix[T any](tx *Tx, bucket, prefix string, fn func(key string, v T) error) error {
	keys, err := keys(tx, bucket, prefix, func(key []byte) bool { return bytes.HasPrefix(key, []byte(prefix)) })
	if err != nil {
		return err
	}
	return visit(tx, bucket, keys, fn)
}

// EachIn is Each for the keys from the first up to, but not including, the one named by end; an empty
// string leaves that side open.
func EachIn[T any](tx *Tx, bucket, from, end string, fn func(key string, v T) error) error {
	keys, err := keys(tx, bucket, from, func(key []byte) bool { return end == "" || string(key) < end })
	if err != nil {
		return err
	}
	return visit(tx, bucket, keys, fn)
}

// Keys returns the keys of the bucket that start with prefix, in their order.
func Keys(tx *Tx, bucket, prefix string) ([]string, error) {
	return keys(tx, bucket, prefix, func(key []byte) bool { return bytes.HasPrefix(key, []byte(prefix)) })
}

// NextSequence returns the bucket's next number: 1, then 2, and so on. A number is used up when the
// transaction is committed, and never given out again, even after its document is deleted.
func NextSequence(tx *Tx, bucket string) (uint64, error) {
	if err := callersBucket(bucket); err != nil {
		return 0, err
	}
	b, err := tx.tx.CreateBucketIfNotExists([]byte(bucket))
	if err != nil {
		return 0, explain(fmt.Sprintf("number a document of %s in", bucket), tx.path, err)
	}
	n, err := b.NextSequence()
	if err != nil {
		return 0, explain(fmt.Sprintf("number a document of %s in", bucket), tx.path, err)
	}
	return n, nil
}

// Sequence returns the last number NextSequence has given out for the bucket, 0 before the first.
func Sequence(tx *Tx, bucket string) uint64 {
	b := tx.tx.Bucket([]byte(bucket))
	if b == nil {
		return 0
	}
	return b.Sequence()
}

// Revision returns the revision of what is declared; 0 before anything is. A plan carries the revision it
// was made from, and is refused where it has moved.
func (tx *Tx) Revision() (uint64, error) {
	var n uint64
	_, err := get(tx, metaBucket, revisionKey, &n)
	return n, err
}

// BumpRevision counts the revision up, and returns the new one. Whoever writes what is declared calls it,
// in the same transaction; a write that only records what happened does not.
func (tx *Tx) BumpRevision() (uint64, error) {
	n, err := tx.Revision()
	if err != nil {
		return 0, err
	}
	n++
	return n, put(tx, metaBucket, revisionKey, n)
}

// Revision is [Tx.Revision] in a transaction of its own.
func (s *Store) Revision() (uint64, error) {
	var n uint64
	err := s.View(func(tx *Tx) error {
		var err error
		n, err = tx.Revision()
		return err
	})
	return n, err
}

func callersBucket(bucket string) error {
	if bucket == "" || strings.HasPrefix(bucket, "\x00") {
		return fmt.Errorf("cannot use bucket %q: a name is one or more characters, and those that start with NUL are the store's own", bucket)
	}
	return nil
}

func get[T any](tx *Tx, bucket, key string, v *T) (bool, error) {
	b := tx.tx.Bucket([]byte(bucket))
	if b == nil {
		return false, nil
	}
	raw := b.Get([]byte(key))
	if raw == nil {
		return false, nil
	}
	return true, decode(tx, bucket, key, raw, v)
}

func put(tx *Tx, bucket, key string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot write %s/%s to %s: %w", bucket, key, tx.path, err)
	}
	b, err := tx.tx.CreateBucketIfNotExists([]byte(bucket))
	if err != nil {
		return explain(fmt.Sprintf("write %s/%s to", bucket, key), tx.path, err)
	}
	if err := b.Put([]byte(key), raw); err != nil {
		return explain(fmt.Sprintf("write %s/%s to", bucket, key), tx.path, err)
	}
	return nil
}

func decode(tx *Tx, bucket, key string, raw []byte, v any) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("cannot read %s/%s from %s: %w", bucket, key, tx.path, err)
	}
	return nil
}

// keys collects the keys before anything is visited, since a bbolt cursor does not survive writes to its
// bucket.
func keys(tx *Tx, bucket, from string, within func([]byte) bool) ([]string, error) {
	if err := callersBucket(bucket); err != nil {
		return nil, err
	}
	b := tx.tx.Bucket([]byte(bucket))
	if b == nil {
		return nil, nil
	}
	var found []string
	c := b.Cursor()
	for k, _ := c.Seek([]byte(from)); k != nil && within(k); k, _ = c.Next() {
		found = append(found, string(k))
	}
	return found, nil
}

func visit[T any](tx *Tx, bucket string, keys []string, fn func(string, T) error) error {
	b := tx.tx.Bucket([]byte(bucket))
	for _, key := range keys {
		raw := b.Get([]byte(key))
		if raw == nil {
			continue
		}
		var v T
		if err := decode(tx, bucket, key, raw, &v); err != nil {
			return err
		}
		if err := fn(key, v); err != nil {
			return err
		}
	}
	return nil
}
