// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Kind is what an image is for.
type Kind string

// The kinds of images.
const (
	// Layout is a template that others extend; it is never built.
	Layout Kind = "layout"
	// Base is built for others to stand on.
	Base Kind = "base"
	// Service is what containers run: it has copse-init, in its last layer.
	Service Kind = "service"
	// Data is files that are taken out of it again; nothing runs it or stands on it.
	Data Kind = "data"
)

const (
	imageFile      = "image.yaml"
	dockerfileFile = "Dockerfile"
)

// definition is catalog/images/NAME: its image.yaml, its template and its other files.
type definition struct {
	Name string `yaml:"-"`
	Kind Kind   `yaml:"kind"`
	// Extends names the image whose template this one's blocks are laid over.
	Extends string `yaml:"extends"`
	// From names the image that this one is built on; empty is the release's root file system.
	From string `yaml:"from"`
	// Component is the project whose release the image follows.
	Component string `yaml:"component"`
	// User runs the service; empty is root.
	User     string   `yaml:"user"`
	Packages []string `yaml:"packages"`
	// Exclude are patterns of paths that no package may bring, in dpkg's form; "!" before one
	// takes it back. The last that matches decides.
	Exclude []string `yaml:"exclude"`
	// ConfigFile is the configuration file that the service looks for.
	ConfigFile string `yaml:"config_file"`
	// OptionNamespaces are the entry points of oslo.config.opts whose options it has.
	OptionNamespaces []string `yaml:"option_namespaces"`
	// Variables are for the template alone.
	Variables map[string]string `yaml:"variables"`

	template string
	files    []File
}

// File is a file of a build context.
type File struct {
	Path    string // slash-separated, relative
	Mode    fs.FileMode
	Content []byte
	// digest of Content where it is known already: that of copse-init is in every image's hash.
	digest []byte
}

func (f File) sum() []byte {
	if f.digest != nil {
		return f.digest
	}
	sum := sha256.Sum256(f.Content)
	return sum[:]
}

// loadDefinitions reads all directories of images.
func loadDefinitions(source fs.FS) (map[string]*definition, error) {
	entries, err := fs.ReadDir(source, ".")
	if err != nil {
		return nil, fmt.Errorf("cannot read the catalogue of images: %w", err)
	}
	definitions := map[string]*definition{}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		directory, err := fs.Sub(source, entry.Name())
		if err != nil {
			return nil, fmt.Errorf("cannot read image %s: %w", entry.Name(), err)
		}
		if definitions[entry.Name()], err = loadDefinition(directory, entry.Name()); err != nil {
			return nil, fmt.Errorf("cannot read image %s: %w", entry.Name(), err)
		}
	}
	for _, d := range definitions {
		if err := d.validate(definitions); err != nil {
			return nil, fmt.Errorf("cannot use image %s: %w", d.Name, err)
		}
	}
	return definitions, nil
}

func loadDefinition(directory fs.FS, name string) (*definition, error) {
	d := &definition{Name: name, Kind: Service}
	err := fs.WalkDir(directory, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(directory, file)
		if err != nil {
			return err
		}
		switch file {
		case imageFile:
			return strictYAML(content, d, file)
		case dockerfileFile:
			d.template = string(content)
		default:
			d.files = append(d.files, File{Path: path.Join(name, file), Mode: 0o644, Content: content})
		}
		return nil
	})
	return d, err
}

func (d *definition) validate(all map[string]*definition) error {
	if !slices.Contains([]Kind{Layout, Base, Service, Data}, d.Kind) {
		return fmt.Errorf("kind %q is none of layout, base, service, data", d.Kind)
	}
	if d.Kind == Service && d.Component == "" {
		return errors.New("it names no component, and so no release decides about it")
	}
	if d.From != "" {
		parent, ok := all[d.From]
		if !ok {
			return fmt.Errorf("it is from %q, which is not in the catalogue", d.From)
		}
		if parent.Kind != Base {
			return fmt.Errorf("it is from %s, a %s; only a base is stood on, so that copse-init is in the last layer alone", d.From, parent.Kind)
		}
	}
	if err := acyclic(all, d.Name, func(d *definition) string { return d.From }); err != nil {
		return fmt.Errorf("from: %w", err)
	}
	if err := acyclic(all, d.Name, func(d *definition) string { return d.Extends }); err != nil {
		return fmt.Errorf("extends: %w", err)
	}
	return nil
}

// acyclic follows one kind of link until it ends.
func acyclic(all map[string]*definition, name string, next func(*definition) string) error {
	var seen []string
	for name != "" {
		if slices.Contains(seen, name) {
			return fmt.Errorf("%s leads back to itself", strings.Join(append(seen, name), " → "))
		}
		seen = append(seen, name)
		d, ok := all[name]
		if !ok {
			return fmt.Errorf("%q is not in the catalogue", name)
		}
		name = next(d)
	}
	return nil
}

// strictYAML decodes one document and refuses keys that mean nothing.
func strictYAML(content []byte, into any, file string) error {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
