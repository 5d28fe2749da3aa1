// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"
	"time"

	"copse/internal/tree"
)

// State is one snapshot of a host: what the agent's store says was made, and what the engine
// says is there.
type State struct {
	Host string
	// Revision of the store from which the snapshot was taken.
	Revision uint64
	// Active are the generations that should be there, by container name. That of a job is its
	// last success.
	Active map[string]*tree.Generation
	// Observed are all containers in the engine that carry the cloud's label.
	Observed []Observed
	// Volumes are the engine's named volumes and when they were created.
	Volumes map[string]time.Time
	// Images says which of the declared images are there.
	Images map[string]bool
	// Outliving are the programs that go on running without the container that started them, one
	// name for each process, by container name: virtual machines.
	Outliving map[string][]string
	// HostMissing says in words what the host lacks of what a set asks of it, by set.
	HostMissing map[string][]string
	// SecretVersions are the current versions of the secrets; one that is missing is not made yet.
	SecretVersions map[string]int
	// Kept are the generations that can be gone back to (superseded, of containers and jobs), oldest
	// first, by container name.
	Kept map[string][]*tree.Generation
	// Pins are those in force, by container name.
	Pins map[string]tree.Pin
}

// Observed is a container in the engine.
type Observed struct {
	ID         string
	Name       string // the engine's
	Container  string
	Generation int
	Identity   string
	Running    bool
	// State is the engine's word, for messages.
	State string
}

// find returns the engine's container of a generation, or nil.
func (s *State) find(g *tree.Generation) *Observed {
	for i := range s.Observed {
		o := &s.Observed[i]
		if o.Container == g.Container.Name && o.Generation == g.Number {
			return o
		}
	}
	return nil
}

// KeptGeneration finds the generation of a container by its number, or what was made of its content
// since; nil where neither is kept.
func (s *State) KeptGeneration(name string, number int) *tree.Generation {
	candidates := slices.Clone(s.Kept[name])
	if active := s.Active[name]; active != nil {
		candidates = append(candidates, active)
	}
	for _, g := range candidates {
		if g.Number == number {
			return g
		}
	}
	for _, g := range candidates {
		if g.Of == number {
			return g
		}
	}
	return nil
}

// Options narrow what a plan is about.
type Options struct {
	// Names are the operator's; none is the whole cloud.
	Names []string
	// Volumes are removed as well (down).
	Volumes bool
	// To is the generation to go back to (rollback); 0 is what was there before the last change. For a
	// set it is the set's version: each container goes to its newest generation up to it.
	To int
	// Finalize runs the contract jobs of the named (upgrade).
	Finalize bool
	// Restore puts the data of before back where there is no other way, and loses what came since (rollback).
	Restore bool
	// Unpin has the named follow the cloud file again (up).
	Unpin bool
}
