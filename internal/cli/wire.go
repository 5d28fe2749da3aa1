// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"copse/internal/spec"
	"copse/internal/tree"
)

// wired puts the program together: the one place where commands meet the parts they call.
func wired() parts {
	return parts{
		resolve: func(ctx context.Context, d declaration) (*tree.Document, error) {
			return spec.Load(ctx, spec.Options{
				CloudFile: d.CloudFile, EnvFiles: d.EnvFiles, Environment: d.Environment, Address: d.Address,
			})
		},
	}
}
