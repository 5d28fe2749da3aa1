// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package testcloud

import (
	"path/filepath"
	"testing"
)

// ComposeProgram returns the path of docker compose, the peer, which is fetched once.
func (c *Cloud) ComposeProgram(t testing.TB) string {
	t.Helper()
	path := Must(t, filepath.Join(c.Repository, "scripts", "fetch-compose.sh"), filepath.Join(c.Repository, "build", "peer"))
	if !filepath.IsAbs(path) {
		t.Fatalf("scripts/fetch-compose.sh names no program: %q", path)
	}
	return path
}
