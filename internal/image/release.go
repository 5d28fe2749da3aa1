// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// Release says what the images of an OpenStack release are made from: one file of
// catalog/releases.
type Release struct {
	Name string `yaml:"-"`
	// Suite is the Debian suite of the root file system and its packages.
	Suite string `yaml:"suite"`
	// Pockets of the suite that are used beside it: "updates", "security".
	Pockets []string `yaml:"pockets"`
	// APTOptions are settings of apt's that its packages are fetched with, such as
	// "Acquire::Check-Valid-Until": "false". The host's own and the operator's come before them;
	// none goes into an image or its name.
	APTOptions map[string]string `yaml:"apt_options"`
	// Images are the exceptions: what differs from the catalogue in this release.
	Images map[string]ReleaseImage `yaml:"images"`
}

// ReleaseImage is what differs for one image in one release.
type ReleaseImage struct {
	// Suites are further suites with the packages that are taken from each, and nothing else is.
	Suites map[string][]string `yaml:"suites"`
	Change `yaml:",inline"`
}

func loadReleases(source fs.FS) (map[string]Release, error) {
	entries, err := fs.ReadDir(source, ".")
	if err != nil {
		return nil, fmt.Errorf("cannot read the catalogue of releases: %w", err)
	}
	releases := map[string]Release{}
	for _, entry := range entries {
		name, isYAML := strings.CutSuffix(entry.Name(), ".yaml")
		if !isYAML {
			continue
		}
		content, err := fs.ReadFile(source, entry.Name())
		if err != nil {
			return nil, fmt.Errorf("cannot read release %s: %w", name, err)
		}
		release := Release{Name: name}
		if err := strictYAML(content, &release, path.Join("releases", entry.Name())); err != nil {
			return nil, fmt.Errorf("cannot read release %s: %w", name, err)
		}
		if err := release.validate(); err != nil {
			return nil, fmt.Errorf("cannot use release %s: %w", name, err)
		}
		releases[name] = release
	}
	return releases, nil
}

func (r Release) validate() error {
	if r.Suite == "" {
		return errors.New("it names no suite")
	}
	for _, image := range sortedKeys(r.Images) {
		for _, suite := range sortedKeys(r.Images[image].Suites) {
			if len(r.Images[image].Suites[suite]) == 0 {
				return fmt.Errorf("image %s: it names no package that is to come from %s", image, suite)
			}
		}
	}
	return nil
}

// borrowed are packages that an image takes from another suite than its release's.
type borrowed struct {
	Suite    string
	Packages []string
}

func (r Release) borrowed(image string) []borrowed {
	var all []borrowed
	for _, suite := range sortedKeys(r.Images[image].Suites) {
		all = append(all, borrowed{suite, r.Images[image].Suites[suite]})
	}
	return all
}

// suites are all that packages of an image come from, the release's own first.
func (r Release) suites(image string) []string {
	suites := []string{r.Suite}
	for _, pocket := range r.Pockets {
		suites = append(suites, r.Suite+"-"+pocket)
	}
	return append(suites, sortedKeys(r.Images[image].Suites)...)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
