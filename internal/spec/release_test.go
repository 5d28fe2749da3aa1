// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"copse/catalog"
	"copse/internal/image"
	"copse/internal/tree"
)

// TestMixedReleases: components of one cloud are at releases of their own, and a container that
// borrows an image gets it at the release of the component that the image belongs to.
func TestMixedReleases(t *testing.T) {
	files := small()
	files["sets/base/dump/compose.yaml"] = &fstest.MapFile{Data: []byte(`
services:
  api-dump:
    command: [dump]
    restart: "no"
    x-copse: {component: api, image: db, job: {timeout: 1m}}
`)}
	components := map[string]string{"api": "api", "db": "database", "away": "elsewhere"}
	tests := []struct {
		cloud string
		pins  []tree.Pin
		want  string // container's release, image's reference
		known bool
	}{
		{"{}", nil, "api 2025.1 api@2025.1, api-dump 2025.1 db@2025.1, db 2025.1 db@2025.1", true},
		// As people write it: not a number, though it looks like one.
		{"release: 2026.1", nil, "api 2026.1 api@2026.1, api-dump 2026.1 db@2026.1, db 2026.1 db@2026.1", true},
		{"releases: {api: 2026.1}", nil, "api 2026.1 api@2026.1, api-dump 2026.1 db@2025.1, db 2025.1 db@2025.1", true},
		{"releases: {database: 2026.1}", nil, "api 2025.1 api@2025.1, api-dump 2025.1 db@2026.1, db 2026.1 db@2026.1", true},
		{"release: 2026.1\nreleases: {database: 2025.2}", nil, "api 2026.1 api@2026.1, api-dump 2026.1 db@2025.2, db 2025.2 db@2025.2", true},
		{"{}", []tree.Pin{{Host: "host-1", Container: "db", Release: "2026.1"}}, "api 2025.1 api@2025.1, api-dump 2025.1 db@2026.1, db 2026.1 db@2026.1", true},
		{"releases: {api: 2026.1}", nil, "api 2026.1 api@2026.1, api-dump 2026.1 db@2026.1, db 2025.1 db@2025.1", false},
	}
	for _, test := range tests {
		opts := defaults(t)
		opts.Catalogue = files
		opts.CloudFile = write(t, "cloud.yaml", test.cloud)
		opts.Pins = test.pins
		opts.References = func(image, release string) (string, error) { return image + "@" + release, nil }
		if test.known {
			opts.ImageComponent = func(image string) (string, bool) {
				component, ok := components[image]
				return component, ok
			}
		}
		doc := load(t, opts)
		var got []string
		images := map[string]bool{}
		for _, c := range doc.Containers {
			if c.Name != "proxy" {
				got = append(got, c.Name+" "+c.Release+" "+c.Spec.Image)
				images[c.Spec.Image] = true
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(test.want, strings.Join(got, ", ")); diff != "" {
			t.Errorf("%s with pins %v (-want +got):\n%s", test.cloud, test.pins, diff)
		}
		for _, i := range doc.Images {
			if i.Name != "" && i.Reference != i.Name+"@"+i.Release {
				t.Errorf("%s: image %+v is not of its release", test.cloud, i)
			}
			delete(images, i.Reference)
		}
		if len(images) > 0 {
			t.Errorf("%s: the document lacks the images %v", test.cloud, slices.Sorted(maps.Keys(images)))
		}
	}
}

// TestShippedReleases: the shipped catalogue stands at each release that images can be made from, and
// mixed, with nothing but images and releases different.
func TestShippedReleases(t *testing.T) {
	images, err := image.Load(catalog.Files(), image.Options{Init: []byte("init")})
	if err != nil {
		t.Fatal(err)
	}
	at := func(cloud string) *tree.Document {
		opts := defaults(t)
		opts.CloudFile = write(t, "cloud.yaml", cloud)
		opts.References, opts.ImageComponent = images.Reference, images.Component
		return load(t, opts)
	}
	before := at("{}")
	for cloud, changed := range map[string]func(string) bool{
		"release: 2026.1": func(string) bool { return true },
		"releases: {keystone: 2026.1, placement: 2026.1}": func(component string) bool {
			return component == "keystone" || component == "placement"
		},
	} {
		after := at(cloud)
		if len(after.Containers) != len(before.Containers) {
			t.Fatalf("%s: %d containers, not %d", cloud, len(after.Containers), len(before.Containers))
		}
		names := map[string]string{}
		for _, i := range after.Images {
			names[i.Reference] = i.Name
		}
		for i, old := range before.Containers {
			now := after.Containers[i]
			want := "2025.1"
			if changed(old.Component) {
				want = "2026.1"
			}
			if now.Release != want {
				t.Errorf("%s: %s is at %s, want %s", cloud, now.Name, now.Release, want)
			}
			owner, _ := images.Component(names[now.Spec.Image])
			if (now.Spec.Image != old.Spec.Image) != changed(owner) {
				t.Errorf("%s: %s has the image %s, and had %s", cloud, now.Name, now.Spec.Image, old.Spec.Image)
			}
			now.Release, now.Spec.Image = old.Release, old.Spec.Image
			if diff := cmp.Diff(old, now); diff != "" {
				t.Errorf("%s: %s has more than another image (-before +after):\n%s", cloud, now.Name, diff)
			}
		}
	}
}
