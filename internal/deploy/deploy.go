// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package deploy brings a cloud into being: it takes what is declared, observes what is there,
// has a plan made, turns the plan into tasks of a change and has the handlers that do and undo
// them. It is the one place where the store, the engine, the secrets and the proxy meet.
//
// A container is replaced by one lane of tasks, so that it is atomic:
//
//	start-first   create → start → ready → switch → monitor → retire → commit
//	stop-first    create → interrupt → start → ready → switch → monitor → commit
//	held          create → hold → retire → start → ready → release → monitor → commit
//
// What interrupts does what retire does; it has a name of its own because the runner lets few of them
// work at the same time.
//
// From just before something can be interrupted until commit, or until the lane is undone, what
// clients use is asked again and again, and the window is kept with the generation.
//
// Until commit the old generation's container is kept, with the engine's restart policy set to
// "no", and everything can be undone; what commit leaves over is removed when the change ends.
package deploy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"copse/internal/change"
	"copse/internal/engine"
	"copse/internal/preflight"
	"copse/internal/probe"
	"copse/internal/store"
	"copse/internal/tree"
)

// Engine is what this package uses of a container engine.
type Engine interface {
	List(ctx context.Context, labels map[string]string) ([]engine.Container, error)
	Inspect(ctx context.Context, id string) (engine.Container, error)
	Create(ctx context.Context, name string, spec tree.Spec) (string, error)
	Start(ctx context.Context, id string) error
	Stop(ctx context.Context, id string, grace time.Duration) error
	Remove(ctx context.Context, id string, force bool) error
	SetRestartPolicy(ctx context.Context, id, policy string) error
	Wait(ctx context.Context, id string) (exitCode int, err error)
	Exec(ctx context.Context, id string, exec engine.Exec) (int, error)
	Logs(ctx context.Context, id string, options engine.LogOptions, handle func(engine.LogLine)) error
	Image(ctx context.Context, reference string) (engine.Image, error)
	ListImages(ctx context.Context, labels map[string]string) ([]engine.Image, error)
	RemoveImage(ctx context.Context, reference string) error
	ListVolumes(ctx context.Context, labels map[string]string) ([]engine.Volume, error)
	CreateVolume(ctx context.Context, name string, labels map[string]string) error
	RemoveVolume(ctx context.Context, name string) error
}

// Secrets keeps the values; this package sees versions alone.
type Secrets interface {
	// Ensure makes a first version where there is none and returns the current one.
	Ensure(secret tree.Secret) (version int, created bool, err error)
	// Rotate makes a new version and returns it.
	Rotate(secret tree.Secret) (version int, err error)
	// Versions returns the current versions by name.
	Versions() (map[string]int, error)
	// Created says when a version was made; secret.ErrNotFound where it is not kept.
	Created(name string, version int) (time.Time, error)
	// Hide replaces the values in a text by their names.
	Hide(text string) string
	// Place writes the copies for one container below a directory, one file a mount, named as the secret.
	Place(dir string, mounts []tree.SecretMount, versions map[string]int) error
}

// Router makes the proxy follow a table.
type Router interface {
	// Apply writes the table to the configuration in the proxy's directory and, where it runs,
	// makes it so.
	Apply(ctx context.Context, dir string, table []Route) error
	// Drain waits until the server in a slot has no sessions left.
	Drain(ctx context.Context, dir, frontend string, slot int) error
	// Hold has new requests to front ends wait, one front end after the other, and waits until those
	// that are open have ended; at the end of ctx all are held all the same, and it returns an error.
	Hold(ctx context.Context, dir string, frontends []string) error
	// Release lets them through, in the reverse order.
	Release(ctx context.Context, dir string, frontends []string) error
	// Sockets is the directory for the sockets of one generation of the proxy.
	Sockets(dir string, generation int) string
	// Handover lets the generation to, which is about to start, take over the listening sockets of from,
	// where that one runs; from 0 ends it.
	Handover(ctx context.Context, dir string, from, to int) error
	// Forget removes what a generation of the proxy that is gone has left.
	Forget(dir string, generation int) error
}

// Host is what this package does to the host's file system and network besides.
type Host interface {
	// WriteFiles writes a container's files below dir, named by their position.
	WriteFiles(dir string, files []tree.File) error
	// RemoveAll removes a directory below the state directory.
	RemoveAll(dir string) error
	// MakeProxyDirectory makes the directory that agent and proxy share, which the proxy only reads, and in
	// it the one for the sockets of a generation, which is the user's.
	MakeProxyDirectory(dir, sockets, user string) error
	// Listening says who listens on a port of this host, "" for nobody.
	Listening(address string, port int, protocol string) (string, error)
	// Observe looks at what preflight compares a document with.
	Observe(ctx context.Context, doc *tree.Document) (*preflight.Facts, error)
	// Outliving names the processes in the control group that a container's service has moved to,
	// that is, the service and what goes on without it; one name for each.
	Outliving(container string) ([]string, error)
	// Look says what the host lacks of what sets ask of it, by set, and what of that is refused
	// because something is in the way. It touches nothing.
	Look(ctx context.Context, preps []tree.HostPrep) (missing, refused map[string][]string, err error)
	// Prepare makes it true and tells each thing that it has done. It returns the directories that it
	// has mounted.
	Prepare(ctx context.Context, preps []tree.HostPrep, tell func(string)) (mounted []string, err error)
}

