// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"copse/internal/change"
	"copse/internal/engine"
	"copse/internal/store"
	"copse/internal/tree"
)

// labelImage is on every image that Copse builds: its name in the catalogue.
const labelImage = "copse.image"

// Pruned is an image that nothing needs.
type Pruned struct {
	Image engine.Image
	// Err says why it could not be removed; nil where it was, or only would be.
	Err error
}

// Prune removes the images of ours that nothing needs: no generation that can be gone back to, not
// what is declared, no container in the engine, and no process that has outlived its container. With
// dry it only says which. It is refused while a change is at work, for that may need images that
// nothing speaks of yet.
func (d *Deployer) Prune(ctx context.Context, dry bool) ([]Pruned, error) {
	d.submitting.Lock()
	defer d.submitting.Unlock()
	if err := d.runner.Busy([]string{change.Everything}); err != nil {
		return nil, err
	}
	images, err := d.ourImages(ctx)
	if err != nil {
		return nil, err
	}
	needed, err := d.neededImages(ctx)
	if err != nil {
		return nil, err
	}
	pruned := []Pruned{}
	for _, image := range collectable(images, needed) {
		p := Pruned{Image: image}
		if !dry {
			p.Err = d.removeImage(ctx, image)
		}
		pruned = append(pruned, p)
	}
	return pruned, nil
}

// ourImages returns the images that Copse has built, of services and of its agent, with their layers.
func (d *Deployer) ourImages(ctx context.Context) ([]engine.Image, error) {
	var ours []engine.Image
	for _, label := range []string{labelImage, tree.LabelAgent} {
		images, err := d.Engine.ListImages(ctx, map[string]string{label: ""})
		if err != nil {
			return nil, fmt.Errorf("cannot list the images: %w", err)
		}
		for _, listed := range images {
			image, err := d.Engine.Image(ctx, listed.ID)
			if errors.Is(err, engine.ErrNotFound) {
				continue // somebody has just removed it
			}
			if err != nil {
				return nil, fmt.Errorf("cannot look at image %s: %w", listed.ID, err)
			}
			ours = append(ours, image)
		}
	}
	return ours, nil
}

// neededImages are those that must stay.
type neededImages struct {
	// ids and references name images in use.
	ids, references map[string]bool
	// repositories are kept whole: from one of their images a process runs that has outlived its
	// container, and of which generation it is nobody has written down.
	repositories map[string]bool
}

func (d *Deployer) neededImages(ctx context.Context) (*neededImages, error) {
	needed := &neededImages{ids: map[string]bool{}, references: map[string]bool{}, repositories: map[string]bool{}}
	var generations []tree.Generation
	err := d.Store.View(func(tx *store.Tx) error {
		doc, err := loadDocument(tx)
		if err != nil {
			return err
		}
		if doc != nil {
			for _, image := range doc.Images {
				needed.references[image.Reference] = true
			}
			for i := range doc.Containers {
				needed.references[doc.Containers[i].Spec.Image] = true
			}
		}
		generations, err = allGenerations(tx, d.HostName)
		return err
	})
	if err != nil {
		return nil, err
	}
	containers, err := d.Engine.List(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot list the containers: %w", err)
	}
	for _, c := range containers {
		needed.ids[c.ImageID], needed.references[c.Image] = true, true
	}
	for _, g := range generations {
		switch g.State {
		case tree.Active, tree.Preparing, tree.Superseded:
			needed.references[g.Container.Spec.Image] = true
		}
		repository := repositoryOf(g.Container.Spec.Image)
		if !g.Container.OwnCgroup || needed.repositories[repository] {
			continue
		}
		programs, err := d.Host.Outliving(g.Container.Name)
		if err != nil {
			return nil, fmt.Errorf("cannot tell what runs in the control group of %s: %w", g.Container.Name, err)
		}
		if len(programs) > 0 {
			needed.repositories[repository] = true
		}
	}
	return needed, nil
}

// collectable returns the images that are not needed, by reference. What a needed image was built on
// is needed to build its successor, and takes no room beside it. Of an image that is no container's,
// such as the guest of "copse verify", the newest stays.
func collectable(images []engine.Image, needed *neededImages) []engine.Image {
	stays := make([]bool, len(images))
	known := map[string]bool{} // names of which some image stays
	for i, image := range images {
		stays[i] = needed.ids[image.ID] || slices.ContainsFunc(image.References, func(r string) bool {
			return needed.references[r] || needed.repositories[repositoryOf(r)]
		})
	}
	keepBases := func() {
		for i, image := range images {
			stays[i] = stays[i] || isBase(image, images, stays)
			known[image.Labels[labelImage]] = known[image.Labels[labelImage]] || stays[i]
		}
	}
	keepBases()
	newest := map[string]int{}
	for i, image := range images {
		name := image.Labels[labelImage]
		if n, seen := newest[name]; name != "" && !known[name] && (!seen || image.Created.After(images[n].Created)) {
			newest[name] = i
		}
	}
	for _, i := range newest {
		stays[i] = true
	}
	keepBases()
	var free []engine.Image
	for i, image := range images {
		if !stays[i] {
			free = append(free, image)
		}
	}
	slices.SortFunc(free, func(a, b engine.Image) int {
		return cmp.Or(slices.Compare(a.References, b.References), strings.Compare(a.ID, b.ID))
	})
	return free
}

// isBase reports whether an image that stays was built on this one: its layers begin with all of this.
func isBase(image engine.Image, images []engine.Image, stays []bool) bool {
	for i, other := range images {
		if n := len(image.Layers); stays[i] && n > 0 && len(other.Layers) >= n && slices.Equal(other.Layers[:n], image.Layers) {
			return true
		}
	}
	return false
}

// repositoryOf is a reference without its tag or digest.
func repositoryOf(reference string) string {
	reference, _, _ = strings.Cut(reference, "@")
	if i := strings.LastIndexByte(reference, ':'); i > strings.LastIndexByte(reference, '/') {
		reference = reference[:i]
	}
	return reference
}

// removeImage removes an image with all its tags; the engine refuses what a container uses.
func (d *Deployer) removeImage(ctx context.Context, image engine.Image) error {
	tags := slices.DeleteFunc(slices.Clone(image.References), func(r string) bool { return strings.Contains(r, "@") })
	if len(tags) == 0 {
		tags = []string{image.ID}
	}
	for _, tag := range tags {
		if err := d.Engine.RemoveImage(ctx, tag); err != nil && !errors.Is(err, engine.ErrNotFound) {
			return fmt.Errorf("cannot remove image %s: %w", tag, err)
		}
	}
	return nil
}
