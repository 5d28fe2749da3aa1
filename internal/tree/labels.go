// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package tree

// Labels are what Copse writes on everything it makes in an engine, so that what runs there can
// be told apart by asking the engine alone.
const (
	LabelCloud      = "copse.cloud"
	LabelHost       = "copse.host"
	LabelSet        = "copse.set"
	LabelContainer  = "copse.container"
	LabelComponent  = "copse.component"
	LabelRelease    = "copse.release"
	LabelGeneration = "copse.generation"
	LabelIdentity   = "copse.identity"
	LabelChange     = "copse.change"
	LabelJob        = "copse.job"
	LabelAgent      = "copse.agent"
	// LabelCreated is on volumes: when Copse made it, in RFC 3339. The engine's own time is
	// no help: Docker reports when the volume's top directory last changed.
	LabelCreated = "copse.created"
)
