// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"testing"
)

// TestProgram: what is to be typed next works where the program was called by a path.
func TestProgram(t *testing.T) {
	if got := (Streams{Program: "bin/copse"}).program(); got != "bin/copse" {
		t.Errorf("called as bin/copse it is to be called again as %q", got)
	}
	if got := (Streams{}).program(); got != "copse" {
		t.Errorf("without a name it is %q", got)
	}
	if got := Standard().Program; got != os.Args[0] {
		t.Errorf("this process was called as %q, want %q", got, os.Args[0])
	}
}
