// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package tree

import "time"

// GenerationState is where a generation stands.
//
//	Preparing ──► Active ──► Superseded (its successor serves; kept for a rollback)
//	    │            └─────► Removed    (taken down on purpose)
//	    └──► Failed  (never proved itself; undone)
type GenerationState string

// The states of a generation.
const (
	Preparing  GenerationState = "preparing"
	Active     GenerationState = "active"
	Superseded GenerationState = "superseded"
	Failed     GenerationState = "failed"
	Removed    GenerationState = "removed"
)

// Generation is one immutable, numbered version of one container: everything declared that
// decides how it runs, with what was assigned to it. Numbers come from one sequence for the
// whole cloud, so they tell age across containers. A job's generation is one run of it.
type Generation struct {
	Number    int       `json:"number"`
	Container Container `json:"container"`
	Identity  string    `json:"identity"`
	// SecretVersions are the versions of its secrets.
	SecretVersions map[string]int  `json:"secret_versions,omitempty"`
	State          GenerationState `json:"state"`
	// Port is what was assigned to a container behind the proxy, 0 for others.
	Port int `json:"port,omitempty"`
	// Change is the change that made it, and Cause why, in words.
	Change    int       `json:"change"`
	Cause     string    `json:"cause,omitempty"`
	Created   time.Time `json:"created"`
	Activated time.Time `json:"activated,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
	// StoppedBy is the change by which an operator stopped it, 0 for none.
	StoppedBy int `json:"stopped_by,omitempty"`
	// Of is the generation whose content a rollback made again, 0 for others.
	Of int `json:"of,omitempty"`
	// Contracted, of a run of a contract job, is the newest release for which such a run changed anything.
	Contracted string `json:"contracted,omitempty"`
	// Window is what was measured while it took over, nil where nothing was.
	Window *Window `json:"window,omitempty"`
}

// Name is the engine's name for the generation's container.
func (g *Generation) Name() string { return GenerationName(g.Container.Name, g.Number) }

// ContractedFor is the release that the data is fit for at least, after this run of a contract job.
func (g *Generation) ContractedFor() string {
	if g.Contracted == "" {
		return g.Container.Release
	}
	return g.Contracted
}
