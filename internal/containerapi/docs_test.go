// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"os"
	"strings"
	"testing"
)

// The example of the documentation must be a configuration, with nothing in it
// that would be passed over.
func TestDocumentedExampleIsValid(t *testing.T) {
	page, err := os.ReadFile("../../docs/container-api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```yaml\n")
	example, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("the page has no example")
	}
	config, warnings, err := ParseYAML([]byte(example))
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v, warnings %q", err, warnings)
	}
	if len(config.ConfigFiles) == 0 || len(config.Directories) == 0 || len(config.Files) == 0 || len(config.Permissions) == 0 {
		t.Errorf("the example does not show every section: %+v", config)
	}
}

func TestDocumentationNamesEachPersonality(t *testing.T) {
	page, err := os.ReadFile("../../docs/container-api.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Personalities() {
		if !strings.Contains(string(page), "`"+name) {
			t.Errorf("%s is not described", name)
		}
	}
}
