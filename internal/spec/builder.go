// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"golang.org/x/sync/errgroup"

	"copse/internal/nearest"
	"copse/internal/tree"
)

// builder puts a document together. Its steps are methods that add to faults.
type builder struct {
	input  *input
	values map[string]string
	faults []error

	sets []*parsedSet
	// envFiles and envFaults remember what shared environment files came to, by name.
	envFiles  map[string]map[string]string
	envFaults map[string][]error

	secrets map[string]*declaredSecret
	volumes map[string]*parsedSet // by name, the set that declares it
	shared  map[string]string     // by the engine's name of a volume, why several components write to it
	made    []*madeContainer
	byName  map[string]*madeContainer
	// elsewhere has the containers of sets that the cloud leaves out, by name.
	elsewhere map[string]*parsedSet
	images    map[string]tree.Image // by reference
}

// parsedSet is one set of the catalogue.
type parsedSet struct {
	path        string
	src         *source
	project     *types.Project
	description string
	openrc      map[string]string
	host        *tree.HostPrep // nil where the set asks nothing of it
	selected    bool
}

type declaredSecret struct {
	tree.Secret
	set  *parsedSet
	used bool
}

// madeContainer is a container with what is known about where it came from.
type madeContainer struct {
	tree.Container
	set *parsedSet
	// imageName is the image's name in the catalogue, "" for one from elsewhere.
	imageName string
	// given has the place of each environment variable that the operator gave.
	given map[string]*Error
}

func (m *madeContainer) fault(key string, format string, args ...any) *Error {
	return m.set.src.fault(append([]string{"services", m.Name}, strings.Split(key, ".")...), format, args...)
}

// pin returns the pin of a container, or nil.
func (b *builder) pin(container string) *tree.Pin {
	for i := range b.input.options.Pins {
		if p := &b.input.options.Pins[i]; p.Container == container && p.Host == b.input.host {
			return p
		}
	}
	return nil
}

func (b *builder) fault(err error) { b.faults = append(b.faults, err) }

func (b *builder) interpolate(text string) (string, error) {
	return interpolate(text, func(name string) (string, bool) {
		value, ok := b.values[name]
		return value, ok
	}, tree.SortedKeys(b.values))
}

