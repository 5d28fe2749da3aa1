// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"copse/internal/engine"
	"copse/internal/engine/docker"
	"copse/internal/engine/enginetest"
)

// label marks what these tests make on an engine that others use as well; its value is one
// test's.
const label = "copse.enginetest"

// shared is the engine at the default socket with an image of testbox, for one test function.
type shared struct {
	*docker.Engine
	labels map[string]string
	image  string
	prefix string
	count  int
	mu     sync.Mutex
}

// open connects to the engine, makes the image, and removes everything when the test ends.
func open(t *testing.T) *shared {
	t.Helper()
	e, err := docker.Connect(t.Context(), "")
	if err != nil {
		t.Fatalf("these tests need a container engine: %v", err)
	}
	id := strings.ToLower(rand.Text()[:10])
	s := &shared{Engine: e, labels: map[string]string{label: id}, prefix: "copse-test-" + id, image: "copse-test-" + id + ":box"}
	t.Cleanup(func() {
		s.clean(t)
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	archive := bytes.NewReader(enginetest.ImageArchive(t))
	if err := e.ImportImage(t.Context(), archive, s.image, enginetest.ImageChanges(s.labels)...); err != nil {
		t.Fatal(err)
	}
	return s
}

// clean removes what carries the label, which after tests that passed is the image alone.
func (s *shared) clean(t *testing.T) {
	ctx := context.Background() // the test's own has ended
	containers, err := s.List(ctx, s.labels)
	if err != nil {
		t.Error(err)
	}
	for _, c := range containers {
		t.Errorf("the container %s was left behind", c.Name)
		if err := s.Remove(ctx, c.ID, true); err != nil {
			t.Error(err)
		}
	}
	volumes, err := s.ListVolumes(ctx, s.labels)
	if err != nil {
		t.Error(err)
	}
	for _, v := range volumes {
		t.Errorf("the volume %s was left behind", v.Name)
		if err := s.RemoveVolume(ctx, v.Name); err != nil {
			t.Error(err)
		}
	}
	images, err := s.ListImages(ctx, s.labels)
	if err != nil {
		t.Error(err)
	}
	for _, image := range images {
		for _, reference := range image.References {
			if err := s.RemoveImage(ctx, reference); err != nil {
				t.Error(err)
			}
		}
	}
}

// fixture gives each test of the suite names of its own.
func (s *shared) fixture(t *testing.T) (engine.Engine, enginetest.Fixture) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	return s.Engine, enginetest.Fixture{
		TestImage: s.image,
		Labels:    s.labels,
		Prefix:    fmt.Sprintf("%s-%d-", s.prefix, s.count),
		Pass:      func() { time.Sleep(20 * time.Millisecond) },
		Directory: t.TempDir(),
	}
}

func TestConformance(t *testing.T) {
	enginetest.Run(t, open(t).fixture)
}

func TestConformanceKernel(t *testing.T) {
	enginetest.RunKernel(t, open(t).fixture)
}

func TestConnectWithoutEngine(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none.sock")
	for _, host := range []string{socket, "unix://" + socket} {
		_, err := docker.Connect(t.Context(), host)
		if !errors.Is(err, engine.ErrUnavailable) {
			t.Fatalf("Connect(%q): %v, want an error that matches ErrUnavailable", host, err)
		}
		for _, want := range []string{socket, "systemctl start docker", "dockerd"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the error %q does not say %q", err, want)
			}
		}
	}
	if _, err := docker.Connect(t.Context(), "nonsense"); err == nil || errors.Is(err, engine.ErrUnavailable) {
		t.Errorf("Connect to nonsense: %v, want an error about the address", err)
	}
}
