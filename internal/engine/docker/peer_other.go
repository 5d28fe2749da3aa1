// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package docker

import "context"

// peerPID is not known: only Linux runs the engine beside us.
func peerPID(context.Context, string) int { return 0 }
