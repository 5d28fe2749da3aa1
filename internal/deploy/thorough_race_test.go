// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

//go:build race

package deploy

// The race detector takes ten times as long and looks for something else: some seeds, and one boundary
// of nine. "make sim" tries all of them without it.
const (
	defaultSeeds = 40
	stride       = 9
)
