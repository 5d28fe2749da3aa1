// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

func TestReferenceIsCurrent(t *testing.T) {
	const file = "../../docs/cli.md"
	want := reference()
	if *update {
		if err := os.MkdirAll("../../docs", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/cli.md is not what the program says: run go generate ./internal/cli (-want +got):\n%s", diff)
	}
}

// Every command that gives objects has them described.
func TestObjectsAreDescribed(t *testing.T) {
	described := objectOf()
	// Those of a change give its stream; the others write what is no object of theirs, or run for good.
	for _, name := range []string{
		"up", "upgrade", "rollback", "start", "stop", "restart", "down", "run", "abort", "retry",
		"agent", "completion", "render compose",
	} {
		described["copse "+name] = nil
	}
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if _, found := described[c.CommandPath()]; !found && !c.HasSubCommands() {
			t.Errorf("%s has no object in objectOf: docs/cli.md does not say what it gives with --format json", c.CommandPath())
		}
		delete(described, c.CommandPath())
		for _, child := range c.Commands() {
			visit(child)
		}
	}
	visit((&app{}).root())
	for name := range described {
		t.Errorf("there is no command %q", name)
	}
}

// Every command says what it does in one sentence, and takes what its use line promises.
func TestCommandsAreDescribed(t *testing.T) {
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: its short description is %q; it wants a sentence without a full stop", c.CommandPath(), c.Short)
		}
		if strings.Contains(c.Use, "NAME") && c.ValidArgsFunction == nil {
			t.Errorf("%s takes names but does not complete them", c.CommandPath())
		}
		for _, child := range c.Commands() {
			visit(child)
		}
	}
	visit((&app{}).root())
}
