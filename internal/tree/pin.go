// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package tree

// Pin holds one container at something else than what the cloud file says, because an operator
// upgraded it or rolled it back. It is made by the task that commits that container, and goes where the
// cloud file comes to say the same, or when it is released by name.
type Pin struct {
	Host      string `json:"host"`
	Container string `json:"container"`
	// Release is what the container is made from, whatever the cloud file says.
	Release string `json:"release"`
	// Generation, set by a rollback, is the one whose content it has; 0: what is declared, at Release.
	Generation int `json:"generation,omitempty"`
	// Change is the change that made the pin.
	Change int `json:"change"`
	// Declared is the release that the cloud file gives the container; set in a document alone.
	Declared string `json:"declared,omitempty"`
}
