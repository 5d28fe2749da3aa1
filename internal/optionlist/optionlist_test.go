// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package optionlist

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"copse/internal/engine"
	"copse/internal/engine/fake"
	"copse/internal/tree"
)

const list = "copse-options 1\n[DEFAULT]\ndebug\tboolean\n[database]\nmax_retries\tinteger\n"

// host has an image with a list and one without.
func host(t *testing.T) (*fake.Engine, *int) {
	t.Helper()
	reads := 0
	e := &fake.Engine{ImageFiles: func(reference, path string) (string, bool) {
		reads++
		return list, reference == "nova:1" && path == "/options"
	}}
	e.AddImage(
		engine.Image{References: []string{"nova:1"}, Environment: []string{"COPSE_OPTIONS_FILE=/options", "LANG=C"}},
		engine.Image{References: []string{"mariadb:1"}, Environment: []string{"LANG=C"}},
		engine.Image{References: []string{"broken:1"}, Environment: []string{"COPSE_OPTIONS_FILE=/none"}},
	)
	return e, &reads
}

func TestOf(t *testing.T) {
	e, reads := host(t)
	dir := t.TempDir()
	ctx := context.Background()
	lists := &Lists{Engine: e, Dir: dir}
	for range 2 {
		environment, options, err := lists.Of(ctx, "nova:1")
		if err != nil || options == nil || len(environment) != 2 {
			t.Fatalf("%v, %v, %v", environment, options, err)
		}
	}
	if _, options, err := (&Lists{Engine: e, Dir: dir}).Of(ctx, "nova:1"); err != nil || options == nil {
		t.Errorf("from the directory: %v", err)
	}
	if *reads != 1 {
		t.Errorf("the image was read %d times; want once", *reads)
	}
	// A list that was cut off is read again.
	kept, err := filepath.Glob(filepath.Join(dir, "sha256-*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept are %v, %v", kept, err)
	}
	if err := os.WriteFile(kept[0], nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, options, err := (&Lists{Engine: e, Dir: dir}).Of(ctx, "nova:1"); err != nil || options == nil || *reads != 2 {
		t.Errorf("a broken copy: %v, read %d times", err, *reads)
	}
	if _, options, err := lists.Of(ctx, "mariadb:1"); err != nil || options != nil {
		t.Errorf("an image without a list: %v, %v", options, err)
	}
	if _, _, err := lists.Of(ctx, "none:1"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("an image that is not there: %v", err)
	}
	if _, _, err := lists.Of(ctx, "broken:1"); err == nil || !strings.Contains(err.Error(), "cannot read the options of image broken:1") {
		t.Errorf("an image whose list is missing: %v", err)
	}
	left, err := e.List(ctx, nil)
	if err != nil || len(left) != 0 {
		t.Errorf("containers were left: %v, %v", left, err)
	}
}

func TestCheck(t *testing.T) {
	e, _ := host(t)
	lists := &Lists{Engine: e}
	c := &tree.Container{Spec: tree.Spec{Image: "nova:1", Environment: map[string]string{
		"OS_DEFAULT__DEBUG": "true", "OS_DATABASE__MAX_RETRYS": "1", "OS_DATABASE__CATALOGUES_FAULT": "1",
	}}}
	faults, err := lists.Check(context.Background(), c, []string{"OS_DEFAULT__DEBUG", "OS_DATABASE__MAX_RETRYS"})
	if err != nil || len(faults) != 1 || !strings.Contains(faults["OS_DATABASE__MAX_RETRYS"].Error(), "OS_DATABASE__MAX_RETRIES") {
		t.Errorf("faults %v, %v; want the misspelt one, with what was meant", faults, err)
	}
	for _, image := range []string{"mariadb:1", "none:1"} {
		c.Spec.Image = image
		if faults, err := lists.Check(context.Background(), c, []string{"OS_DATABASE__MAX_RETRYS"}); err != nil || faults != nil {
			t.Errorf("%s says %v, %v; it knows nothing", image, faults, err)
		}
	}
}
