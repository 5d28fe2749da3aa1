// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// A call of the program in a text: in quotes of Go, of a shell or of Markdown, or at the beginning of a line.
var (
	quotedCalls = regexp.MustCompile("(?:`|\\\\\"|\"|')(?:bin/)?copse ([a-z][^`\"'\\\\\n]*)")
	linedCalls  = regexp.MustCompile(`(?m)^(?:    (?:\$ )?|\$ |)(?:bin/)?copse ([a-z].*)$`)
	callWord    = regexp.MustCompile(`^[a-z]+$`)
	callFlag    = regexp.MustCompile(`^--([a-z][a-z-]*)`)
)

// TestCallsInTextsExist: each command and flag that an error, a help text, a page of the documentation, an
// alert or a set's description tells an operator to use is there.
func TestCallsInTextsExist(t *testing.T) {
	const root = "../.."
	known := (&app{}).root()
	known.InitDefaultHelpCmd()
	found := 0
	check := func(file, call string) {
		words := strings.Fields(call)
		command, _, err := known.Find(words[:1])
		if err != nil || command == known {
			t.Errorf("%s speaks of \"copse %s\": there is no such command", file, call)
			return
		}
		found++
		for _, word := range words[1:] {
			word = strings.Trim(word, "[](),.;:")
			if word == "#" || word == "|" || word == "&&" || word == "--" {
				break // what follows is not the program's
			}
			if sub := subcommand(command, word); sub != nil {
				command = sub
				continue
			}
			if flag := callFlag.FindStringSubmatch(word); flag != nil && command.Flag(flag[1]) == nil && command.InheritedFlags().Lookup(flag[1]) == nil {
				t.Errorf("%s speaks of \"copse %s\": %q has no flag --%s", file, call, command.CommandPath(), flag[1])
			}
		}
	}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(filepath.ToSlash(path), root+"/")
		if entry.IsDir() {
			if slices.Contains([]string{".git", "bin", "build", "testdata"}, entry.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		goes, text := false, false
		switch filepath.Ext(name) {
		case ".go":
			goes = !strings.HasSuffix(name, "_test.go") && !strings.Contains(name, "clienttest")
		case ".md", ".yaml", ".json", ".sh", ".py":
			text = true
		}
		if !goes && !text {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		calls := quotedCalls.FindAllStringSubmatch(string(content), -1)
		if text {
			calls = append(calls, linedCalls.FindAllStringSubmatch(string(content), -1)...)
		}
		for _, call := range calls {
			if first := strings.Fields(call[1])[0]; callWord.MatchString(first) {
				check(name, call[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 200 {
		t.Errorf("only %d calls were found: nothing was tested", found)
	}
}

// subcommand returns a command's own of that name, nil for none.
func subcommand(command *cobra.Command, name string) *cobra.Command {
	for _, c := range command.Commands() {
		if c.Name() == name {
			return c
		}
	}
	return nil
}
