// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDiffLines(t *testing.T) {
	for _, c := range []struct{ name, a, b, want string }{
		{"same", "a|b", "a|b", ""},
		{"both empty", "", "", ""},
		{"all new", "", "a|b", "+a|+b"},
		{"all gone", "a|b", "", "-a|-b"},
		{"changed", "a|b|c|d|e", "a|b|x|d|e", " b|-c|+x| d"},
		{"with its group", "[one]|a|b|c|d|[two]|e", "[one]|a|b|c|D|[two]|e", " [one]| c|-d|+D| [two]"},
		{"moved", "a|b|c", "b|c|a", "-a| b| c|+a"},
	} {
		split := func(s string) []string {
			if s == "" {
				return nil
			}
			return strings.Split(s, "|")
		}
		if got := strings.Join(diffLines(split(c.a), split(c.b)), "|"); got != c.want {
			t.Errorf("%s: %q; want %q", c.name, got, c.want)
		}
	}
}

// TestAlign: whatever the texts, what is marked as gone and as in both is the one, what is marked
// as new and as in both is the other.
func TestAlign(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		lines := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "[c]", ""}), 0, 12)
		a, b := lines.Draw(r, "a"), lines.Draw(r, "b")
		var gotA, gotB []string
		for _, line := range align(a, b) {
			if line[0] != '+' {
				gotA = append(gotA, line[1:])
			}
			if line[0] != '-' {
				gotB = append(gotB, line[1:])
			}
		}
		if !slices.Equal(gotA, a) || !slices.Equal(gotB, b) {
			r.Fatalf("%q and %q became %q and %q", a, b, gotA, gotB)
		}
	})
}
