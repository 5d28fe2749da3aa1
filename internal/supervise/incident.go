// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"fmt"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"copse/internal/store"
)

// What is a kind of incident.
type What string

// The kinds of incidents.
const (
	Exited      What = "exited"       // its process ended
	Unhealthy   What = "unhealthy"    // its check fails
	Restarted   What = "restarted"    // the agent restarted it
	Started     What = "started"      // the agent, or a hand, started it
	CannotStart What = "cannot start" // the engine refused
	GaveUp      What = "gave up"      // it is failed now
	Recovered   What = "recovered"    // it is well again
	Removed     What = "removed"      // its container is gone
	Booted      What = "booted"       // the host's containers were brought back
)

// Incident is something that happened to a container that nobody asked for, or that was done about it.
type Incident struct {
	At         time.Time `json:"at"`
	Container  string    `json:"container,omitempty"` // "": the whole host
	Generation int       `json:"generation,omitempty"`
	What       What      `json:"what"`
	Cause      string    `json:"cause"`
	Output     string    `json:"output,omitempty"`
}

// signalled is what a shell, and the engine, add to a signal's number for the exit status.
const signalled = 128

// String says how it ended, in words.
func (e Exit) String() string {
	switch {
	case e.Error != "":
		return "the engine cannot start it: " + e.Error
	case e.OOM:
		return "the kernel killed it: it needed more memory than its limit"
	case e.Code > signalled && e.Code <= signalled+64:
		if name := unix.SignalName(syscall.Signal(e.Code - signalled)); name != "" {
			return fmt.Sprintf("ended with status %d (%s)", e.Code, name)
		}
	}
	return "ended with status " + strconv.Itoa(e.Code)
}

// The store's buckets that belong to this package. Keys start with the host.
const (
	incidentBucket = "incidents" // host/number → Incident
	failedBucket   = "failed"    // host/container → number of the generation that was given up
)

// keptIncidents is how many incidents of a host are kept.
const keptIncidents = 2000

// record writes incidents down, and forgets the oldest beyond those that are kept.
func record(db *store.Store, host string, incidents []Incident) error {
	return db.Update(func(tx *store.Tx) error {
		for _, i := range incidents {
			n, err := store.NextSequence(tx, incidentBucket)
			if err != nil {
				return err
			}
			if err := store.Put(tx, incidentBucket, host+"/"+store.Key(n), i); err != nil {
				return err
			}
			key := host + "/" + i.Container
			switch i.What {
			case GaveUp:
				err = store.Put(tx, failedBucket, key, i.Generation)
			case Started, Restarted, Recovered:
				err = store.Delete(tx, failedBucket, key)
			}
			if err != nil {
				return err
			}
		}
		keys, err := store.Keys(tx, incidentBucket, host+"/")
		if err != nil {
			return err
		}
		for ; len(keys) > keptIncidents; keys = keys[1:] {
			if err := store.Delete(tx, incidentBucket, keys[0]); err != nil {
				return err
			}
		}
		return nil
	})
}

// Incidents returns what happened on a host since then, oldest first.
func Incidents(db *store.Store, host string, since time.Time) ([]Incident, error) {
	var found []Incident
	err := db.View(func(tx *store.Tx) error {
		return store.EachPrefix(tx, incidentBucket, host+"/", func(_ string, i Incident) error {
			if !i.At.Before(since) {
				found = append(found, i)
			}
			return nil
		})
	})
	return found, err
}

// failures returns the generations of a host that were given up, by container.
func failures(db *store.Store, host string) (map[string]int, error) {
	found := map[string]int{}
	err := db.View(func(tx *store.Tx) error {
		return store.EachPrefix(tx, failedBucket, host+"/", func(key string, generation int) error {
			found[key[len(host)+1:]] = generation
			return nil
		})
	})
	return found, err
}

// forgive forgets that containers were given up.
func forgive(db *store.Store, host string, names []string) error {
	if len(names) == 0 {
		return nil
	}
	return db.Update(func(tx *store.Tx) error {
		for _, name := range names {
			if err := store.Delete(tx, failedBucket, host+"/"+name); err != nil {
				return err
			}
		}
		return nil
	})
}
