// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"copse/internal/engine"
	"copse/internal/plan"
	"copse/internal/store"
	"copse/internal/tree"
)

// Observe takes one snapshot of the host for planning with a document.
func (d *Deployer) Observe(ctx context.Context, doc *tree.Document) (*plan.State, error) {
	state := &plan.State{Host: d.HostName, Volumes: nil, Images: map[string]bool{}}
	err := d.Store.View(func(tx *store.Tx) (err error) {
		if state.Revision, err = tx.Revision(); err != nil {
			return err
		}
		if state.Active, err = allActive(tx, d.HostName); err != nil {
			return err
		}
		if state.Kept, err = allKept(tx, d.HostName); err != nil {
			return err
		}
		state.Pins, err = pinsByName(tx, d.HostName)
		return err
	})
	if err != nil {
		return nil, err
	}
	if state.SecretVersions, err = d.Secrets.Versions(); err != nil {
		return nil, err
	}
	if state.Outliving, err = d.outliving(state.Active); err != nil {
		return nil, err
	}
	containers, err := d.Engine.List(ctx, map[string]string{tree.LabelCloud: doc.Cloud, tree.LabelHost: d.HostName})
	if err != nil {
		return nil, fmt.Errorf("cannot list the containers: %w", err)
	}
	for _, c := range containers {
		if c.Labels[tree.LabelContainer] == "" {
			continue
		}
		// A label that is no number belongs to no generation of ours, which 0 says.
		generation, _ := strconv.Atoi(c.Labels[tree.LabelGeneration])
		state.Observed = append(state.Observed, plan.Observed{
			ID: c.ID, Name: c.Name, Container: c.Labels[tree.LabelContainer], Generation: generation,
			Identity: c.Labels[tree.LabelIdentity],
			// One that the engine is restarting is meant to run; that it cannot is for its check to say.
			Running: c.State == engine.Running || c.State == engine.Restarting, State: string(c.State),
		})
	}
	if state.Volumes, err = volumeTimes(ctx, d.Engine); err != nil {
		return nil, err
	}
	for i := range doc.Containers {
		if doc.Containers[i].Host != d.HostName {
			continue
		}
		if err := d.lookUp(ctx, state, doc.Containers[i].Spec.Image); err != nil {
			return nil, err
		}
	}
	return state, nil
}

// lookUp notes in a state whether an image is there.
func (d *Deployer) lookUp(ctx context.Context, state *plan.State, reference string) error {
	if _, seen := state.Images[reference]; seen {
		return nil
	}
	_, err := d.Engine.Image(ctx, reference)
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return fmt.Errorf("cannot look up image %s: %w", reference, err)
	}
	state.Images[reference] = err == nil
	return nil
}

// outliving finds what goes on running without the containers that started it.
func (d *Deployer) outliving(active map[string]*tree.Generation) (map[string][]string, error) {
	found := map[string][]string{}
	for name, g := range active {
		if !g.Container.OwnCgroup {
			continue
		}
		programs, err := d.Host.Outliving(name)
		if err != nil {
			return nil, fmt.Errorf("cannot tell what runs in the control group of %s: %w", name, err)
		}
		for _, program := range programs {
			if strings.Contains(strings.Join(g.Container.Spec.Command, " "), program) {
				continue // the service itself, which ends with its container
			}
			found[name] = append(found[name], program)
		}
	}
	return found, nil
}

// volumeTimes returns the engine's named volumes and when Copse made them; the zero time for
// those that it did not make.
func volumeTimes(ctx context.Context, e Engine) (map[string]time.Time, error) {
	volumes, err := e.ListVolumes(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot list the volumes: %w", err)
	}
	times := make(map[string]time.Time, len(volumes))
	for _, v := range volumes {
		// A label that cannot be read is one of somebody else's.
		made, _ := time.Parse(time.RFC3339Nano, v.Labels[tree.LabelCreated])
		times[v.Name] = made
	}
	return times, nil
}
