// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"copse/internal/engine"
	"copse/internal/tree"
)

// What was copied into a container that was never started comes out of it again.
func TestCopyFrom(t *testing.T) {
	s := open(t)
	ctx := t.Context()
	id, err := s.Create(ctx, s.prefix+"-copyfrom", tree.Spec{Image: s.image, Command: []string{"/never"}, NetworkMode: "none", Labels: s.labels})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Remove(context.WithoutCancel(ctx), id, true); err != nil {
			t.Error(err)
		}
	}()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := errors.Join(
		w.WriteHeader(&tar.Header{Name: "note", Typeflag: tar.TypeReg, Mode: 0o600, Size: 5}),
		func() error { _, err := io.WriteString(w, "hello"); return err }(), w.Close(),
	); err != nil {
		t.Fatal(err)
	}
	if err := s.CopyTo(ctx, id, "/", &archive); err != nil {
		t.Fatal(err)
	}
	out, err := s.CopyFrom(ctx, id, "/note")
	if err != nil {
		t.Fatal(err)
	}
	reader := tar.NewReader(out)
	header, err := reader.Next()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(reader)
	if err := errors.Join(err, out.Close()); err != nil || header.Name != "note" || string(content) != "hello" {
		t.Errorf("got %q with %q, %v", header.Name, content, err)
	}
	for _, missing := range []struct{ id, path string }{{id, "/nothing"}, {s.prefix + "-nobody", "/note"}} {
		if _, err := s.CopyFrom(ctx, missing.id, missing.path); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("%+v: got %v, want %v", missing, err, engine.ErrNotFound)
		}
	}
}
