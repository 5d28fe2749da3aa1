// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"copse/internal/plan"
	"copse/internal/secret"
	"copse/internal/store"
	"copse/internal/tree"
)

// ensureSecrets makes the secrets that are missing and returns all versions.
func (d *Deployer) ensureSecrets(doc *tree.Document) (map[string]int, error) {
	versions := map[string]int{}
	for _, s := range doc.Secrets {
		version, created, err := d.Secrets.Ensure(s)
		if err != nil {
			return nil, err
		}
		if created {
			d.Logger.Info("made a secret", "secret", s.Name)
		}
		versions[s.Name] = version
	}
	return versions, nil
}

// RotateSecret makes a new version of a secret. The revision moves, so that a plan made before
// is refused; what runs goes on with the old version until its container is replaced.
func (d *Deployer) RotateSecret(s tree.Secret) error {
	d.submitting.Lock()
	defer d.submitting.Unlock()
	if _, err := d.Secrets.Rotate(s); err != nil {
		return err
	}
	return d.Store.Update(func(tx *store.Tx) error {
		_, err := tx.BumpRevision()
		return err
	})
}

// inUse replaces the current versions of secrets by those that services run with: one that was rotated
// counts for a job when "up" has brought it to everybody.
func inUse(current map[string]int, active map[string]*tree.Generation) map[string]int {
	versions := maps.Clone(current)
	used := map[string]int{}
	for _, g := range active {
		for name, version := range g.SecretVersions {
			// Jobs count too: the one that sets a password has run before those that use it.
			used[name] = max(used[name], version)
		}
	}
	for name, version := range used {
		if _, declared := versions[name]; declared {
			versions[name] = version
		}
	}
	return versions
}

// keptSecrets refuses to make generations again whose secrets have been rotated so often since that
// their versions are gone.
func (d *Deployer) keptSecrets(p *plan.Plan, state *plan.State) error {
	var gone []string
	for _, s := range p.Steps {
		kept := (*tree.Generation)(nil)
		if s.To != 0 {
			kept = state.KeptGeneration(s.Container, s.To)
		}
		if kept == nil {
			continue
		}
		for _, mount := range kept.Container.Secrets {
			version := kept.SecretVersions[mount.Name]
			_, err := d.Secrets.Created(mount.Name, version)
			switch {
			case errors.Is(err, secret.ErrNotFound):
				gone = append(gone, fmt.Sprintf("generation %d of %s needs version %d of secret %s, which is not kept any more", s.To, s.Container, version, mount.Name))
			case err != nil:
				return err
			}
		}
	}
	if len(gone) > 0 {
		return fmt.Errorf("%w: nothing has been touched:\n  %s", ErrInvalid, strings.Join(slices.Compact(gone), "\n  "))
	}
	return nil
}
