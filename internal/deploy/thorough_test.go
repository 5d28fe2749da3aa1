// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package deploy

// How thorough tests are that try every case: all seeds and each boundary.
const (
	defaultSeeds = 250
	stride       = 1
)
