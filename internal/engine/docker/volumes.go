// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"

	"github.com/moby/moby/client"

	"copse/internal/engine"
)

// ListVolumes implements engine.Volumes.
func (e *Engine) ListVolumes(ctx context.Context, labels map[string]string) ([]engine.Volume, error) {
	result, err := e.api.VolumeList(ctx, client.VolumeListOptions{Filters: labelFilters(labels)})
	if err != nil {
		return nil, e.fail(err, "list volumes")
	}
	volumes := make([]engine.Volume, 0, len(result.Items))
	for _, item := range result.Items {
		volumes = append(volumes, engine.Volume{
			Name:    item.Name,
			Labels:  item.Labels,
			Created: parseTime(item.CreatedAt),
		})
	}
	return volumes, nil
}

// CreateVolume implements engine.Volumes. The labels of a volume that exists stay as they are:
// the engine has no way to change them.
func (e *Engine) CreateVolume(ctx context.Context, name string, labels map[string]string) error {
	_, err := e.api.VolumeCreate(ctx, client.VolumeCreateOptions{Name: name, Labels: labels})
	return e.fail(err, "create volume %s", name)
}

// RemoveVolume implements engine.Volumes. One that a container uses, running or not, is
// engine.ErrConflict.
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	_, err := e.api.VolumeRemove(ctx, name, client.VolumeRemoveOptions{})
	return e.fail(err, "remove volume %s", name)
}
