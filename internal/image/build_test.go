// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"copse/internal/engine"
	"copse/internal/engine/docker"
)

// box builds the program that the images of these tests consist of.
func box(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "box")
	command := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", path, "./testdata/box")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// world is a catalogue of tiny images with names of its own, and an engine to build them with.
type world struct {
	t         *testing.T
	engine    *docker.Engine
	catalogue fstest.MapFS
	init      []byte
	prefix    string
	built     []string
	mutex     sync.Mutex
	events    []Progress
}

func newWorld(t *testing.T) *world {
	t.Helper()
	e, err := docker.Connect(t.Context(), "")
	if err != nil {
		t.Fatalf("these tests need a container engine: %v", err)
	}
	prefix := "test-" + strings.ToLower(rand.Text()[:10])
	w := &world{t: t, engine: e, init: box(t), prefix: prefix, catalogue: fstest.MapFS{
		"releases/1.yaml":         file("suite: trixie\n"),
		"images/image/image.yaml": file("kind: layout\n"),
		"images/image/Dockerfile": file(`FROM {{.From}}
{{block "configure" .}}{{end}}
{{if eq .Kind "service"}}ENTRYPOINT ["/usr/local/bin/copse-init"]
COPY --link program/ /usr/local/bin/{{end}}
`),
		"images/image/fixed": file("fixed"),
	}}
	t.Cleanup(func() {
		// Those above go first: an image is not removed from below another.
		slices.Reverse(w.built)
		for _, reference := range w.built {
			if err := e.RemoveImage(context.Background(), reference); err != nil && !errors.Is(err, engine.ErrNotFound) {
				t.Error(err)
			}
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// image adds an image, named with the prefix, with a text for the block "configure".
func (w *world) image(name, from, configure string) {
	definition := "extends: image\ncomponent: test\n"
	if from == "" {
		definition = "kind: base\n" + definition
	} else {
		definition += "from: " + w.prefix + from + "\n"
	}
	directory := "images/" + w.prefix + name + "/"
	w.catalogue[directory+"image.yaml"] = file(definition)
	w.catalogue[directory+"Dockerfile"] = file(`{{define "configure"}}` + configure + `{{end}}`)
}

// build builds images and returns the states of all that took part, by name without the prefix.
func (w *world) build(names ...string) (map[string]State, error) {
	w.t.Helper()
	c := load(w.t, w.catalogue, Options{Init: w.init, Override: &Override{Base: "scratch"}})
	var images []Image
	for _, name := range names {
		images = append(images, resolve(w.t, c, "1", w.prefix+name))
	}
	w.events = nil
	builder := &Builder{
		Catalogue: c, Engine: w.engine, Parallel: 2,
		Source: func() (PackageSource, error) { return PackageSource{}, errors.New("these images have no packages") },
		Progress: func(p Progress) {
			w.mutex.Lock()
			defer w.mutex.Unlock()
			w.events = append(w.events, p)
		},
	}
	results, err := builder.Build(w.t.Context(), images)
	states := map[string]State{}
	for _, result := range results {
		states[strings.TrimPrefix(result.Image.Name, w.prefix)] = result.State
		if result.State == Built {
			w.built = append(w.built, result.Image.Reference)
		}
	}
	return states, err
}

// run runs an image's program and returns what it prints.
func (w *world) run(name string, arguments ...string) string {
	w.t.Helper()
	c := load(w.t, w.catalogue, Options{Init: w.init, Override: &Override{Base: "scratch"}})
	reference := resolve(w.t, c, "1", w.prefix+name).Reference
	output, err := exec.CommandContext(w.t.Context(), "docker", append([]string{"run", "--rm", "--network=none", reference}, arguments...)...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("%v\n%s", err, output)
	}
	return string(output)
}

const runBox = "RUN --mount=type=bind,source=program,target=/mnt [\"/mnt/copse-init\", %s]"

func TestBuild(t *testing.T) {
	w := newWorld(t)
	w.image("base", "", "COPY image/fixed /base")
	w.image("one", "base", "COPY <<end /one\nhere\nend\n"+fmt.Sprintf(runBox, `"write", "/ran", "by {{.Name}}"`))
	w.image("two", "base", "COPY image/fixed /two")
	states, err := w.build("one", "two")
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]State{"base": Built, "one": Built, "two": Built}; !maps.Equal(states, want) {
		t.Errorf("states %v, want %v", states, want)
	}
	for path, want := range map[string]string{"/base": "fixed\n", "/one": "here\n\n", "/ran": "by " + w.prefix + "one\n"} {
		if got := w.run("one", "cat", path); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
	// The link to the program is one.
	output, err := exec.CommandContext(t.Context(), "docker", "run", "--rm", "--network=none", "--entrypoint", "/usr/local/bin/kolla_start",
		w.built[len(w.built)-1], "cat", "/base").CombinedOutput()
	if err != nil || string(output) != "fixed\n" {
		t.Errorf("kolla_start: %v, %q", err, output)
	}

	c := load(t, w.catalogue, Options{Init: w.init, Override: &Override{Base: "scratch"}})
	image := resolve(t, c, "1", w.prefix+"one")
	stored, err := w.engine.Image(t.Context(), image.Reference)
	if err != nil {
		t.Fatal(err)
	}
	for label, want := range map[string]string{LabelImage: image.Name, LabelRelease: "1", LabelContent: image.Content} {
		if got := stored.Labels[label]; got != want {
			t.Errorf("label %s is %q, want %q", label, got, want)
		}
	}

	// Again: nothing to do.
	states, err = w.build("one", "two")
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]State{"one": Present, "two": Present}; !maps.Equal(states, want) {
		t.Errorf("the second build: %v, want %v", states, want)
	}

	// A file of the same size is another file: BuildKit must not take the one that it has.
	w.catalogue["images/image/fixed"] = file("FIXED")
	if _, err := w.build("one"); err != nil {
		t.Fatal(err)
	}
	if got := w.run("one", "cat", "/base"); got != "FIXED\n" {
		t.Errorf("after a change of the context the image holds %q", got)
	}

	// Another copse-init runs no instruction again.
	w.init = append(bytes.Clone(w.init), 0)
	if states, err = w.build("one"); err != nil {
		t.Fatal(err)
	}
	if want := map[string]State{"base": Present, "one": Built}; !maps.Equal(states, want) {
		t.Errorf("another copse-init: %v, want %v", states, want)
	}
	steps := map[string]bool{}
	for _, event := range w.events {
		if event.Step > 0 && !event.Log {
			steps[event.Text] = event.Cached
		}
	}
	for text, cached := range steps {
		if strings.HasPrefix(text, "COPY <<") && !cached {
			t.Errorf("another copse-init: %q was carried out again", text)
		}
	}
	if len(steps) == 0 {
		t.Error("no step was told")
	}
}

func TestBuildFails(t *testing.T) {
	w := newWorld(t)
	w.image("base", "", "COPY image/fixed /base")
	w.image("good", "base", "COPY image/fixed /good")
	w.image("bad", "base", fmt.Sprintf(runBox, `"fail", "60"`))
	states, err := w.build("bad", "good")
	if want := map[string]State{"base": Built, "good": Built, "bad": Failed}; !maps.Equal(states, want) {
		t.Errorf("states %v, want %v", states, want)
	}
	var step *StepError
	if !errors.As(err, &step) {
		t.Fatalf("error %v is no StepError", err)
	}
	if len(step.Log) != logLines || step.Log[0] != "line 21" || step.Log[logLines-1] != "line 60" {
		t.Errorf("the log has %d lines: %q", len(step.Log), step.Log)
	}
	for _, want := range []string{"cannot build image " + w.prefix + "bad", "RUN", "fail", "exit code: 3", "line 60", "override"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "--mount") {
		t.Errorf("mounts are in: %v", err)
	}
	logged := 0
	for _, event := range w.events {
		if event.Log && strings.HasSuffix(event.Image, "bad") {
			logged++
		}
	}
	if logged != 60 {
		t.Errorf("%d lines were logged, want 60", logged)
	}

	// What stands on a failed image is held, and the mended one is built.
	w.image("base", "", fmt.Sprintf("COPY program /mnt/\n"+runBox, `"fail", "1"`))
	w.catalogue["images/"+w.prefix+"base/program/copse-init"] = file("x")
	states, err = w.build("good")
	if want := map[string]State{"base": Failed, "good": Held}; err == nil || !maps.Equal(states, want) {
		t.Errorf("a base that fails: %v, %v, want %v", states, err, want)
	}
	w.image("base", "", "COPY image/fixed /base")
	delete(w.catalogue, "images/"+w.prefix+"base/program/copse-init")
	if states, err = w.build("good"); err != nil || states["good"] != Present {
		t.Errorf("the mended base: %v, %v", states, err)
	}
}

func TestBuildCancelled(t *testing.T) {
	w := newWorld(t)
	w.image("base", "", "COPY image/fixed /base")
	w.image("good", "base", "COPY image/fixed /good")
	c := load(t, w.catalogue, Options{Init: w.init, Override: &Override{Base: "scratch"}})
	ctx, cancel := context.WithCancel(t.Context())
	builder := &Builder{Catalogue: c, Engine: w.engine, Progress: func(p Progress) {
		if p.State == Building {
			cancel()
		}
	}}
	results, err := builder.Build(ctx, []Image{resolve(t, c, "1", w.prefix+"good")})
	if !errors.Is(err, context.Canceled) && !strings.Contains(fmt.Sprint(err), "canceled") {
		t.Errorf("error %v", err)
	}
	for _, result := range results {
		if result.State == Built {
			w.built = append(w.built, result.Image.Reference)
			t.Errorf("%s was built after the end was asked for", result.Image.Name)
		}
	}
}
