// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// skips are the tests that may be left out of a plain "go test", each with why "make test" leaves out none
// of them: what they need is fetched or installed there, and where that fails, make does.
func skips() map[string]string {
	return map[string]string{
		"internal/spec/catalogue_test.go":     "COPSE_COMPOSE",  // the Makefile sets it
		"internal/metrics/metrics_test.go":    "COPSE_PROMTOOL", // the Makefile sets it
		"internal/durable/durable_test.go":    root,
		"internal/host/host_test.go":          root,
		"internal/initproc/owncgroup_test.go": root,
	}
}

// root is who "make test" needs anyway: its end-to-end tests fail for anybody else.
const root = "root"

// TestSkips: a test that is left out silently shows nothing. Those that may be are few and known.
func TestSkips(t *testing.T) {
	const top = "../.."
	makefile, err := os.ReadFile(filepath.Join(top, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	skip := regexp.MustCompile(`\b[tb]\.Skip(f|Now)?\(`)
	left := skips()
	err = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "build") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(filepath.ToSlash(path), top+"/")
		if !skip.Match(content) || strings.HasPrefix(name, "internal/archtest/") {
			return nil
		}
		need, allowed := left[name]
		delete(left, name)
		switch {
		case !allowed:
			t.Errorf("%s leaves a test out where something is missing: have it fail, or see to it that \"make test\" brings what it needs, and say so here", name)
		case strings.HasPrefix(need, "COPSE_") && !strings.Contains(string(makefile), need+"="):
			t.Errorf("%s leaves a test out without %s, which the Makefile does not set", name, need)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range left {
		t.Errorf("%s leaves nothing out any more: take it off the list", name)
	}
}
