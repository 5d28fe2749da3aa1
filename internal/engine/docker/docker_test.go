// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

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
			// A digest goes with the last tag of its repository.
			if err := s.RemoveImage(ctx, reference); err != nil && !errors.Is(err, engine.ErrNotFound) {
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

func TestSaveAndLoad(t *testing.T) {
	s := open(t)
	image, err := s.Image(t.Context(), s.image)
	if err != nil {
		t.Fatal(err)
	}
	if len(image.Layers) != 1 || image.Size == 0 {
		t.Errorf("the image %+v has not the one layer that was imported", image)
	}
	second := s.prefix + ":second"
	if err := s.TagImage(t.Context(), s.image, second); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := s.SaveImage(t.Context(), &archive, s.image, second); err != nil {
		t.Fatal(err)
	}
	for _, reference := range []string{s.image, second} {
		if err := s.RemoveImage(t.Context(), reference); err != nil {
			t.Fatal(err)
		}
	}
	loaded, err := s.LoadImage(t.Context(), &archive)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(loaded)
	if want := []string{s.image, second}; !slices.Equal(loaded, want) {
		t.Errorf("loaded %q, want %q", loaded, want)
	}
	again, err := s.Image(t.Context(), second)
	if err != nil || again.ID != image.ID {
		t.Errorf("the image that was loaded is %s (%v), want %s", again.ID, err, image.ID)
	}
	if err := s.SaveImage(t.Context(), &archive, s.prefix+":none"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("saving what is not there: %v, want an error that matches ErrNotFound", err)
	}
	if _, err := s.LoadImage(t.Context(), strings.NewReader("no archive")); err == nil {
		t.Error("what is not an archive was loaded")
	}
}

// TestPushAndPull uses a registry inside the test: engines talk to one on loopback without TLS.
func TestPushAndPull(t *testing.T) {
	s := open(t)
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Registries say that their errors are JSON; this one leaves it to be guessed, which later engines
		// do not.
		w.Header().Set("Content-Type", "application/json")
		handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	name := strings.TrimPrefix(server.URL, "http://") + "/" + s.prefix + ":1"
	if err := s.TagImage(t.Context(), s.image, name); err != nil {
		t.Fatal(err)
	}
	var pushed, pulled []string
	if err := s.PushImage(t.Context(), name, func(line string) { pushed = append(pushed, line) }); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveImage(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := s.PullImage(t.Context(), name, func(line string) { pulled = append(pulled, line) }); err != nil {
		t.Fatal(err)
	}
	if len(pushed) == 0 || len(pulled) == 0 {
		t.Errorf("the steps reported are %q and %q", pushed, pulled)
	}
	image, err := s.Image(t.Context(), name)
	if err != nil || !slices.Contains(image.References, s.image) {
		t.Errorf("what was pulled is %+v (%v), want the image that was pushed", image, err)
	}
	if err := s.PullImage(t.Context(), name+"none", nil); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("pulling a tag that is not there: %v, want an error that matches ErrNotFound", err)
	}
	server.Close()
	err = s.PushImage(t.Context(), name, nil)
	if err == nil || errors.Is(err, engine.ErrUnavailable) || !strings.Contains(err.Error(), name) {
		t.Errorf("pushing to a registry that is not there: %v, want an error that names the image and does not blame the engine", err)
	}
}

func TestImportRefusesBadChanges(t *testing.T) {
	s := open(t)
	err := s.ImportImage(t.Context(), bytes.NewReader(nil), s.prefix+":bad", "RUN something")
	if err == nil || !strings.Contains(err.Error(), s.prefix+":bad") {
		t.Errorf("the error is %v, want one that names the image", err)
	}
}

// TestDialHijack opens the two connections that BuildKit's client needs.
func TestDialHijack(t *testing.T) {
	s := open(t)
	for path, meta := range map[string]map[string][]string{
		"/grpc":    nil,
		"/session": {"X-Docker-Expose-Session-Uuid": {s.prefix}, "X-Docker-Expose-Session-Name": {"copse"}},
	} {
		connection, err := s.DialHijack(t.Context(), path, "h2c", meta)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if err := connection.Close(); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if connection, err := s.DialHijack(t.Context(), "/none", "h2c", nil); err == nil {
		t.Errorf("a path that does not exist gave the connection %v", connection)
	}
}

// TestMissingCapabilitiesAreTheEngines compares with what a program with all of them has.
func TestMissingCapabilitiesAreTheEngines(t *testing.T) {
	s := open(t)
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if note := s.PrivilegeNote(); (note == "") != (len(info.MissingCapabilities) == 0) {
		t.Errorf("the note is %q with %q missing", note, info.MissingCapabilities)
	}
	if s.Host() != docker.DefaultHost {
		t.Errorf("the engine is at %s, want %s", s.Host(), docker.DefaultHost)
	}
}
