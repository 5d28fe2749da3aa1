// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"errors"
	"fmt"
	"slices"

	"copse/internal/store"
)

// The buckets: a change under its number, a task under its change's and its own, an event under its
// sequence number.
const (
	changeBucket = "changes"
	taskBucket   = "change-tasks"
	eventBucket  = "change-events"
)

// ErrNotFound is returned for a change that does not exist, or is not kept any more.
var ErrNotFound = errors.New("there is no such change")

func changeKey(id int) string { return store.Key(uint64(id)) }

func taskPrefix(change int) string { return changeKey(change) + "/" }

func taskKey(change int, id TaskID) string { return taskPrefix(change) + store.Key(uint64(id)) }

// Load reads a change with its tasks; the error wraps [ErrNotFound] where it does not exist.
func Load(tx *store.Tx, id int) (*Change, error) {
	c := new(Change)
	found, err := store.Get(tx, changeBucket, changeKey(id), c)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("cannot read change %d: %w; \"copse changes\" lists those that are kept", id, ErrNotFound)
	}
	return c, loadTasks(tx, c)
}

// List reads the newest changes with their tasks, newest first; limit 0 or less reads all that are kept.
func List(tx *store.Tx, limit int) ([]*Change, error) {
	keys, err := store.Keys(tx, changeBucket, "")
	if err != nil {
		return nil, err
	}
	if limit > 0 && len(keys) > limit {
		keys = keys[len(keys)-limit:]
	}
	changes := make([]*Change, 0, len(keys))
	for _, key := range slices.Backward(keys) {
		c := new(Change)
		if _, err := store.Get(tx, changeBucket, key, c); err != nil {
			return nil, err
		}
		if err := loadTasks(tx, c); err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
	return changes, nil
}

func loadTasks(tx *store.Tx, c *Change) error {
	return store.EachPrefix(tx, taskBucket, taskPrefix(c.ID), func(_ string, t *Task) error {
		c.Tasks = append(c.Tasks, t)
		return nil
	})
}

// unfinished reads the changes that have not ended, oldest first.
func unfinished(tx *store.Tx) ([]*Change, error) {
	var open []*Change
	err := store.Each(tx, changeBucket, func(_ string, c *Change) error {
		if c.Ended.IsZero() {
			open = append(open, c)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, c := range open {
		if err := loadTasks(tx, c); err != nil {
			return nil, err
		}
	}
	return open, nil
}

// prune forgets the oldest changes that have ended, with their tasks and events, until keep are left.
func prune(tx *store.Tx, keep int) error {
	var ended []*Change
	if err := store.Each(tx, changeBucket, func(_ string, c *Change) error {
		if !c.Ended.IsZero() {
			ended = append(ended, c)
		}
		return nil
	}); err != nil {
		return err
	}
	for _, c := range ended[:max(0, len(ended)-keep)] {
		if err := forget(tx, c); err != nil {
			return err
		}
	}
	return nil
}

func forget(tx *store.Tx, c *Change) error {
	tasks, err := store.Keys(tx, taskBucket, taskPrefix(c.ID))
	if err != nil {
		return err
	}
	for _, key := range tasks {
		if err := store.Delete(tx, taskBucket, key); err != nil {
			return err
		}
	}
	if err := store.EachIn(tx, eventBucket, store.Key(c.FirstEvent), store.Key(c.LastEvent+1), func(key string, e Event) error {
		if e.Change != c.ID {
			return nil
		}
		return store.Delete(tx, eventBucket, key)
	}); err != nil {
		return err
	}
	return store.Delete(tx, changeBucket, changeKey(c.ID))
}
