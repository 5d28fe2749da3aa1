// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package spec makes the cloud document out of what is declared: the sets of a catalogue,
// which are Compose files, the operator's cloud file and values.
//
// Reading comes first (ReadCloud, the catalogue, env files, the address of the default route);
// what follows is pure and deterministic: the same input gives the same document.
package spec

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"copse/catalog"
	"copse/internal/tree"
)

// Options are what a document is made from.
type Options struct {
	// CloudFile is the path of the cloud file; "" is cloud.yaml, which may be missing.
	CloudFile string
	// EnvFiles are files of KEY=VALUE lines that set values; later ones win.
	EnvFiles []string
	// Environment is in the form of os.Environ. Only names that the catalogue declares as
	// values are looked at.
	Environment []string
	// Address sets the value ADDRESS above everything else; "" leaves it.
	Address string
	// DefaultAddress finds the address of the default route. It is called only where a value
	// needs it; nil means that there is none.
	DefaultAddress func() (string, error)
	// Host is the host that containers run on; "" is the machine's own name.
	Host string
	// Catalogue has sets/, env/ and values.yaml; nil is the one that comes with the program.
	Catalogue fs.FS
	// Pins are those in force: their releases win over the cloud file's, and they go into the document.
	Pins []tree.Pin
	// References gives the content tag of an image of the catalogue at a release. nil gives
	// references without a hash, for callers that only look.
	References func(image, release string) (string, error)
	// ImageComponent gives the component that an image of the catalogue belongs to; false where there
	// is no such image. nil takes each image for one of the component of the container that runs it.
	ImageComponent func(image string) (component string, ok bool)
	// CheckOptions is asked about the configuration options (OS_GROUP__OPTION) that an operator
	// gave to a container, and returns what is wrong with each by its name; nil asks nobody.
	CheckOptions func(container *tree.Container, options []string) map[string]error
}

// Loader loads documents and remembers the Compose files it has seen. It may be used by many
// goroutines. The zero value is ready.
type Loader struct {
	cache composeCache
}

// Load makes the cloud document once; see Loader.Load.
func Load(ctx context.Context, opts Options) (*tree.Document, error) {
	return new(Loader).Load(ctx, opts)
}

// Load makes the cloud document. All faults that can be found together are reported together,
// each an *Error that names file, line and object.
func (l *Loader) Load(ctx context.Context, opts Options) (*tree.Document, error) {
	in, err := read(opts)
	if err != nil {
		return nil, err
	}
	return l.resolve(ctx, in)
}

// input is everything that a document is made from, read.
type input struct {
	options   Options
	host      string
	cloud     *Cloud
	catalogue *catalogueFiles
	envFiles  []*source
}

// read does the reading for Load.
func read(opts Options) (*input, error) {
	if opts.Catalogue == nil {
		opts.Catalogue = catalog.Files()
	}
	in := &input{options: opts, host: opts.Host}
	var err error
	if in.host == "" {
		if in.host, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("cannot find the name of this host: %w; give it one with hostname(1)", err)
		}
	}
	if in.cloud, err = ReadCloud(opts.CloudFile, opts.Catalogue); err != nil {
		return nil, err
	}
	if in.catalogue, err = readCatalogue(in.cloud.layers); err != nil {
		return nil, err
	}
	for _, name := range opts.EnvFiles {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("cannot read the env file: %w", err)
		}
		in.envFiles = append(in.envFiles, &source{name: name, content: content})
	}
	return in, nil
}

// resolve is the pure part of Load, but for the functions that the options bring.
func (l *Loader) resolve(ctx context.Context, in *input) (*tree.Document, error) {
	values, err := in.values()
	if err != nil {
		return nil, err
	}
	b := &builder{input: in, values: values}
	if err := b.parseSets(ctx, l); err != nil {
		return nil, err
	}
	steps := []func(){b.declare, b.containers, b.link, b.applyFiles, b.checkSecrets, b.checkHost, b.checkOptions}
	for _, step := range steps {
		step()
		if len(b.faults) > 0 {
			return nil, errors.Join(b.faults...)
		}
	}
	return b.document(), nil
}
