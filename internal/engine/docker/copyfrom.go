// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"io"

	"github.com/moby/moby/client"
)

// CopyFrom implements engine.Processes.
func (e *Engine) CopyFrom(ctx context.Context, id, path string) (io.ReadCloser, error) {
	result, err := e.api.CopyFromContainer(ctx, id, client.CopyFromContainerOptions{SourcePath: path})
	if err != nil {
		return nil, e.fail(err, "copy %s from container %s", path, id)
	}
	return result.Content, nil
}
