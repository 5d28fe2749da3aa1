// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestExpandWords(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"a.conf", "b.conf", "[c]"} {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tree := filesystem{root: root, workDir: "/"}
	tests := map[string][]string{
		"":                       nil,
		" \t\n":                  nil,
		"a  b\tc\nd":             {"a", "b", "c", "d"},
		"a 'b c' \"d\"":          {"a", "'b", "c'", `"d"`},
		`a\ b`:                   {`a\`, "b"},
		"--dir=/*.conf":          {"--dir=/*.conf"},
		"/*.conf":                {"/a.conf", "/b.conf"},
		"/*.none x":              {"/*.none", "x"},
		`/\[c]`:                  {`/\[c]`},
		`/\[*`:                   {"/[c]"},
		"/[[]c]":                 {"/[c]"},
		"x$HOME ~ {a,b} `id` $(": {"x$HOME", "~", "{a,b}", "`id`", "$("},
		"no\u00a0break\u2003 \v": {"no\u00a0break\u2003", "\v"},
	}
	for command, want := range tests {
		if got := tree.expandWords(command); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", command, got, want)
		}
	}
}

func FuzzSplitWords(f *testing.F) {
	for _, seed := range []string{"", "a b", "  a\t\tb\nc ", "'a b'", "\v\f\r", "\xff \x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, command string) {
		words := splitWords(command)
		for _, word := range words {
			if word == "" || strings.ContainsAny(word, " \t\n") {
				t.Errorf("%q gave the word %q", command, word)
			}
		}
		// Nothing but separators is lost, and splitting again changes nothing.
		remove := strings.NewReplacer(" ", "", "\t", "", "\n", "")
		if strings.Join(words, "") != remove.Replace(command) {
			t.Errorf("%q lost something: %q", command, words)
		}
		if again := splitWords(strings.Join(words, " ")); !slices.Equal(again, words) {
			t.Errorf("%q: split again %q, before %q", command, again, words)
		}
	})
}
