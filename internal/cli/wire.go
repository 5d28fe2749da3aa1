// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"copse/catalog"
	"copse/internal/engine"
	"copse/internal/engine/docker"
	"copse/internal/image"
	"copse/internal/spec"
	"copse/internal/tree"
	"copse/internal/verify"
	"copse/internal/view"
)

// program is the rest of the program as one run of a command needs it.
type program struct {
	loader spec.Loader
	// connect connects to this host's engine, once.
	connect func(ctx context.Context) (*docker.Engine, error)
	// images and apt are set by resolve.
	images *image.Catalogue
	apt    image.APT
}

// wired puts the program together: the one place where commands meet the parts they call.
func wired() parts {
	var (
		p         program
		connected sync.Mutex
		docked    *docker.Engine
	)
	p.connect = func(ctx context.Context) (*docker.Engine, error) {
		connected.Lock()
		defer connected.Unlock()
		if docked != nil {
			return docked, nil
		}
		var err error
		docked, err = docker.Connect(ctx, "")
		return docked, err
	}
	return parts{
		resolve:  p.resolve,
		releases: p.releases,
		values:   values,
		compose: func(document *tree.Document) ([]byte, error) {
			return spec.RenderCompose(document, spec.RenderOptions{})
		},
		listImages:  p.listImages,
		buildImages: p.buildImages,
		ensureAgent: p.ensureAgent,
		runAgent:    p.runAgent,
		guestImage:  p.guestImage,
		takeGuest:   p.takeGuest,
		verify:      verify.Run,
	}
}

// loadImages reads the cloud file first, for it says which images override the catalogue's.
func (p *program) loadImages(d declaration) error {
	cloud, err := spec.ReadCloud(d.CloudFile, catalog.Files())
	if err != nil {
		return err
	}
	var options image.Options
	if cloud.Images != "" {
		directory := os.DirFS(filepath.Dir(cloud.Images))
		if options.Override, err = image.LoadOverride(directory, filepath.Base(cloud.Images)); err != nil {
			return err
		}
		p.apt = options.Override.APT
	}
	p.images, err = image.Load(cloud.Catalogue, options)
	return err
}

// releases lists what images can be made from.
func (p *program) releases(d declaration) ([]string, error) {
	if err := p.loadImages(d); err != nil {
		return nil, err
	}
	return p.images.Releases(), nil
}

func (p *program) resolve(ctx context.Context, d declaration) (*tree.Document, error) {
	if err := p.loadImages(d); err != nil {
		return nil, err
	}
	check := optionCheck{program: p}
	document, err := p.loader.Load(ctx, spec.Options{
		CloudFile: d.CloudFile, EnvFiles: d.EnvFiles, Environment: d.Environment, Address: d.Address,
		Pins: d.Pins, References: p.images.Reference, ImageComponent: p.images.Component, DefaultAddress: defaultFor(d.Former, d.Elsewhere),
		CheckOptions: func(c *tree.Container, options []string) map[string]error { return check.of(ctx, c, options) },
	})
	if err != nil {
		return nil, err
	}
	return document, check.err
}

// listImages asks the engine for each image.
func (p *program) listImages(ctx context.Context, images []tree.Image) ([]view.Image, error) {
	host, err := p.connect(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]view.Image, 0, len(images))
	for _, i := range images {
		item := view.Image{Name: i.Name, Release: i.Release, Reference: i.Reference}
		found, err := host.Image(ctx, i.Reference)
		switch {
		case err == nil:
			item.Present, item.Size, item.CreatedAt = true, found.Size, &found.Created
		case !errors.Is(err, engine.ErrNotFound):
			return nil, err
		}
		list = append(list, item)
	}
	return list, nil
}

// buildImages builds what the engine lacks; resolve has been called before.
func (p *program) buildImages(ctx context.Context, images []tree.Image, progress func(view.BuildEvent)) error {
	host, err := p.connect(ctx)
	if err != nil {
		return err
	}
	wanted := make([]image.Image, 0, len(images))
	for _, i := range images {
		resolved, err := p.images.Resolve(i.Release, i.Name)
		if err != nil {
			return err
		}
		if resolved.Reference != i.Reference {
			return fmt.Errorf("cannot build %s: the catalogue of this program makes %s of it", i.Reference, resolved.Reference)
		}
		wanted = append(wanted, resolved)
	}
	builder := image.Builder{
		Catalogue: p.images, Engine: host,
		Source:   func() (image.PackageSource, error) { return image.HostSource(os.DirFS("/"), p.apt) },
		Progress: func(e image.Progress) { progress(buildEvent(e, time.Now())) },
	}
	_, err = builder.Build(ctx, wanted)
	return err
}

// buildEvent translates an event of the builder for the view.
func buildEvent(e image.Progress, now time.Time) view.BuildEvent {
	event := view.BuildEvent{
		Time: now, Image: e.Image, Status: string(e.State), Step: e.Step, Total: e.Total, Text: e.Text, Log: e.Log,
	}
	if e.Err != nil && event.Text == "" {
		event.Text = e.Err.Error()
	}
	return event
}

// values lists the values of what is declared, which needs no image and no engine.
func values(d declaration) ([]view.Value, error) {
	found, err := spec.Values(spec.Options{
		CloudFile: d.CloudFile, EnvFiles: d.EnvFiles, Environment: d.Environment, Address: d.Address, DefaultAddress: defaultFor(d.Former, d.Elsewhere),
	})
	list := make([]view.Value, 0, len(found))
	for _, v := range found {
		list = append(list, view.Value(v))
	}
	return list, err
}
