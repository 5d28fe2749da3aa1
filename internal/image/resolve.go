// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Repository is the prefix of the references of all images.
const Repository = "copse/"

// Labels of every image.
const (
	LabelImage   = "copse.image"
	LabelRelease = "copse.release"
	LabelContent = "copse.content"
)

// formatVersion is part of every hash: another way to build makes other images.
const formatVersion = "1"

// tagDigits is how much of the hash is in a tag.
const tagDigits = 12

// Image is an image with all that is needed to build it.
type Image struct {
	Name      string
	Kind      Kind
	Release   string
	Component string
	// Reference is what containers name it by; its tag ends in the start of Content.
	Reference string
	// Content is the hash, in hexadecimal, of everything that goes in.
	Content string
	// Parent is the name of the image below, "" where that is RootFS.
	Parent string
	// From is the reference of what is below.
	From       string
	Dockerfile string
	// Context is the build context, sorted by path.
	Context []File
	// Suites are the Debian suites that its packages come from.
	Suites []string
	// APTOptions are the release's own settings for fetching packages; no part of Content.
	APTOptions map[string]string
	// RootFS is what the lowest image stands on.
	RootFS RootFS
}

// RootFS is the file system that the lowest image stands on.
type RootFS struct {
	Reference string
	// Pulled says that it comes from a registry; otherwise it is bootstrapped.
	Pulled bool
	Suite  string
	// Suites are those that a bootstrap may take packages from.
	Suites []string
	// Exclude are dpkg's options for a bootstrap.
	Exclude []byte
}

// links are the names of the Kolla container API; all lead to copse-init.
func links() []string {
	return []string{
		"healthcheck_curl", "healthcheck_filemod", "healthcheck_listen", "healthcheck_port", "healthcheck_socket",
		"kolla_copy_cacerts", "kolla_install_projects", "kolla_set_configs", "kolla_start",
	}
}

// Resolve renders an image of a release and names it. It touches nothing but memory.
func (c *Catalogue) Resolve(release, name string) (Image, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	image, err := c.resolve(release, name)
	if err != nil {
		return Image{}, fmt.Errorf("cannot resolve image %s of release %s: %w", name, release, err)
	}
	return image, nil
}

func (c *Catalogue) resolve(releaseName, name string) (Image, error) {
	if image, ok := c.resolved[key{releaseName, name}]; ok {
		return image, nil
	}
	release, ok := c.releases[releaseName]
	if !ok {
		return Image{}, fmt.Errorf("there is no such release; there are: %s", strings.Join(c.Releases(), ", "))
	}
	original, ok := c.definitions[name]
	if !ok || original.Kind == Layout {
		return Image{}, fmt.Errorf("there is no such image; there are: %s", strings.Join(c.Images(releaseName), ", "))
	}
	if original.Kind == Service && c.init == nil {
		return Image{}, ErrNoInit
	}
	changed := *original
	for _, change := range c.changes(release, name) {
		var err error
		if changed, err = change.applyTo(changed); err != nil {
			return Image{}, err
		}
	}
	image := Image{
		Name: name, Kind: changed.Kind, Release: releaseName, Component: changed.Component,
		Suites: release.suites(name), APTOptions: release.APTOptions,
	}
	if err := c.below(&image, release, changed.From); err != nil {
		return Image{}, err
	}
	layers, files := c.layers(release, changed)
	var err error
	image.Dockerfile, err = render(layers, data{
		Name: name, Kind: changed.Kind, Component: changed.Component, Release: releaseName, Suite: release.Suite,
		Suites: image.Suites, Borrowed: release.borrowed(name), Serial: c.override.Serial,
		From: image.From, User: changed.User, Packages: changed.Packages, Exclude: changed.Exclude,
		ConfigFile:       changed.ConfigFile,
		OptionNamespaces: changed.OptionNamespaces, Variables: changed.Variables,
	})
	if err != nil {
		return Image{}, err
	}
	if len(changed.OptionNamespaces) > 0 {
		files = append(files, optionCollector())
	}
	image.Context = c.context(changed.Kind, files)
	image.Content = contentHash(image, c.override.Serial)
	image.Reference = Repository + name + ":" + releaseName + "-" + image.Content[:tagDigits]
	c.resolved[key{releaseName, name}] = image
	return image, nil
}

