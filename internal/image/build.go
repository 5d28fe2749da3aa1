// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/moby/buildkit/client"

	"copse/internal/engine"
)

// Engine is the part of a container engine that builds need.
type Engine interface {
	hijacker
	Image(ctx context.Context, reference string) (engine.Image, error)
	PullImage(ctx context.Context, reference string, progress func(string)) error
	LoadImage(ctx context.Context, archive io.Reader) ([]string, error)
}

// Builder builds images that an engine lacks.
type Builder struct {
	Catalogue *Catalogue
	Engine    Engine
	// Source returns where packages come from; it is asked once, when something is to be built.
	Source func() (PackageSource, error)
	// Parallel is how many images are built at a time; 0 is the number of CPUs, at least 2: a
	// build waits for the network and the disk as well.
	Parallel int
	// Progress is told what happens, by one call at a time; nil tells nobody.
	Progress func(Progress)
}

// Result is what became of an image that was asked for, or of one below it.
type Result struct {
	Image Image
	// State is Present, Built, Failed or Held.
	State   State
	Elapsed time.Duration
}

// Build makes sure that the engine has all of the images, and returns what became of them and of
// those below that had to be built. Images that do not stand on each other are built in parallel;
// when one fails the others go on, and the error has all failures.
func (b *Builder) Build(ctx context.Context, images []Image) ([]Result, error) {
	run := &run{Builder: b, tasks: map[string]*task{}}
	for _, image := range images {
		if err := run.add(ctx, image); err != nil {
			return nil, err
		}
	}
	if run.work > 0 {
		if err := run.prepare(ctx); err != nil {
			return nil, err
		}
		defer run.close()
	}
	var group sync.WaitGroup
	for _, reference := range run.order {
		group.Go(func() { run.build(ctx, run.tasks[reference]) })
	}
	group.Wait()
	var results []Result
	var errs []error
	for _, reference := range run.order {
		t := run.tasks[reference]
		results = append(results, Result{Image: t.image, State: t.state, Elapsed: t.elapsed})
		if t.err != nil && t.state == Failed {
			errs = append(errs, t.err)
		}
	}
	return results, errors.Join(errs...)
}

// task is one image of a run.
type task struct {
	image   Image
	below   *task // nil where it is the root file system
	done    chan struct{}
	state   State
	elapsed time.Duration
	err     error
}

// run is one call of Build.
type run struct {
	*Builder
	tasks    map[string]*task
	order    []string
	work     int
	buildkit *client.Client
	source   PackageSource
	slots    chan struct{}
	telling  sync.Mutex
	roots    sync.Mutex
	rootErrs map[string]error
}

// add puts an image into the run, and what is below it where it has to be built.
func (r *run) add(ctx context.Context, image Image) error {
	if r.tasks[image.Reference] != nil {
		return nil
	}
	t := &task{image: image, done: make(chan struct{}), state: Waiting}
	switch _, err := r.Engine.Image(ctx, image.Reference); {
	case err == nil:
		t.state = Present
	case !errors.Is(err, engine.ErrNotFound):
		return fmt.Errorf("cannot ask the engine for image %s: %w", image.Reference, err)
	default:
		r.work++
		if image.Parent != "" {
			below, err := r.Catalogue.Resolve(image.Release, image.Parent)
			if err != nil {
				return err
			}
			if err := r.add(ctx, below); err != nil {
				return err
			}
			t.below = r.tasks[below.Reference]
		}
	}
	r.tasks[image.Reference] = t
	r.order = append(r.order, image.Reference)
	return nil
}

func (r *run) prepare(ctx context.Context) error {
	parallel := r.Parallel
	if parallel <= 0 {
		parallel = max(2, runtime.NumCPU())
	}
	r.slots = make(chan struct{}, parallel)
	r.rootErrs = map[string]error{}
	var err error
	if r.source, err = r.Source(); err != nil {
		return err
	}
	r.buildkit, err = connect(ctx, r.Engine)
	return err
}

func (r *run) close() {
	// The connection has nothing that a failed end could lose.
	_ = r.buildkit.Close()
}

func (r *run) tell(t *task, event Progress) {
	if r.Progress == nil {
		return
	}
	r.telling.Lock()
	defer r.telling.Unlock()
	event.Image, event.Reference = t.image.Name, t.image.Reference
	r.Progress(event)
}

