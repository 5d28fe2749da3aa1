// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
)

// Override is an operator's changes to the catalogue: one YAML file.
type Override struct {
	// Base is the reference of a Debian image to pull as everybody's root file system, in the
	// place of one that is bootstrapped.
	Base string `yaml:"base"`
	// Serial is any text; another one makes other images of the same catalogue: a way to take
	// up the newest packages of a suite.
	Serial string            `yaml:"serial"`
	APT    APT               `yaml:"apt"`
	Images map[string]Change `yaml:"images"`
}

// APT is how packages are fetched; none of it goes into an image or its name.
type APT struct {
	// Sources is the text of a package source in apt's one-line or deb822 form, in the place of
	// the host's own.
	Sources string `yaml:"sources"`
	// Options are apt's, such as "Acquire::Check-Valid-Until": "false".
	Options map[string]string `yaml:"options"`
}

// Change is what differs for one image.
type Change struct {
	// From is the reference of an image to pull and stand on instead of the catalogue's.
	From     string   `yaml:"from"`
	Packages Packages `yaml:"packages"`
	// Blocks redefine blocks of the image's template.
	Blocks map[string]string `yaml:"blocks"`
	// Files are added to the build context: path there → path beside the override file.
	Files map[string]string `yaml:"files"`
	// Variables are set or replaced.
	Variables map[string]string `yaml:"variables"`

	files []File
}

// Packages is a change of a list of packages.
type Packages struct {
	Append []string `yaml:"append"`
	Remove []string `yaml:"remove"`
}

// LoadOverride reads an operator's override file and the files that it names, from the directory
// that it lies in.
func LoadOverride(directory fs.FS, name string) (*Override, error) {
	content, err := fs.ReadFile(directory, name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the image override: %w", err)
	}
	override := &Override{}
	if err := strictYAML(content, override, name); err != nil {
		return nil, fmt.Errorf("cannot read the image override: %w", err)
	}
	for _, image := range sortedKeys(override.Images) {
		change := override.Images[image]
		for _, target := range sortedKeys(change.Files) {
			if !fs.ValidPath(target) || target == "." {
				return nil, fmt.Errorf("cannot use the image override %s: image %s: %q is not a relative path without dots", name, image, target)
			}
			file := path.Clean(change.Files[target])
			content, err := fs.ReadFile(directory, file)
			if err != nil {
				return nil, fmt.Errorf("cannot use the image override %s: image %s: %w", name, image, err)
			}
			info, err := fs.Stat(directory, file)
			if err != nil {
				return nil, fmt.Errorf("cannot use the image override %s: image %s: %w", name, image, err)
			}
			// Only whether a file is a program is taken over, lest a umask make another image.
			mode := fs.FileMode(0o644)
			if info.Mode()&0o111 != 0 {
				mode = 0o755
			}
			change.files = append(change.files, File{Path: target, Mode: mode, Content: content})
		}
		override.Images[image] = change
	}
	return override, nil
}

// check refuses images and packages that are not there, so that a typing error is not silent.
func (o *Override) check(definitions map[string]*definition) error {
	for _, name := range sortedKeys(o.Images) {
		if definitions[name] == nil {
			return fmt.Errorf("cannot use the image override: there is no image %q; there are: %v", name, sortedKeys(definitions))
		}
	}
	return nil
}

// applyTo returns the definition with the change made.
func (c Change) applyTo(d definition) (definition, error) {
	packages := slices.Clone(d.Packages)
	for _, unwanted := range c.Packages.Remove {
		at := slices.Index(packages, unwanted)
		if at < 0 {
			return d, fmt.Errorf("package %q is to be removed but not in its list %v", unwanted, packages)
		}
		packages = slices.Delete(packages, at, at+1)
	}
	d.Packages = append(packages, c.Packages.Append...)
	variables := map[string]string{}
	for _, source := range []map[string]string{d.Variables, c.Variables} {
		for name, value := range source {
			variables[name] = value
		}
	}
	d.Variables = variables
	d.files = slices.Clone(d.files)
	for _, file := range c.files {
		d.files = slices.DeleteFunc(d.files, func(f File) bool { return f.Path == file.Path })
		d.files = append(d.files, file)
	}
	return d, nil
}
