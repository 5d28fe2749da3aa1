// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"copse/internal/osloconf"
)

// Catalogue is all that is known of images and releases. It is safe for concurrent use.
type Catalogue struct {
	definitions map[string]*definition
	releases    map[string]Release
	override    Override
	init        []byte
	initSum     []byte

	mutex    sync.Mutex
	resolved map[key]Image
}

type key struct{ release, name string }

// Options are what a catalogue is read with.
type Options struct {
	// Override is the operator's; nil is none.
	Override *Override
	// Init is the copse-init that images get; nil is the one in this program.
	Init []byte
}

// Load reads the directories images and releases of source.
func Load(source fs.FS, options Options) (*Catalogue, error) {
	images, err := fs.Sub(source, "images")
	if err != nil {
		return nil, fmt.Errorf("cannot read the catalogue of images: %w", err)
	}
	releases, err := fs.Sub(source, "releases")
	if err != nil {
		return nil, fmt.Errorf("cannot read the catalogue of releases: %w", err)
	}
	c := &Catalogue{init: options.Init, resolved: map[key]Image{}}
	if c.definitions, err = loadDefinitions(images); err != nil {
		return nil, err
	}
	if c.releases, err = loadReleases(releases); err != nil {
		return nil, err
	}
	for name, release := range c.releases {
		for image := range release.Images {
			if c.definitions[image] == nil {
				return nil, fmt.Errorf("cannot use release %s: there is no image %q", name, image)
			}
		}
	}
	if options.Override != nil {
		c.override = *options.Override
		if err := c.override.check(c.definitions); err != nil {
			return nil, err
		}
	}
	if c.init == nil {
		if c.init, err = EmbeddedInit(); err != nil && !errors.Is(err, ErrNoInit) {
			return nil, fmt.Errorf("cannot read the embedded copse-init: %w", err)
		}
	}
	c.initSum = File{Content: c.init}.sum()
	return c, nil
}

// Releases returns the names of all releases, in order.
func (c *Catalogue) Releases() []string { return sortedKeys(c.releases) }

// Images returns the names of all images that containers run, in order; an unknown release has
// none.
func (c *Catalogue) Images(release string) []string {
	if _, ok := c.releases[release]; !ok {
		return nil
	}
	return slices.DeleteFunc(sortedKeys(c.definitions), func(name string) bool {
		return c.definitions[name].Kind != Service
	})
}

// Component returns the component that an image belongs to, and whether there is such an image.
func (c *Catalogue) Component(name string) (string, bool) {
	d, ok := c.definitions[name]
	if !ok || d.Kind != Service {
		return "", false
	}
	return d.Component, true
}

// Reference returns the reference of an image: "copse/keystone:2025.1-0123456789ab".
func (c *Catalogue) Reference(name, release string) (string, error) {
	image, err := c.Resolve(release, name)
	return image.Reference, err
}

// optionCollector is the program that writes an image's list of options.
func optionCollector() File {
	return File{Path: "tools/collect_options.py", Mode: 0o644, Content: []byte(osloconf.Collector())}
}