// parseSets reads the Compose files of all sets, those that the cloud leaves out included,
// since messages speak of them.
func (b *builder) parseSets(ctx context.Context, l *Loader) error {
	b.envFiles, b.envFaults = map[string]map[string]string{}, map[string][]error{}
	files := b.input.catalogue.sets
	for _, set := range tree.SortedKeys(files) {
		b.sets = append(b.sets, &parsedSet{path: set, src: files[set]})
	}
	faults := make([]error, len(b.sets))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i, set := range b.sets {
		group.Go(func() error {
			set.project, faults[i] = l.parseCompose(ctx, set.src, b.values)
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	b.selectSets()
	return errors.Join(b.faults...)
}

// selectSets marks the sets that the cloud file names, with all below them; none means all.
func (b *builder) selectSets() {
	names := make([]string, len(b.sets))
	for i, set := range b.sets {
		names[i] = set.path
	}
	for i, name := range b.input.cloud.file.Sets {
		if !slices.Contains(names, name) {
			b.fault(b.input.cloud.src.fault([]string{"sets", fmt.Sprint(i)}, "there is no set %q%s; the catalogue has %s", name, nearest.Hint(name, names), strings.Join(names, ", ")))
		}
	}
	for _, set := range b.sets {
		chosen := b.input.cloud.file.Sets
		set.selected = len(chosen) == 0 || slices.ContainsFunc(chosen, func(name string) bool { return tree.InSet(set.path, name) })
		hasMembers := len(set.project.Services) > 0 || slices.ContainsFunc(names, func(name string) bool { return name != set.path && tree.InSet(name, set.path) })
		if !hasMembers {
			b.fault(&Error{File: set.src.name, Object: "set " + set.path, Reason: "has neither a container nor a subset; add one below services, or remove the file"})
		}
		d := decoder{src: set.src}
		var ext setExtension
		d.extensionOf(set.project.Extensions, &ext, nil)
		set.description, set.openrc = ext.Description, ext.OpenRC
		for _, name := range tree.SortedKeys(ext.OpenRC) {
			if !tree.IsClientVariable(name) {
				d.fault([]string{extension, "openrc", name}, "is no variable of the openstack client; they begin with OS_")
			}
		}
		set.host = d.hostPrep(ext.Host, tree.HostPrep{Host: b.input.host, Set: set.path})
		b.faults = append(b.faults, d.faults...)
	}
}

// declare collects what sets declare for all: secrets and volumes.
func (b *builder) declare() {
	b.secrets, b.volumes, b.shared = map[string]*declaredSecret{}, map[string]*parsedSet{}, map[string]string{}
	for _, set := range b.sets {
		for _, name := range tree.SortedKeys(set.project.Secrets) {
			at := []string{"secrets", name}
			if other := b.secrets[name]; other != nil {
				b.fault(set.src.fault(at, "is declared in %s as well; declare it once, use it in both", other.set.src.name))
				continue
			}
			d := decoder{src: set.src}
			var ext secretExtension
			d.extensionOf(set.project.Secrets[name].Extensions, &ext, at)
			kinds := []string{"base64", "hex", "password"}
			if len(d.faults) == 0 && !slices.Contains(kinds, ext.Generate) {
				d.fault(append(at, extension, "generate"), "unknown kind %q%s; known are %v", ext.Generate, nearest.Hint(ext.Generate, kinds), kinds)
			}
			setDefault(&ext.Length, 32)
			if ext.Length < 16 || ext.Length > 1024 {
				d.fault(append(at, extension, "length"), "%d is not between 16 and 1024", ext.Length)
			}
			b.faults = append(b.faults, d.faults...)
			b.secrets[name] = &declaredSecret{set: set, Secret: tree.Secret{
				Name: name, Description: ext.Description, Generate: tree.Generator{Kind: ext.Generate, Length: ext.Length},
			}}
		}
		for _, name := range tree.SortedKeys(set.project.Volumes) {
			if other := b.volumes[name]; other != nil {
				b.fault(set.src.fault([]string{"volumes", name}, "is declared in %s as well; declare it once, use it in both", other.src.name))
				continue
			}
			b.volumes[name] = set
			d := decoder{src: set.src}
			var ext volumeExtension
			d.extensionOf(set.project.Volumes[name].Extensions, &ext, []string{"volumes", name})
			b.faults = append(b.faults, d.faults...)
			b.shared[b.volumeName(name)] = ext.Shared
		}
	}
}

// containers makes a container of each service of the selected sets.
func (b *builder) containers() {
	b.byName, b.elsewhere, b.images = map[string]*madeContainer{}, map[string]*parsedSet{}, map[string]tree.Image{}
	owner := map[string]*parsedSet{}
	for _, set := range b.sets {
		for _, name := range tree.SortedKeys(set.project.Services) {
			if other := owner[name]; other != nil {
				b.fault(set.src.fault([]string{"services", name}, "%s has a container of that name as well; a name is used once in a cloud", other.src.name))
				continue
			}
			owner[name] = set
			if !set.selected {
				b.elsewhere[name] = set
				continue
			}
			service := set.project.Services[name]
			c := b.container(set, &service)
			b.made = append(b.made, c)
			b.byName[name] = c
		}
	}
	b.applyOptions()
	b.resolveImages()
}

// document puts the parts together, in an order that depends on nothing but their names.
func (b *builder) document() *tree.Document {
	cloud := b.input.cloud
	doc := &tree.Document{Version: tree.DocumentVersion, Cloud: cloud.Name, Values: b.values, Pins: b.pins()}
	for _, set := range b.sets {
		if set.selected {
			doc.Sets = append(doc.Sets, tree.Set{Path: set.path, Description: set.description})
			if set.host != nil {
				doc.HostPrep = append(doc.HostPrep, *set.host)
			}
			for name, value := range set.openrc {
				if doc.OpenRC == nil {
					doc.OpenRC = map[string]string{}
				}
				doc.OpenRC[name] = value
			}
		}
	}
	volumes := map[string]bool{}
	for _, c := range b.made {
		doc.Containers = append(doc.Containers, c.Container)
		for _, m := range c.Spec.Mounts {
			if m.Type == tree.NamedVolume {
				volumes[m.Source] = true
			}
		}
	}
	for _, name := range tree.SortedKeys(volumes) {
		doc.Volumes = append(doc.Volumes, tree.Volume{Host: b.input.host, Name: name, Shared: b.shared[name]})
	}
	for _, name := range tree.SortedKeys(b.secrets) {
		if b.secrets[name].used {
			doc.Secrets = append(doc.Secrets, b.secrets[name].Secret)
		}
	}
	for _, reference := range tree.SortedKeys(b.images) {
		doc.Images = append(doc.Images, b.images[reference])
	}
	return doc
}

func readFile(files fs.FS, name string) ([]byte, error) {
	content, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot read it: %w", path.Clean(name), err)
	}
	return content, nil
}
