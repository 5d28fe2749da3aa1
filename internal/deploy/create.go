// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strconv"
	"time"

	"copse/internal/change"
	"copse/internal/engine"
	"copse/internal/secret"
	"copse/internal/store"
	"copse/internal/tree"
)

// sequence is the one sequence of generation numbers for the whole cloud.
const sequence = "generation-sequence"

// initProgram is copse-init in every image.
const initProgram = "/usr/local/bin/copse-init"

// create makes a new generation: its number and record, its files and secrets, its volumes,
// and its container, which is not started. Nothing that runs is touched.
func (d *Deployer) create(ctx context.Context, t *change.Run) error {
	g, err := d.number(t)
	if err != nil {
		return err
	}
	if err := d.make(ctx, t, g); err != nil {
		return unlessAway(ctx, err, func() error { return d.unmake(context.WithoutCancel(ctx), t, g) })
	}
	return nil
}

// number gives the generation its number and record, once: run again, it finds the same.
func (d *Deployer) number(t *change.Run) (*tree.Generation, error) {
	if g, err := d.numbered(t); err != nil || g != nil {
		return g, err
	}
	var reuse bool
	if _, err := t.Get(dataReuse, &reuse); err != nil {
		return nil, err
	}
	if reuse {
		g, err := d.previous(t)
		if err != nil {
			return nil, err
		}
		return g, t.Set(dataGeneration, g.Number)
	}

	g := &tree.Generation{State: tree.Preparing, Change: t.Task().Change, Created: t.Now()}
	if _, err := t.Get(dataContainer, &g.Container); err != nil {
		return nil, err
	}
	if _, err := t.Get(dataSecrets, &g.SecretVersions); err != nil {
		return nil, err
	}
	if _, err := t.Get(dataCause, &g.Cause); err != nil {
		return nil, err
	}
	if _, err := t.Get(dataOf, &g.Of); err != nil {
		return nil, err
	}
	g.Identity = g.Container.Identity(g.SecretVersions)
	err := d.Store.Update(func(tx *store.Tx) error {
		n, err := store.NextSequence(tx, sequence)
		if err != nil {
			return err
		}
		g.Number = int(n)
		if g.Container.Frontend != nil {
			if g.Port, err = d.assignPort(tx, g.Container.Frontend.Internal); err != nil {
				return err
			}
		}
		return saveGeneration(tx, g)
	})
	if err != nil {
		return nil, fmt.Errorf("cannot record a new generation of %s: %w", g.Container.Name, err)
	}
	if err := t.Set(dataGeneration, g.Number); err != nil {
		return nil, err
	}
	return g, nil
}

