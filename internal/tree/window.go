// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package tree

import "time"

// Window is how long, and how often, a container was seen not to answer while it was replaced.
type Window struct {
	// Duration is the time from the first to the last failed probe, 0 where none or one failed.
	Duration time.Duration `json:"duration"`
	// Failed of Probes probes failed. Windows with no probes were not measured.
	Failed int `json:"failed"`
	Probes int `json:"probes"`
}