// Clock is time as an input.
type Clock interface {
	Now() time.Time
	// Sleep waits, or returns the context's error.
	Sleep(ctx context.Context, d time.Duration) error
}

// Programs runs a program inside a container: what an engine's Exec does.
type Programs interface {
	Exec(ctx context.Context, id string, exec engine.Exec) (exitCode int, err error)
}

// Options are what a Deployer works with. All fields are required but those that say what they are
// where they are left out.
type Options struct {
	Store    *store.Store
	Engine   Engine
	Secrets  Secrets
	Router   Router
	Host     Host
	Clock    Clock
	HostName string
	// StateDir is the agent's directory, under the same path on the host.
	StateDir string
	// FirstPort and LastPort bound the ports that are assigned to containers behind the proxy; 0 is 20000
	// to 23999.
	FirstPort, LastPort int
	// Interrupted is how many containers are stopped for their successors at the same time; 0 is 1. More
	// of them than the host has processors for would wait for the engine, and be away for longer each.
	Interrupted int
	// Logger is told what no client is; nil discards it.
	Logger *slog.Logger
	// Checks runs the programs of checks; nil is Engine.
	Checks Programs
	// Measure begins to ask targets, to learn how long they are away; nil measures nothing.
	Measure func(targets []probe.Target) Measurement
	// Changes are options for the runner of changes; tests set failpoints.
	Changes change.Options
}

// Deployer declares, plans and changes a cloud on one host. It is safe for concurrent use.
type Deployer struct {
	Options
	runner *change.Runner

	submitting sync.Mutex // one plan becomes a change at a time
	// occupied keeps changes and supervision apart.
	occupied occupancy
	routing  sync.Mutex // one table is applied at a time
	windows  windows
	// alone has the generations, by name, that were found to be alone before their predecessor stopped.
	alone sync.Map
}

// New returns a Deployer. Resume must be called before it takes changes.
func New(options Options) (*Deployer, error) {
	if options.Logger == nil {
		options.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if options.FirstPort == 0 {
		options.FirstPort, options.LastPort = 20000, 23999
	}
	if options.Checks == nil {
		options.Checks = options.Engine
	}
	d := &Deployer{Options: options}
	if options.Changes.Clock == nil {
		options.Changes.Clock = options.Clock.Now
	}
	if options.Changes.Log == nil {
		options.Changes.Log = options.Logger
	}
	options.Changes.Priority = priorities
	if options.Changes.PerKind == nil {
		options.Changes.PerKind = map[string]int{taskInterrupt: max(1, options.Interrupted)}
	}
	runner, err := change.NewRunner(options.Store, d.handlers(), options.Changes)
	if err != nil {
		return nil, fmt.Errorf("cannot set up the runner of changes: %w", err)
	}
	d.runner = runner
	return d, nil
}

// Resume goes on with what was unfinished and from then on takes new changes; it ends with ctx.
func (d *Deployer) Resume(ctx context.Context) error {
	d.releaseLeftover(ctx)
	return d.runner.Resume(ctx)
}

// Stop waits until the running handlers have ended; what is unfinished stays in the store.
func (d *Deployer) Stop(ctx context.Context) error {
	defer d.abandonWindows()
	return d.runner.Stop(ctx)
}

// Changes is the runner, for reading, following and aborting.
func (d *Deployer) Changes() *change.Runner { return d.runner }

// generationDir is where the agent keeps the files of one generation.
func (d *Deployer) generationDir(name string, number int) string {
	return filepath.Join(d.StateDir, "generations", tree.GenerationName(name, number))
}

// Document returns what is declared, nil where nothing is.
func (d *Deployer) Document() (*tree.Document, error) {
	var doc *tree.Document
	err := d.Store.View(func(tx *store.Tx) (err error) {
		doc, err = loadDocument(tx)
		return err
	})
	return doc, err
}

// Active returns the active generations by container name.
func (d *Deployer) Active() (map[string]*tree.Generation, error) {
	var active map[string]*tree.Generation
	err := d.Store.View(func(tx *store.Tx) (err error) {
		active, err = allActive(tx, d.HostName)
		return err
	})
	return active, err
}

// Generations returns all generations that are kept, oldest first.
func (d *Deployer) Generations() ([]tree.Generation, error) {
	var all []tree.Generation
	err := d.Store.View(func(tx *store.Tx) (err error) {
		all, err = allGenerations(tx, d.HostName)
		return err
	})
	return all, err
}

// ListChanges returns the changes that are kept, newest first.
func (d *Deployer) ListChanges() ([]*change.Change, error) {
	var changes []*change.Change
	err := d.Store.View(func(tx *store.Tx) (err error) {
		changes, err = change.List(tx, 0)
		return err
	})
	return changes, err
}
