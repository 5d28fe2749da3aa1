// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
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
	// Images are the exceptions: what differs from the catalogue in this release.
	Images map[string]ReleaseImage `yaml:"images"`
}

// ReleaseImage is what differs for one image in one release.
type ReleaseImage struct {
	// Suites are further suites that packages are taken from where they are newer.
	Suites []string `yaml:"suites"`
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
		if release.Suite == "" {
			return nil, fmt.Errorf("cannot use release %s: it names no suite", name)
		}
		releases[name] = release
	}
	return releases, nil
}

// suites are all that packages of an image come from, the release's own first.
func (r Release) suites(image string) []string {
	suites := []string{r.Suite}
	for _, pocket := range r.Pockets {
		suites = append(suites, r.Suite+"-"+pocket)
	}
	return append(suites, r.Images[image].Suites...)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