// build waits for what is below a task, builds it and closes its done.
func (r *run) build(ctx context.Context, t *task) {
	defer close(t.done)
	if t.state == Present {
		r.tell(t, Progress{State: Present})
		return
	}
	if t.below != nil {
		r.tell(t, Progress{State: Waiting, Text: t.below.image.Name})
		<-t.below.done
		if t.below.state == Failed || t.below.state == Held {
			t.state = Held
			t.err = t.below.err
			r.tell(t, Progress{State: Held, Text: t.below.image.Name, Err: t.below.err})
			return
		}
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		t.state, t.err = Failed, fmt.Errorf("cannot build image %s: %w", t.image.Name, ctx.Err())
		return
	}
	began := time.Now()
	r.tell(t, Progress{State: Building})
	t.err = r.buildOne(ctx, t)
	t.elapsed = time.Since(began)
	t.state = Built
	if t.err != nil {
		t.state = Failed
	}
	r.tell(t, Progress{State: t.state, Elapsed: t.elapsed, Err: t.err})
}

func (r *run) buildOne(ctx context.Context, t *task) error {
	if t.image.Parent == "" {
		if err := r.rootFS(ctx, t); err != nil {
			return err
		}
	}
	return solve(ctx, r.buildkit, t.image, r.secrets(t.image), func(p Progress) { r.tell(t, p) })
}

// secrets are what a build may use but not keep: the paths are those of catalog/images/image.
func (r *run) secrets(image Image) map[string][]byte {
	const directory = "/run/build/"
	// A root file system that was pulled knows where its packages come from, unless it is said.
	if image.RootFS.Pulled && r.Catalogue.override.APT.Sources == "" {
		return map[string][]byte{"apt.conf": []byte(r.source.configuration(""))}
	}
	return map[string][]byte{
		"apt.conf":     []byte(r.source.configuration(directory + "sources.list")),
		"sources.list": []byte(r.source.list(image.Suites, directory+"keyring.gpg")),
		"keyring.gpg":  r.source.keyring,
	}
}

// rootFS makes sure that the engine has what the lowest image stands on.
func (r *run) rootFS(ctx context.Context, t *task) error {
	r.roots.Lock()
	defer r.roots.Unlock()
	root := t.image.RootFS
	if err, done := r.rootErrs[root.Reference]; done {
		return err
	}
	err := r.fetchRootFS(ctx, t, root)
	r.rootErrs[root.Reference] = err
	return err
}

func (r *run) fetchRootFS(ctx context.Context, t *task, root RootFS) error {
	if root.Reference == "scratch" {
		return nil
	}
	switch _, err := r.Engine.Image(ctx, root.Reference); {
	case err == nil:
		return nil
	case !errors.Is(err, engine.ErrNotFound):
		return fmt.Errorf("cannot ask the engine for image %s: %w", root.Reference, err)
	}
	log := func(line string) { r.tell(t, Progress{State: Building, Text: line, Log: true}) }
	if root.Pulled {
		r.tell(t, Progress{State: Building, Text: "pull " + root.Reference})
		return r.Engine.PullImage(ctx, root.Reference, log)
	}
	r.tell(t, Progress{State: Building, Text: "bootstrap " + root.Suite})
	directory, err := os.MkdirTemp("", "copse-rootfs-")
	if err != nil {
		return fmt.Errorf("cannot bootstrap suite %s: %w", root.Suite, err)
	}
	defer func() { _ = os.RemoveAll(directory) }() // what is left there harms nobody
	// apt reads the keyring as a user of its own.
	if err := os.Chmod(directory, 0o755); err != nil {
		return fmt.Errorf("cannot bootstrap suite %s: %w", root.Suite, err)
	}
	archive, err := bootstrap(ctx, root, r.source, directory, log)
	if err != nil {
		return err
	}
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(archiveOf(root, archive, writer)) }()
	loaded, err := r.Engine.LoadImage(ctx, reader)
	// The engine may stop reading before the end: the writer must not wait for it.
	_ = reader.Close()
	if err != nil {
		return fmt.Errorf("cannot load the root file system into the engine: %w", err)
	}
	if !contains(loaded, root.Reference) {
		return fmt.Errorf("cannot load the root file system into the engine: it says that it loaded %s", strings.Join(loaded, ", "))
	}
	return nil
}

func contains(list []string, item string) bool {
	for _, candidate := range list {
		if candidate == item || strings.HasSuffix(candidate, "/"+item) {
			return true
		}
	}
	return false
}

func architecture() string { return runtime.GOARCH }
