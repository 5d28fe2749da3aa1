// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package optionlist reads the list of configuration options that an image of OpenStack carries,
// without running anything of it: from a container that is created and never started.
package optionlist

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"copse/internal/durable"
	"copse/internal/engine"
	"copse/internal/osloconf"
	"copse/internal/tree"
)

// optionsVariable names the list in an image's environment; it is copse-init's.
const optionsVariable = "COPSE_OPTIONS_FILE"

// mostList bounds a list; nova's has some 100 KB.
const mostList = 16 << 20

// Engine is the part of a container engine that has the images.
type Engine interface {
	Image(ctx context.Context, reference string) (engine.Image, error)
	Create(ctx context.Context, name string, spec tree.Spec) (id string, err error)
	CopyFrom(ctx context.Context, id, path string) (io.ReadCloser, error)
	Remove(ctx context.Context, id string, force bool) error
}

// Lists reads lists and remembers them. It is safe for concurrent use.
type Lists struct {
	Engine Engine
	// Dir is where lists are kept, by the id of their image, from one run of the program to the
	// next; "" keeps them in memory alone.
	Dir string

	mu    sync.Mutex
	known map[string]*osloconf.Options // by the image's id
}

// Of returns what an image starts with as environment, and its options: nil for one that carries
// no list. An image that is not there is engine.ErrNotFound.
func (l *Lists) Of(ctx context.Context, reference string) (environment []string, options *osloconf.Options, err error) {
	image, err := l.Engine.Image(ctx, reference)
	if err != nil {
		return nil, nil, err
	}
	path := ""
	for _, variable := range image.Environment {
		if name, value, _ := strings.Cut(variable, "="); name == optionsVariable {
			path = value
		}
	}
	if path == "" {
		return image.Environment, nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.known[image.ID]; known != nil {
		return image.Environment, known, nil
	}
	if options, err = l.read(ctx, image.ID, reference, path); err != nil {
		return nil, nil, fmt.Errorf("cannot read the options of image %s: %w", reference, err)
	}
	if l.known == nil {
		l.known = map[string]*osloconf.Options{}
	}
	l.known[image.ID] = options
	return image.Environment, options, nil
}

// read takes the list from the directory, else out of the image.
func (l *Lists) read(ctx context.Context, id, reference, path string) (*osloconf.Options, error) {
	kept := ""
	if l.Dir != "" {
		kept = filepath.Join(l.Dir, filepath.Base(strings.ReplaceAll(id, ":", "-")))
		if text, err := os.ReadFile(kept); err == nil {
			if options, err := osloconf.Parse(bytes.NewReader(text)); err == nil {
				return options, nil
			}
		}
	}
	text, err := l.take(ctx, reference, path)
	if err != nil {
		return nil, err
	}
	options, err := osloconf.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if kept != "" {
		// What cannot be kept is read again the next time, which is no fault.
		_ = keep(kept, text)
	}
	return options, nil
}

// take copies a file out of an image.
func (l *Lists) take(ctx context.Context, reference, path string) (content []byte, err error) {
	random := make([]byte, 4)
	_, _ = rand.Read(random) // it never fails, by its documentation
	// What is made must be removed, so making it is not cut off. An engine wants a command even
	// for what is not started.
	id, err := l.Engine.Create(context.WithoutCancel(ctx), "copse-options-"+hex.EncodeToString(random),
		tree.Spec{Image: reference, Command: []string{"true"}, NetworkMode: "none"})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Engine.Remove(context.WithoutCancel(ctx), id, true)) }()
	archive, err := l.Engine.CopyFrom(ctx, id, path)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	reader := tar.NewReader(archive)
	if _, err := reader.Next(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	content, err = io.ReadAll(io.LimitReader(reader, mostList+1))
	if err == nil && len(content) > mostList {
		err = fmt.Errorf("%s has more than %d bytes", path, mostList)
	}
	return content, err
}

// keep writes a list down for the next time.
func keep(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(path, content, 0o600, -1, -1)
}

// Check looks at the configuration options (OS_GROUP__OPTION) of a container that an operator
// gave, against the list of its image, and returns what is wrong by their names. An image that
// is not there, or has no list, has nothing to say.
func (l *Lists) Check(ctx context.Context, c *tree.Container, given []string) (map[string]error, error) {
	fromImage, options, err := l.Of(ctx, c.Spec.Image)
	if errors.Is(err, engine.ErrNotFound) || (err == nil && options == nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	asked := map[string]bool{}
	for _, name := range given {
		asked[name] = true
	}
	faults := map[string]error{}
	// Whether a group may be there depends on the values of others.
	for _, problem := range options.Check(Environment(fromImage, c)) {
		if asked[problem.Variable] {
			faults[problem.Variable] = errors.New(problem.Reason)
		}
	}
	return faults, nil
}

// Environment is what a container's first process starts with: the image's variables under the
// container's own, sorted by name.
func Environment(fromImage []string, c *tree.Container) []string {
	all := map[string]string{}
	for _, variable := range fromImage {
		name, value, _ := strings.Cut(variable, "=")
		all[name] = value
	}
	for name, value := range c.Spec.Environment {
		all[name] = value
	}
	environment := make([]string, 0, len(all))
	for _, name := range tree.SortedKeys(all) {
		environment = append(environment, name+"="+all[name])
	}
	return environment
}
