// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"copse/internal/engine"
	"copse/internal/tree"
)

// store is an engine with one image and the containers made of it.
type store struct {
	files      map[string]string
	containers map[string]bool
}

func (s *store) Create(_ context.Context, name string, spec tree.Spec) (string, error) {
	if spec.Image != "copse/guest:1" || len(spec.Command) == 0 {
		return "", engine.ErrNotFound
	}
	s.containers[name] = true
	return name, nil
}

func (s *store) CopyFrom(_ context.Context, id, path string) (io.ReadCloser, error) {
	content, ok := s.files[path]
	if !ok || !s.containers[id] {
		return nil, engine.ErrNotFound
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	err := w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(path, "/"), Typeflag: tar.TypeReg, Size: int64(len(content)), Mode: 0o644})
	_, writeErr := io.WriteString(w, content)
	return io.NopCloser(&archive), errors.Join(err, writeErr, w.Close())
}

func (s *store) Remove(_ context.Context, id string, _ bool) error {
	delete(s.containers, id)
	return nil
}

func TestTakeGuest(t *testing.T) {
	whole := func() map[string]string {
		return map[string]string{"/kernel": "k", "/initramfs": "i", "/disk": "d"}
	}
	s := &store{files: whole(), containers: map[string]bool{}}
	guest, err := TakeGuest(t.Context(), s, "copse/guest:1")
	if err != nil || string(guest.Kernel) != "k" || string(guest.Ramdisk) != "i" || string(guest.Disk) != "d" {
		t.Errorf("got %+v, %v", guest, err)
	}
	for name, spoil := range map[string]func(){
		"missing": func() { delete(s.files, "/initramfs") },
		"empty":   func() { s.files["/kernel"] = "" },
	} {
		s.files = whole()
		spoil()
		if _, err := TakeGuest(t.Context(), s, "copse/guest:1"); err == nil {
			t.Errorf("a file that is %s is taken", name)
		}
	}
	if _, err := TakeGuest(t.Context(), s, "copse/guest:2"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("got %v for an image that is not there", err)
	}
	if len(s.containers) != 0 {
		t.Errorf("containers are left: %v", s.containers)
	}
}