// assignPort returns a port that no generation uses and nobody listens on.
func (d *Deployer) assignPort(tx *store.Tx, address string) (int, error) {
	used := map[int]bool{}
	generations, err := allGenerations(tx, d.HostName)
	if err != nil {
		return 0, err
	}
	for _, g := range generations {
		if g.State == tree.Active || g.State == tree.Preparing {
			used[g.Port] = true
		}
	}
	for port := d.FirstPort; port <= d.LastPort; port++ {
		if used[port] {
			continue
		}
		who, err := d.Host.Listening(address, port, "tcp")
		if err != nil {
			return 0, err
		}
		if who == "" {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no port is free at %s between %d and %d: end what listens there", address, d.FirstPort, d.LastPort)
}

func (d *Deployer) make(ctx context.Context, t *change.Run, g *tree.Generation) error {
	c := &g.Container
	if _, err := d.Engine.Image(ctx, c.Spec.Image); err != nil {
		return fmt.Errorf("cannot use image %s: %w: \"copse build\" makes it", c.Spec.Image, err)
	}
	dir := d.generationDir(c.Name, g.Number)
	if err := d.Host.WriteFiles(filepath.Join(dir, "files"), c.Files); err != nil {
		return err
	}
	if len(c.Secrets) > 0 {
		if err := d.Secrets.Place(filepath.Join(dir, "secrets"), c.Secrets, g.SecretVersions); err != nil {
			return err
		}
	}
	labels := map[string]string{tree.LabelHost: d.HostName, tree.LabelCreated: t.Now().Format(time.RFC3339Nano)}
	if cloud, err := d.cloud(); err != nil {
		return err
	} else if cloud != "" {
		labels[tree.LabelCloud] = cloud
	}
	for _, m := range c.Spec.Mounts {
		if m.Type != tree.NamedVolume {
			continue
		}
		if err := d.Engine.CreateVolume(ctx, m.Source, labels); err != nil {
			return fmt.Errorf("cannot create volume %s for %s: %w", m.Source, c.Name, err)
		}
	}
	if c.Proxy != nil {
		if err := d.makeProxy(ctx, g); err != nil {
			return err
		}
	}
	return d.createContainer(ctx, t, g)
}

func (d *Deployer) createContainer(ctx context.Context, t *change.Run, g *tree.Generation) error {
	doc, err := d.Document()
	if err != nil {
		return err
	}
	spec := d.containerSpec(g, doc.Cloud, t.Task().Change)
	_, err = d.Engine.Create(ctx, g.Name(), spec)
	if !errors.Is(err, engine.ErrConflict) {
		if err != nil {
			return fmt.Errorf("cannot create container %s: %w", g.Name(), err)
		}
		return nil
	}
	// The name is taken: by ourselves before a crash, or by something that claims our place.
	there, inspectErr := d.Engine.Inspect(ctx, g.Name())
	if inspectErr != nil {
		return fmt.Errorf("cannot create container %s: %w", g.Name(), err)
	}
	if there.Labels[tree.LabelIdentity] == g.Identity && there.Labels[tree.LabelChange] == spec.Labels[tree.LabelChange] {
		return nil
	}
	if there.Labels[tree.LabelContainer] == "" {
		return fmt.Errorf("cannot create container %s: a container of that name exists that Copse did not make: remove it with \"docker rm %s\"", g.Name(), g.Name())
	}
	if err := d.removeContainer(ctx, there.ID); err != nil {
		return fmt.Errorf("cannot remove the container that has the name %s: %w", g.Name(), err)
	}
	if _, err := d.Engine.Create(ctx, g.Name(), spec); err != nil {
		return fmt.Errorf("cannot create container %s: %w", g.Name(), err)
	}
	return nil
}

// containerSpec completes what is declared with what is assigned.
func (d *Deployer) containerSpec(g *tree.Generation, cloud string, changeID int) tree.Spec {
	c := &g.Container
	spec := c.Spec
	spec.Environment = maps.Clone(spec.Environment)
	if spec.Environment == nil {
		spec.Environment = map[string]string{}
	}
	if g.Port != 0 {
		spec.Environment["PORT"] = strconv.Itoa(g.Port)
	}
	if c.Proxy != nil {
		spec.Environment["PROXY_SOCKETS"] = d.Router.Sockets(c.Proxy.Directory, g.Number)
	}
	spec.Labels = maps.Clone(spec.Labels)
	if spec.Labels == nil {
		spec.Labels = map[string]string{}
	}
	maps.Copy(spec.Labels, map[string]string{
		tree.LabelCloud: cloud, tree.LabelHost: d.HostName, tree.LabelSet: c.Set, tree.LabelContainer: c.Name,
		tree.LabelComponent: c.Component, tree.LabelRelease: c.Release,
		tree.LabelGeneration: strconv.Itoa(g.Number), tree.LabelIdentity: g.Identity,
		tree.LabelChange: strconv.Itoa(changeID),
	})
	if c.Job != nil {
		spec.Labels[tree.LabelJob] = "true"
	}
	spec.Mounts = append([]tree.Mount{}, spec.Mounts...)
	dir := d.generationDir(c.Name, g.Number)
	for i, f := range c.Files {
		spec.Mounts = append(spec.Mounts, tree.Mount{
			Type: tree.Bind, Source: filepath.Join(dir, "files", strconv.Itoa(i)), Target: f.Target, ReadOnly: true,
		})
	}
	for _, s := range c.Secrets {
		spec.Mounts = append(spec.Mounts, tree.Mount{
			Type: tree.Bind, Source: filepath.Join(dir, "secrets", secret.FileName(s)), Target: s.Target, ReadOnly: true,
		})
	}
	if c.OwnCgroup {
		// The name is the container's, not the generation's: what the service has left there goes
		// on under its successor.
		spec.Entrypoint = []string{initProgram, "--own-cgroup=" + c.Name, "--"}
	}
	// On trial, a crash must show; commit sets the declared policy.
	spec.Restart = "no"
	return spec
}

func (d *Deployer) cloud() (string, error) {
	doc, err := d.Document()
	if err != nil || doc == nil {
		return "", err
	}
	return doc.Cloud, nil
}

func (d *Deployer) uncreate(ctx context.Context, t *change.Run) error {
	g, err := d.numbered(t)
	if err != nil || g == nil {
		return err
	}
	return d.unmake(ctx, t, g)
}

// numbered returns the generation that this task has numbered already, nil for none. One whose
// number a crash kept from the task's data is found by its change, which makes one generation
// of a container at most.
func (d *Deployer) numbered(t *change.Run) (*tree.Generation, error) {
	var number int
	found, err := t.Get(dataGeneration, &number)
	if err != nil {
		return nil, err
	}
	if found {
		return d.record(t, number)
	}
	task := t.Task()
	var begun *tree.Generation
	err = d.Store.View(func(tx *store.Tx) error {
		prefix := containerKey(d.HostName, task.Subject) + "/"
		return store.EachPrefix(tx, generationBucket, prefix, func(_ string, g tree.Generation) error {
			if g.Change == task.Change && g.State == tree.Preparing {
				begun = &g
			}
			return nil
		})
	})
	if err != nil || begun == nil {
		return nil, err
	}
	return begun, t.Set(dataGeneration, begun.Number)
}

// unmake removes what make made and marks the generation failed.
func (d *Deployer) unmake(ctx context.Context, t *change.Run, g *tree.Generation) error {
	if err := d.removeContainer(ctx, g.Name()); err != nil {
		return fmt.Errorf("cannot remove %s: %w", g.Name(), err)
	}
	if err := d.Host.RemoveAll(d.generationDir(g.Container.Name, g.Number)); err != nil {
		return err
	}
	if err := d.forgetProxy(g); err != nil {
		return err
	}
	var reuse bool
	if _, err := t.Get(dataReuse, &reuse); err != nil || reuse {
		return err
	}
	g.State, g.Ended = tree.Failed, t.Now()
	g.Window = d.endWindow(g)
	err := d.Store.Update(func(tx *store.Tx) error {
		if err := saveGeneration(tx, g); err != nil {
			return err
		}
		return forget(tx, d.HostName, g.Container.Name)
	})
	if err == nil {
		d.dropWindow(g)
	}
	return err
}