// changes are what differs from the catalogue for an image: the release's, then the operator's.
func (c *Catalogue) changes(release Release, name string) []Change {
	var changes []Change
	if change, ok := release.Images[name]; ok {
		changes = append(changes, change.Change)
	}
	if change, ok := c.override.Images[name]; ok {
		changes = append(changes, change)
	}
	return changes
}

// below sets what the image stands on.
func (c *Catalogue) below(image *Image, release Release, from string) error {
	for _, change := range c.changes(release, image.Name) {
		if change.From != "" {
			image.RootFS = RootFS{Reference: change.From, Pulled: true}
		}
	}
	switch {
	case image.RootFS.Pulled:
	case from == "":
		image.RootFS = c.rootFS(release)
	default:
		parent, err := c.resolve(release.Name, from)
		if err != nil {
			return fmt.Errorf("below it, image %s: %w", from, err)
		}
		image.Parent, image.From, image.RootFS = parent.Name, parent.Reference, parent.RootFS
		return nil
	}
	image.From = image.RootFS.Reference
	return nil
}

// layers are the texts that make an image's Dockerfile, the layout's first, and the files that
// come with them.
func (c *Catalogue) layers(release Release, d definition) ([]layer, []File) {
	var layers []layer
	var files []File
	for at := &d; at != nil; at = c.definitions[at.Extends] {
		var own []layer
		if at.template != "" {
			own = append(own, layer{at.Name, at.template})
		}
		for i, change := range c.changes(release, at.Name) {
			if len(change.Blocks) > 0 {
				own = append(own, layer{fmt.Sprintf("change %d of %s", i+1, at.Name), blocksText(change.Blocks)})
			}
			if at != &d {
				files = append(files, change.files...)
			}
		}
		layers = append(own, layers...)
		files = append(files, at.files...)
	}
	return layers, files
}

// blocksText writes blocks as a template's text.
func blocksText(blocks map[string]string) string {
	var text strings.Builder
	for _, name := range sortedKeys(blocks) {
		fmt.Fprintf(&text, "{{define %q}}%s{{end}}\n", name, blocks[name])
	}
	return text.String()
}

func (c *Catalogue) context(kind Kind, files []File) []File {
	if kind == Service {
		files = append(files, File{Path: "program/copse-init", Mode: 0o755, Content: c.init, digest: c.initSum})
		for _, link := range links() {
			files = append(files, File{Path: "program/" + link, Mode: fs.ModeSymlink | 0o777, Content: []byte("copse-init")})
		}
	}
	slices.SortStableFunc(files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	// The first of a path is the one nearest to the image.
	return slices.CompactFunc(files, func(a, b File) bool { return a.Path == b.Path })
}

// rootFS is the release's root file system: the operator's, or one to be bootstrapped.
func (c *Catalogue) rootFS(release Release) RootFS {
	if c.override.Base != "" {
		return RootFS{Reference: c.override.Base, Pulled: true}
	}
	root := RootFS{Suite: release.Suite, Suites: release.suites("")}
	for _, file := range c.definitions["base"].bootstrapFiles() {
		root.Exclude = append(root.Exclude, file.Content...)
	}
	hash := sha256.New()
	encoded := json.NewEncoder(hash)
	// Encoding strings and bytes into a hash cannot fail.
	_ = encoded.Encode([]any{formatVersion, root.Suites, root.Exclude, bootstrapOptions(), c.override.Serial})
	root.Reference = Repository + "rootfs:" + release.Suite + "-" + hex.EncodeToString(hash.Sum(nil))[:tagDigits]
	return root
}

// bootstrapFiles are the files of a definition that a bootstrap uses.
func (d *definition) bootstrapFiles() []File {
	if d == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(d.files), func(f File) bool { return !strings.HasSuffix(f.Path, "/dpkg.cfg") })
}

// contentHash is over all that decides what is in an image. What is below it is in the Dockerfile
// by its reference, which is a hash itself.
func contentHash(image Image, serial string) string {
	hash := sha256.New()
	encoded := json.NewEncoder(hash)
	_ = encoded.Encode([]any{formatVersion, image.Name, image.Release, image.Suites, serial, image.Dockerfile})
	for _, file := range image.Context {
		_ = encoded.Encode([]any{file.Path, uint32(file.Mode), file.sum()})
	}
	return hex.EncodeToString(hash.Sum(nil))
}
