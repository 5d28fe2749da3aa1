// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package freshhost

import (
	"cmp"
	"os"
	"testing"
)

// commandVariable is what runs on the hosts of TestEngine instead of all tests, in their clone of the
// repository, e.g. "make up".
const commandVariable = "COPSE_FRESHHOST_COMMAND"

// TestEngine runs all tests on fresh hosts of later releases of Debian, with their container engines: 26.1
// in trixie, 28.5 in forky. This machine's own are run by `make test`.
func TestEngine(t *testing.T) {
	for _, suite := range []string{"trixie", "forky"} {
		t.Run(suite, func(t *testing.T) {
			h := newHost(t, suite)
			h.follow(t, "sh", "-c", cmp.Or(os.Getenv(commandVariable), "make test"))
			t.Logf("the engine is %s", h.must(t, "docker", "version", "--format", "{{.Server.Version}}"))
		})
	}
}
