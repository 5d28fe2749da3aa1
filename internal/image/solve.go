// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/frontend/dockerfile/builder"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/moby/buildkit/util/entitlements"
	"github.com/opencontainers/go-digest"
	"github.com/tonistiigi/fsutil"
)

// hijacker opens raw connections to an engine.
type hijacker interface {
	DialHijack(ctx context.Context, path, proto string, meta map[string][]string) (net.Conn, error)
}

// connect returns a client of the engine's own BuildKit. Its HTTP API upgrades /grpc to a
// connection for control and /session to one on which BuildKit asks for files and secrets.
func connect(ctx context.Context, engine hijacker) (*client.Client, error) {
	buildkit, err := client.New(ctx, "",
		client.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return engine.DialHijack(ctx, "/grpc", "h2c", nil)
		}),
		client.WithSessionDialer(func(ctx context.Context, proto string, meta map[string][]string) (net.Conn, error) {
			return engine.DialHijack(ctx, "/session", proto, meta)
		}))
	if err != nil {
		return nil, fmt.Errorf("cannot reach BuildKit in the container engine: %w", err)
	}
	return buildkit, nil
}

// solve builds one image and stores it in the engine under its reference. Steps and logs are told
// to observe, from one goroutine.
func solve(ctx context.Context, buildkit *client.Client, image Image, secrets map[string][]byte, observe func(Progress)) error {
	dockerfile := []File{{Path: "Dockerfile", Mode: 0o644, Content: []byte(image.Dockerfile)}}
	options := client.SolveOpt{
		Exports: []client.ExportEntry{{Type: "moby", Attrs: map[string]string{"name": image.Reference}}},
		LocalMounts: map[string]fsutil.FS{
			"context":    newMemory(image.Context),
			"dockerfile": newMemory(dockerfile),
		},
		FrontendAttrs: map[string]string{
			"filename": "Dockerfile",
			// What an image stands on is in the engine already: built, loaded or pulled.
			"image-resolve-mode":    "local",
			"force-network-mode":    "host",
			"label:" + LabelImage:   image.Name,
			"label:" + LabelRelease: image.Release,
			"label:" + LabelContent: image.Content,
		},
		// BuildKit keeps a context under this key and takes files of the same size and age as
		// unchanged; ours are all of one age, so only the same content may share a key.
		SharedKey:           "copse/" + image.Content,
		AllowedEntitlements: []string{entitlements.EntitlementNetworkHost.String()},
		Session:             []session.Attachable{secretsprovider.FromMap(secrets)},
	}
	statuses := make(chan *client.SolveStatus)
	watched := make(chan *watcher)
	go func() {
		w := &watcher{observe: observe, began: time.Now(), vertices: map[digest.Digest]client.Vertex{}, logs: map[digest.Digest]*tail{}}
		for status := range statuses {
			w.take(status)
		}
		watched <- w
	}()
	// Build closes statuses when it is done.
	_, err := buildkit.Build(ctx, options, "copse", builder.Build, statuses)
	w := <-watched
	if err == nil {
		return nil
	}
	if w.failed == "" || ctx.Err() != nil {
		return fmt.Errorf("cannot build image %s: %w", image.Name, err)
	}
	vertex := w.vertices[w.failed]
	_, _, text := splitStep(vertex.Name)
	return &StepError{Image: image.Name, Instruction: text, Log: w.logs[w.failed].all(), Err: err}
}

// watcher turns BuildKit's view of a build into events.
type watcher struct {
	observe  func(Progress)
	began    time.Time
	vertices map[digest.Digest]client.Vertex
	logs     map[digest.Digest]*tail
	failed   digest.Digest
}

func (w *watcher) take(status *client.SolveStatus) {
	for _, vertex := range status.Vertexes {
		before := w.vertices[vertex.Digest]
		w.vertices[vertex.Digest] = *vertex
		if vertex.Error != "" && w.failed == "" {
			w.failed = vertex.Digest
		}
		step, total, text := splitStep(vertex.Name)
		if total > 0 && vertex.Started != nil && (before.Started == nil || vertex.Cached && !before.Cached) {
			w.observe(Progress{State: Building, Step: step, Total: total, Text: text, Cached: vertex.Cached, Elapsed: time.Since(w.began)})
		}
	}
	for _, log := range status.Logs {
		if w.logs[log.Vertex] == nil {
			w.logs[log.Vertex] = &tail{}
		}
		step, total, _ := splitStep(w.vertices[log.Vertex].Name)
		for _, line := range w.logs[log.Vertex].write(log.Data) {
			w.observe(Progress{State: Building, Step: step, Total: total, Text: line, Log: true, Elapsed: time.Since(w.began)})
		}
	}
}
