// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"copse/internal/engine"
	"copse/internal/tree"
)

// ListVolumes implements engine.Volumes.
func (e *Engine) ListVolumes(ctx context.Context, labels map[string]string) ([]engine.Volume, error) {
	var list []engine.Volume
	err := e.do(ctx, "ListVolumes", "", func() error {
		for _, name := range tree.SortedKeys(e.volumes) {
			if volume := e.volumes[name]; carries(volume.Labels, labels) {
				volume.Labels = maps.Clone(volume.Labels)
				list = append(list, volume)
			}
		}
		return nil
	})
	return list, err
}

// CreateVolume implements engine.Volumes.
func (e *Engine) CreateVolume(ctx context.Context, name string, labels map[string]string) error {
	return e.do(ctx, "CreateVolume", name, func() error {
		if !containerName.MatchString(name) {
			return fmt.Errorf("the name %q has characters that are not allowed", name)
		}
		if _, found := e.volumes[name]; !found {
			e.volumes[name] = engine.Volume{Name: name, Labels: maps.Clone(labels), Created: e.now()}
		}
		return nil
	})
}

// RemoveVolume implements engine.Volumes.
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	return e.do(ctx, "RemoveVolume", name, func() error {
		if _, found := e.volumes[name]; !found {
			return fmt.Errorf("no such volume: %w", engine.ErrNotFound)
		}
		for _, c := range e.sorted() {
			used := slices.ContainsFunc(c.Mounts, func(m tree.Mount) bool {
				return m.Type == tree.NamedVolume && m.Source == name
			})
			if used {
				return fmt.Errorf("container %s uses it: %w", c.Name, engine.ErrConflict)
			}
		}
		delete(e.volumes, name)
		return nil
	})
}
