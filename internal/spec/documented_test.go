// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDocumentedSet: the set that docs/sets.md shows is one, beside those of the catalogue.
func TestDocumentedSet(t *testing.T) {
	page, err := os.ReadFile("../../docs/sets.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(page), "## The file\n")
	block := ""
	for line := range strings.Lines(after) {
		text, indented := strings.CutPrefix(line, "    ")
		switch {
		case indented:
			block += text
		case strings.TrimSpace(line) == "" && block != "":
			block += "\n"
		case block != "":
			after = ""
		}
		if after == "" {
			break
		}
	}
	if !found || !strings.Contains(block, "services:") {
		t.Fatalf("docs/sets.md shows no set below \"The file\":\n%s", block)
	}
	directory := t.TempDir()
	for name, content := range map[string]string{
		"cloud.yaml":                           "catalogue: [our-catalogue]\n",
		"our-catalogue/sets/shop/compose.yaml": block,
		"our-catalogue/images/shop/image.yaml": "extends: image\nfrom: base\ncomponent: shop\nuser: nobody\npackages: []\n",
	} {
		file := filepath.Join(directory, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opts := defaults(t)
	opts.CloudFile = filepath.Join(directory, "cloud.yaml")
	doc := load(t, opts)
	shop := doc.Container("shop")
	if shop == nil || shop.Frontend == nil || shop.Check == nil || shop.Set != "shop" {
		t.Fatalf("the documented set makes %+v", shop)
	}
	if command := strings.Join(shop.Spec.Command, " "); command != "shop --listen $(PORT)" {
		t.Errorf("its command is %q", command)
	}
	for _, c := range doc.Containers {
		if f := c.Frontend; f != nil && c.Name != "shop" && (f.Port == shop.Frontend.Port || f.Name == shop.Frontend.Name) {
			t.Errorf("its port %d or its front end %q is that of %s", shop.Frontend.Port, shop.Frontend.Name, c.Name)
		}
	}
}
