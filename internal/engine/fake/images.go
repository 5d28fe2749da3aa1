// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"copse/internal/engine"
	"copse/internal/tree"
)

// AddImage puts images into the store; of their fields References alone is needed.
func (e *Engine) AddImage(images ...engine.Image) {
	e.lock()
	defer e.mu.Unlock()
	for _, image := range images {
		e.addImage(image)
	}
}

func (e *Engine) addImage(image engine.Image) {
	if image.ID == "" {
		image.ID = imageID(strings.Join(image.References, " "))
	}
	if image.Created.IsZero() {
		image.Created = e.now()
	}
	for _, reference := range image.References {
		e.images[reference] = image
	}
}

// imageID makes an id that is the same in each run.
func imageID(of string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(of))) }

// image returns an image by reference or id, with the references that it has now.
func (e *Engine) image(reference string) (engine.Image, bool) {
	image, found := e.images[reference]
	if !found {
		for _, name := range tree.SortedKeys(e.images) {
			if e.images[name].ID == reference {
				image, found = e.images[name], true
			}
		}
	}
	if !found && e.AnyImage && reference != "" {
		return engine.Image{ID: imageID(reference), References: []string{reference}}, true
	}
	image.References = e.references(image.ID)
	image.Labels = maps.Clone(image.Labels)
	return image, found
}

// references are the names of an image.
func (e *Engine) references(id string) []string {
	var names []string
	for _, name := range tree.SortedKeys(e.images) {
		if e.images[name].ID == id {
			names = append(names, name)
		}
	}
	return names
}

// Image implements engine.Images.
func (e *Engine) Image(ctx context.Context, reference string) (engine.Image, error) {
	var image engine.Image
	err := e.do(ctx, "Image", reference, func() error {
		found := false
		if image, found = e.image(reference); !found {
			return fmt.Errorf("no such image: %w", engine.ErrNotFound)
		}
		return nil
	})
	return image, err
}

// ListImages implements engine.Images.
func (e *Engine) ListImages(ctx context.Context, labels map[string]string) ([]engine.Image, error) {
	var list []engine.Image
	err := e.do(ctx, "ListImages", "", func() error {
		seen := map[string]bool{}
		for _, name := range tree.SortedKeys(e.images) {
			image, _ := e.image(name)
			if seen[image.ID] || !carries(image.Labels, labels) {
				continue
			}
			seen[image.ID] = true
			image.Layers = nil
			list = append(list, image)
		}
		return nil
	})
	return list, err
}

// PullImage implements engine.Images.
func (e *Engine) PullImage(ctx context.Context, reference string, progress func(string)) error {
	return e.do(ctx, "PullImage", reference, func() error {
		if e.Registry == nil {
			return fmt.Errorf("no registry: %w", engine.ErrNotFound)
		}
		image, err := e.Registry(reference)
		if err != nil {
			return err
		}
		if progress != nil {
			progress("Pulling " + reference)
		}
		image.References = []string{reference}
		e.addImage(image)
		return nil
	})
}

// LoadImage implements engine.Images: it reads the manifest of a docker-archive.
func (e *Engine) LoadImage(ctx context.Context, archive io.Reader) ([]string, error) {
	references, err := manifestReferences(archive)
	if err := e.do(ctx, "LoadImage", strings.Join(references, " "), func() error {
		if err != nil {
			return err
		}
		e.addImage(engine.Image{References: references})
		return nil
	}); err != nil {
		return nil, err
	}
	return references, nil
}

// manifestReferences reads the names in a docker-archive.
func manifestReferences(archive io.Reader) ([]string, error) {
	var references []string
	for reader := tar.NewReader(archive); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if header.Name != "manifest.json" {
			continue
		}
		var manifest []struct{ RepoTags []string }
		if err := json.NewDecoder(reader).Decode(&manifest); err != nil {
			return nil, err
		}
		for _, image := range manifest {
			references = append(references, image.RepoTags...)
		}
	}
	if len(references) == 0 {
		return nil, errors.New("the archive has no manifest that names an image")
	}
	return references, nil
}

// TagImage implements engine.Images.
func (e *Engine) TagImage(ctx context.Context, source, target string) error {
	return e.do(ctx, "TagImage", target, func() error {
		image, found := e.image(source)
		if !found {
			return fmt.Errorf("no such image %s: %w", source, engine.ErrNotFound)
		}
		e.images[target] = image
		return nil
	})
}

// RemoveImage implements engine.Images.
func (e *Engine) RemoveImage(ctx context.Context, reference string) error {
	return e.do(ctx, "RemoveImage", reference, func() error {
		image, found := e.image(reference)
		if !found {
			return fmt.Errorf("no such image: %w", engine.ErrNotFound)
		}
		names := image.References
		if image.ID != reference && len(names) > 1 {
			delete(e.images, reference)
			return nil
		}
		if len(names) > 1 {
			return fmt.Errorf("it has several references: %w", engine.ErrConflict)
		}
		for _, c := range e.sorted() {
			if c.ImageID == image.ID {
				return fmt.Errorf("container %s uses it: %w", c.Name, engine.ErrConflict)
			}
		}
		delete(e.images, slices.Concat(names, []string{reference})[0])
		return nil
	})
}
