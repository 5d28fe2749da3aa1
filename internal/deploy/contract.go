// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"slices"

	"copse/internal/tree"
)

// nothingContracted is what a contract job writes last where it found nothing to end: data that was not
// changed is no reason to refuse an older release.
const nothingContracted = "copse: there was nothing to contract"

// contractedFor returns the newest release for which a contract job has changed something, this run of it
// included; previous is its run before, nil for none. Where the job's words cannot be read, it has.
func (d *Deployer) contractedFor(ctx context.Context, g, previous *tree.Generation) string {
	if previous == nil || !slices.Contains(d.lastLines(ctx, g.Name()), nothingContracted) {
		return g.Container.Release
	}
	return previous.ContractedFor()
}
