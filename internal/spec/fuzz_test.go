// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
)

// FuzzCompose holds that no set makes Load panic, and that what is refused is refused by name.
func FuzzCompose(f *testing.F) {
	for _, file := range []string{baseFile, apiFile, proxyFile} {
		f.Add(string(small()[file].Data))
	}
	f.Add("services: {a: {image: x, healthcheck: {test: }, x-copse: {component: x, ready: {}}}}")
	f.Add("services: {a: &a {<<: *a}}")
	f.Fuzz(func(t *testing.T, content string) {
		files := small()
		files["sets/more/compose.yaml"] = &fstest.MapFile{Data: []byte(content)}
		opts := defaults(t)
		opts.Catalogue = files
		if _, err := Load(context.Background(), opts); err != nil {
			refusedByName(t, err)
		}
	})
}

// FuzzCloudFile is FuzzCompose for what an operator writes.
func FuzzCloudFile(f *testing.F) {
	f.Add("name: a\nvalues: {WORKERS: 3, NAMES: [a]}\noptions: {sets: {base: {A: 1, B: null}}}\n")
	f.Add("files: [{containers: [db], target: /x}]\nsets: [base]\nreleases: {api: '1'}\n")
	f.Add("values: ~\n")
	f.Fuzz(func(t *testing.T, content string) {
		opts := defaults(t)
		opts.Catalogue = small()
		opts.CloudFile = write(t, "cloud.yaml", content)
		if _, err := Load(context.Background(), opts); err != nil {
			refusedByName(t, err)
		}
	})
}

func refusedByName(t *testing.T, err error) {
	t.Helper()
	var fault *Error
	if !errors.As(err, &fault) || fault.File == "" || strings.TrimSpace(fault.Reason) == "" {
		t.Errorf("refused without a file or a reason: %v", err)
	}
}
