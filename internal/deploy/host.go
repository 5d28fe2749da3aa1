// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"

	"copse/internal/change"
	"copse/internal/plan"
	"copse/internal/tree"
)

// starts reports whether a kind of change starts containers, for which the host must be ready.
func starts(kind plan.Kind) bool {
	return kind == plan.Up || kind == plan.Upgrade || kind == plan.Rollback || kind == plan.Start || kind == plan.Restart
}

// PrepareHost makes true of the host what the declared cloud asks of it, and tells each thing
// that it has done. An agent calls it when it starts: after a reboot, what is not on disk is gone.
// It returns the directories that it has mounted: containers that the engine has started already
// do not see what is mounted there later.
func (d *Deployer) PrepareHost(ctx context.Context, tell func(string)) (mounted []string, err error) {
	doc, err := d.Document()
	if err != nil || doc == nil {
		return nil, err
	}
	// Set by set: what one of them cannot have must not keep it from the others.
	var failed []error
	for _, prep := range doc.HostPreps(d.HostName, nil) {
		anew, err := d.Host.Prepare(ctx, []tree.HostPrep{prep}, tell)
		mounted, failed = append(mounted, anew...), append(failed, err)
	}
	return mounted, errors.Join(failed...)
}

// prepareHost prepares the host for what waits for it. What was done before a crash is found
// done.
func (d *Deployer) prepareHost(ctx context.Context, t *change.Run) error {
	var preps []tree.HostPrep
	if _, err := t.Get(dataHostPreps, &preps); err != nil {
		return err
	}
	_, err := d.Host.Prepare(ctx, preps, t.Log)
	return err
}

// leaveHost takes nothing back: others may have come to rely on a mount, a module or an
// interface, and what is prepared harms nobody.
func (d *Deployer) leaveHost(_ context.Context, t *change.Run) error {
	t.Logf("the host stays prepared")
	return nil
}
