// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/client"

	"copse/internal/engine"
)

// Image implements engine.Images.
func (e *Engine) Image(ctx context.Context, reference string) (engine.Image, error) {
	result, err := e.api.ImageInspect(ctx, reference)
	if err != nil {
		return engine.Image{}, e.fail(err, "inspect image %s", reference)
	}
	image := engine.Image{
		ID:         result.ID,
		References: references(result.RepoTags, result.RepoDigests),
		Size:       result.Size,
		Created:    parseTime(result.Created),
		Layers:     result.RootFS.Layers,
	}
	if result.Config != nil {
		image.Labels, image.Environment = result.Config.Labels, result.Config.Env
	}
	return image, nil
}

// ListImages implements engine.Images.
func (e *Engine) ListImages(ctx context.Context, labels map[string]string) ([]engine.Image, error) {
	result, err := e.api.ImageList(ctx, client.ImageListOptions{Filters: labelFilters(labels)})
	if err != nil {
		return nil, e.fail(err, "list images")
	}
	images := make([]engine.Image, 0, len(result.Items))
	for _, item := range result.Items {
		images = append(images, engine.Image{
			ID:         item.ID,
			References: references(item.RepoTags, item.RepoDigests),
			Labels:     item.Labels,
			Size:       item.Size,
			Created:    time.Unix(item.Created, 0),
		})
	}
	return images, nil
}

// references are an image's names, tags before digests. Engines before 25 write "<none>"
// where there is none.
func references(tags, digests []string) []string {
	return slices.DeleteFunc(slices.Concat(tags, digests), func(reference string) bool {
		return strings.Contains(reference, "<none>")
	})
}

// LoadImage implements engine.Images. Images without a name are given by their ids.
func (e *Engine) LoadImage(ctx context.Context, archive io.Reader) ([]string, error) {
	stream, err := e.api.ImageLoad(ctx, archive, client.ImageLoadWithQuiet(true))
	if err != nil {
		return nil, e.fail(err, "load images from an archive")
	}
	defer stream.Close()
	var loaded []string
	err = readMessages(stream, func(message jsonstream.Message) {
		// The API has no field for the names, only these two sentences.
		for line := range strings.Lines(message.Stream) {
			for _, prefix := range []string{"Loaded image: ", "Loaded image ID: "} {
				if reference, found := strings.CutPrefix(strings.TrimSpace(line), prefix); found {
					loaded = append(loaded, reference)
				}
			}
		}
	})
	if err != nil {
		return nil, e.fail(err, "load images from an archive")
	}
	if len(loaded) == 0 {
		return nil, errors.New("cannot load images from an archive: the engine found none in it; is it a docker-archive or OCI archive?")
	}
	return loaded, nil
}

// TagImage implements engine.Images.
func (e *Engine) TagImage(ctx context.Context, source, target string) error {
	_, err := e.api.ImageTag(ctx, client.ImageTagOptions{Source: source, Target: target})
	return e.fail(err, "tag image %s as %s", source, target)
}

// RemoveImage implements engine.Images. The image itself goes with its last reference, and
// the images that it was made from where nothing else needs them.
func (e *Engine) RemoveImage(ctx context.Context, reference string) error {
	_, err := e.api.ImageRemove(ctx, reference, client.ImageRemoveOptions{PruneChildren: true})
	return e.fail(err, "remove image %s", reference)
}

// readMessages reads the engine's report of a long operation to its end, and returns the
// error that it tells of.
func readMessages(stream io.Reader, handle func(jsonstream.Message)) error {
	decoder := json.NewDecoder(stream)
	for {
		var message jsonstream.Message
		if err := decoder.Decode(&message); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if message.Error != nil {
			return withStatus(message.Error)
		}
		handle(message)
	}
}

// reporter calls progress, which may be nil, with a line for each step of each layer. The
// engine repeats a step with every megabyte; the repetitions are left out.
func reporter(progress func(string)) func(jsonstream.Message) {
	last := map[string]string{}
	return func(message jsonstream.Message) {
		if progress == nil || message.Status == "" || last[message.ID] == message.Status {
			return
		}
		last[message.ID] = message.Status
		if message.ID == "" {
			progress(message.Status)
			return
		}
		progress(fmt.Sprintf("%s: %s", message.ID, message.Status))
	}
}
