// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"
	"slices"

	"copse/internal/store"
	"copse/internal/tree"
)

// The store's buckets that belong to this package. Keys start with the host.
const (
	documentBucket   = "document"    // "current" → tree.Document
	generationBucket = "generations" // host/name/number → tree.Generation
	activeBucket     = "active"      // host/name → number of the active generation
	routeBucket      = "routes"      // host/name → Route
	pinBucket        = "pins"        // host/name → tree.Pin
)

const currentDocument = "current"

func containerKey(host, name string) string { return host + "/" + name }

func generationKey(host, name string, number int) string {
	return containerKey(host, name) + "/" + store.Key(uint64(number))
}

// loadDocument reads what is declared; nil where nothing is yet.
func loadDocument(tx *store.Tx) (*tree.Document, error) {
	var d tree.Document
	found, err := store.Get(tx, documentBucket, currentDocument, &d)
	if err != nil || !found {
		return nil, err
	}
	return &d, nil
}

// loadGeneration reads one generation; nil where it is not kept.
func loadGeneration(tx *store.Tx, host, name string, number int) (*tree.Generation, error) {
	var g tree.Generation
	found, err := store.Get(tx, generationBucket, generationKey(host, name, number), &g)
	if err != nil || !found {
		return nil, err
	}
	return &g, nil
}

func saveGeneration(tx *store.Tx, g *tree.Generation) error {
	return store.Put(tx, generationBucket, generationKey(g.Container.Host, g.Container.Name, g.Number), g)
}

// loadActive reads the active generation of one container; nil where there is none.
func loadActive(tx *store.Tx, host, name string) (*tree.Generation, error) {
	var number int
	found, err := store.Get(tx, activeBucket, containerKey(host, name), &number)
	if err != nil || !found {
		return nil, err
	}
	g, err := loadGeneration(tx, host, name, number)
	if err == nil && g == nil {
		err = fmt.Errorf("cannot read generation %d of %s: its record is missing from the store", number, name)
	}
	return g, err
}

// allActive reads the active generations of a host by container name.
func allActive(tx *store.Tx, host string) (map[string]*tree.Generation, error) {
	active := map[string]*tree.Generation{}
	keys, err := store.Keys(tx, activeBucket, host+"/")
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		name := key[len(host)+1:]
		if active[name], err = loadActive(tx, host, name); err != nil {
			return nil, err
		}
	}
	return active, nil
}

// allGenerations reads all kept generations of a host, oldest first.
func allGenerations(tx *store.Tx, host string) ([]tree.Generation, error) {
	var all []tree.Generation
	err := store.EachPrefix(tx, generationBucket, host+"/", func(_ string, g tree.Generation) error {
		all = append(all, g)
		return nil
	})
	slices.SortFunc(all, func(a, b tree.Generation) int { return a.Number - b.Number })
	return all, err
}

// activate makes a generation the active one and its predecessor superseded.
func activate(tx *store.Tx, g *tree.Generation, previous int) error {
	host, name := g.Container.Host, g.Container.Name
	if err := saveGeneration(tx, g); err != nil {
		return err
	}
	if err := store.Put(tx, activeBucket, containerKey(host, name), g.Number); err != nil {
		return err
	}
	if previous != 0 && previous != g.Number {
		old, err := loadGeneration(tx, host, name, previous)
		if err != nil {
			return err
		}
		if old != nil {
			old.State, old.Ended = tree.Superseded, g.Activated
			if err := saveGeneration(tx, old); err != nil {
				return err
			}
		}
	}
	return forget(tx, host, name)
}

// Route is where a front end's requests go: two slots, so that one generation can take over
// from another.
type Route struct {
	Frontend tree.Frontend `json:"frontend"`
	Slots    [2]Slot       `json:"slots"`
}

// Slot is one server behind a front end.
type Slot struct {
	Generation int `json:"generation"`
	Port       int `json:"port"`
	// State is "ready", "drain" or "maint"; "" is maint.
	State string `json:"state"`
}

// The states of slots, in HAProxy's words.
const (
	slotReady = "ready"
	slotDrain = "drain"
	slotMaint = "maint"
)

func loadRoute(tx *store.Tx, host, name string) (Route, error) {
	var r Route
	_, err := store.Get(tx, routeBucket, containerKey(host, name), &r)
	return r, err
}

func saveRoute(tx *store.Tx, host, name string, r Route) error {
	return store.Put(tx, routeBucket, containerKey(host, name), r)
}
