// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestDispatch(t *testing.T) {
	for _, c := range []struct {
		name           string
		arguments      []string
		status         int
		stdout, stderr string
	}{
		{"version", []string{"copse-init", "version"}, 0, "copse-init ", ""},
		{"check", []string{"copse-init", "check", "exec", "--", "false"}, 1, "false: exit status 1", ""},
		{"check written wrongly", []string{"copse-init", "check"}, 2, "", "no kind of check"},
		{"a Kolla name", []string{"/usr/local/bin/healthcheck_filemod", "/nonexistent"}, 1, "", "healthcheck_filemod"},
		{"its own stage", []string{"copse-init", "own-cgroup-stage"}, 2, "", "copse-init's own use"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			status := run(c.arguments, nil, strings.NewReader(""), &stdout, &stderr)
			if status != c.status || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String()+stdout.String(), c.stderr) {
				t.Errorf("status %d, printed %q %q", status, &stdout, &stderr)
			}
		})
	}
}
