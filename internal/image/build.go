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
// those below that had to be built. Images that do not stand on each other are built in parallel,
// those that most others wait for first; when one fails the others go on, and the error has all
// failures.
func (b *Builder) Build(ctx context.Context, images []Image) ([]Result, error) {
	run := &run{Builder: b, queue: newQueue(), tasks: map[string]*task{}, rootErrs: map[string]error{}}
	run.source = sync.OnceValues(b.Source)
	for _, image := range images {
		if err := run.add(ctx, image); err != nil {
			return nil, err
		}
	}
	if run.queue.left > 0 {
		var err error
		if run.buildkit, err = connect(ctx, run.Engine); err != nil {
			return nil, err
		}
		// The connection has nothing that a failed end could lose.
		defer func() { _ = run.buildkit.Close() }()
	}
	run.announce()
	run.work(ctx)
	var results []Result
	var errs []error
	for _, t := range run.order {
		results = append(results, Result{Image: t.image, State: t.state, Elapsed: t.elapsed})
		if t.state == Failed {
			errs = append(errs, t.err)
		}
	}
	return results, errors.Join(errs...)
}

// run is one call of Build.
type run struct {
	*Builder
	tasks    map[string]*task // by reference
	order    []*task
	queue    *queue
	buildkit *client.Client
	source   func() (PackageSource, error)
	telling  sync.Mutex
	roots    sync.Mutex
	rootErrs map[string]error
}

// add puts an image into the run, and what is below it where it has to be built.
func (r *run) add(ctx context.Context, image Image) error {
	if r.tasks[image.Reference] != nil {
		return nil
	}
	t := &task{image: image, state: Waiting}
	switch _, err := r.Engine.Image(ctx, image.Reference); {
	case err == nil:
		t.state = Present
	case !errors.Is(err, engine.ErrNotFound):
		return fmt.Errorf("cannot ask the engine for image %s: %w", image.Reference, err)
	case image.Parent == "":
		r.queue.add(t, nil)
	default:
		parent, err := r.Catalogue.Resolve(image.Release, image.Parent)
		if err != nil {
			return err
		}
		if err := r.add(ctx, parent); err != nil {
			return err
		}
		r.queue.add(t, r.tasks[parent.Reference])
	}
	r.tasks[image.Reference] = t
	r.order = append(r.order, t)
	return nil
}

// announce tells what there is to do and what not.
func (r *run) announce() {
	for _, t := range r.order {
		event := Progress{State: t.state}
		if t.below != nil {
			event.Text = t.below.image.Name
		}
		r.tell(t, event)
	}
}

// work builds everything in the queue and returns when nothing is left.
func (r *run) work(ctx context.Context) {
	parallel := r.Parallel
	if parallel <= 0 {
		parallel = max(2, runtime.NumCPU())
	}
	var workers sync.WaitGroup
	for range parallel {
		workers.Go(func() {
			for t := r.queue.take(); t != nil; t = r.queue.take() {
				r.build(ctx, t)
				for _, held := range r.queue.finish(t) {
					r.tell(held, Progress{State: Held, Text: held.below.image.Name, Err: t.err})
				}
			}
		})
	}
	workers.Wait()
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

func (r *run) build(ctx context.Context, t *task) {
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
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("cannot build image %s: %w", t.image.Name, err)
	}
	if t.image.Parent == "" {
		if err := r.rootFS(ctx, t); err != nil {
			return err
		}
	}
	secrets, err := r.secrets(t.image)
	if err != nil {
		return err
	}
	return solve(ctx, r.buildkit, t.image, secrets, func(p Progress) { r.tell(t, p) })
}

// secrets are what a build may use but not keep: the paths are those of catalog/images/image.
func (r *run) secrets(image Image) (map[string][]byte, error) {
	const directory = "/run/build/"
	// A root file system that was pulled knows where its packages come from, unless it is said.
	if apt := r.Catalogue.override.APT; image.RootFS.Pulled && apt.Sources == "" {
		own := PackageSource{options: apt.Options}.withDefaults(image.APTOptions)
		return map[string][]byte{"apt.conf": []byte(own.configuration(""))}, nil
	}
	source, err := r.source()
	if err != nil {
		return nil, err
	}
	source = source.withDefaults(image.APTOptions)
	return map[string][]byte{
		"apt.conf":     []byte(source.configuration(directory + "sources.list")),
		"sources.list": []byte(source.list(image.Suites, directory+"keyring.gpg")),
		"keyring.gpg":  source.keyring,
	}, nil
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
	source, err := r.source()
	if err != nil {
		return err
	}
	archive, err := bootstrap(ctx, root, source.withDefaults(t.image.APTOptions), directory, log)
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
