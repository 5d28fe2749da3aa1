// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"copse/internal/engine"
	"copse/internal/tree"
)

// List implements engine.Containers.
func (e *Engine) List(ctx context.Context, labels map[string]string) ([]engine.Container, error) {
	var list []engine.Container
	err := e.do(ctx, "List", "", func() error {
		for _, c := range e.sorted() {
			if !carries(c.Labels, labels) {
				continue
			}
			list = append(list, engine.Container{
				ID: c.ID, Name: c.Name, Image: c.Image, ImageID: c.ImageID,
				Labels: maps.Clone(c.Labels), State: c.State, Created: c.Created,
			})
		}
		return nil
	})
	return list, err
}

// carries reports whether labels has all of want; "" matches any value.
func carries(labels, want map[string]string) bool {
	for key, value := range want {
		if has, found := labels[key]; !found || value != "" && has != value {
			return false
		}
	}
	return true
}

// Inspect implements engine.Containers.
func (e *Engine) Inspect(ctx context.Context, id string) (engine.Container, error) {
	var container engine.Container
	err := e.do(ctx, "Inspect", e.nameOf(id), func() error {
		c, err := e.find(id)
		if err != nil {
			return err
		}
		container = c.snapshot()
		return nil
	})
	return container, err
}

// snapshot is a copy that shares nothing.
func (c *containerState) snapshot() engine.Container {
	container := c.Container
	container.Labels = maps.Clone(c.Labels)
	container.Environment = maps.Clone(c.Environment)
	container.Mounts = slices.Clone(c.Mounts)
	return container
}

// containerName is what the Docker Engine allows.
var containerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// Create implements engine.Containers.
func (e *Engine) Create(ctx context.Context, name string, spec tree.Spec) (string, error) {
	id := ""
	err := e.do(ctx, "Create", name, func() error {
		if !containerName.MatchString(name) {
			return fmt.Errorf("the name %q has characters that are not allowed", name)
		}
		if _, err := e.find(name); err == nil {
			return fmt.Errorf("the name is taken: %w", engine.ErrConflict)
		}
		image, found := e.image(spec.Image)
		if !found {
			return fmt.Errorf("no such image %s: %w", spec.Image, engine.ErrNotFound)
		}
		policy, err := restartPolicy(spec.Restart)
		if err != nil {
			return err
		}
		mounts, err := e.mount(spec.Mounts)
		if err != nil {
			return err
		}
		e.count++
		id = fmt.Sprintf("%08x%056d", e.count, 0)
		now := e.now()
		c := &containerState{spec: spec, Container: engine.Container{
			ID: id, Name: name, Image: spec.Image, ImageID: image.ID,
			Labels: maps.Clone(spec.Labels), State: engine.Created, Created: now,
			RestartPolicy: policy, Environment: maps.Clone(spec.Environment), Mounts: mounts,
		}}
		e.containers[id] = c
		e.publish(c, "create", now, 0)
		return nil
	})
	if err != nil {
		return "", err
	}
	return id, nil
}

// mount checks mounts, and makes the volumes that do not exist.
func (e *Engine) mount(mounts []tree.Mount) ([]tree.Mount, error) {
	mounts = slices.Clone(mounts)
	slices.SortFunc(mounts, func(a, b tree.Mount) int { return strings.Compare(a.Target, b.Target) })
	for i, m := range mounts {
		if !strings.HasPrefix(m.Target, "/") {
			return nil, fmt.Errorf("mount at %q: the target is not an absolute path", m.Target)
		}
		if i > 0 && mounts[i-1].Target == m.Target {
			return nil, fmt.Errorf("two mounts at %s", m.Target)
		}
		switch m.Type {
		case tree.Bind:
			if !strings.HasPrefix(m.Source, "/") {
				return nil, fmt.Errorf("mount at %s: the source %q is not an absolute path", m.Target, m.Source)
			}
		case tree.NamedVolume, tree.Tmpfs:
		default:
			return nil, fmt.Errorf("mount at %s: the type %q is unknown", m.Target, m.Type)
		}
	}
	for _, m := range mounts {
		if _, found := e.volumes[m.Source]; m.Type == tree.NamedVolume && !found {
			e.volumes[m.Source] = engine.Volume{Name: m.Source, Created: e.now()}
		}
	}
	return mounts, nil
}

// restartPolicy checks and normalizes a policy.
func restartPolicy(policy string) (string, error) {
	name, count, counted := strings.Cut(policy, ":")
	switch name {
	case "":
		return "no", nil
	case "no", "always", "unless-stopped", "on-failure":
	default:
		return "", fmt.Errorf("restart policy %q is unknown", policy)
	}
	if counted {
		if n, err := strconv.Atoi(count); err != nil || n < 0 || name != "on-failure" {
			return "", fmt.Errorf("restart policy %q has no number of attempts that makes sense", policy)
		}
	}
	return policy, nil
}

// Start implements engine.Containers.
func (e *Engine) Start(ctx context.Context, id string) error {
	return e.do(ctx, "Start", e.nameOf(id), func() error {
		c, err := e.find(id)
		if err != nil {
			return err
		}
		if c.running() {
			return nil
		}
		c.due, c.pause, c.RestartCount = time.Time{}, 0, 0
		return e.launch(c, e.now())
	})
}

// Stop implements engine.Containers.
func (e *Engine) Stop(ctx context.Context, id string, grace time.Duration) error {
	return e.do(ctx, "Stop", e.nameOf(id), func() error {
		c, err := e.find(id)
		if err != nil {
			return err
		}
		if !c.active() {
			return nil
		}
		c.stopped = true
		if c.State == engine.Restarting {
			c.State, c.due = engine.Exited, time.Time{}
			e.notify()
			return nil
		}
		code, takes := c.program.StopCode, c.program.StopTakes
		if c.program.IgnoresStop || takes > grace {
			code, takes = killedCode, grace // the engine's patience ends
		}
		if err := e.sleep(ctx, takes); err != nil {
			return err
		}
		// It may have ended, or have been removed, meanwhile.
		if c.running() {
			now := e.now()
			e.ended(c, code, now)
			e.publish(c, "stop", now, 0)
		}
		return nil
	})
}

// sleep lets time pass with the lock released.
func (e *Engine) sleep(ctx context.Context, d time.Duration) error {
	if e.Sleep == nil || d <= 0 {
		return nil
	}
	e.mu.Unlock()
	defer e.lock()
	return e.Sleep(ctx, d)
}

// signals are those that Kill knows, and whether they end a process that does nothing about
// them otherwise.
var signals = map[string]bool{
	"HUP": false, "INT": true, "QUIT": true, "KILL": true, "USR1": false, "USR2": false,
	"TERM": true, "WINCH": false,
}

// Kill implements engine.Containers. Programs ignore SIGHUP, SIGUSR1 and the like, which
// services take as commands, unless one is their stop signal.
func (e *Engine) Kill(ctx context.Context, id, signal string) error {
	return e.do(ctx, "Kill", e.nameOf(id), func() error {
		c, err := e.find(id)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.ToUpper(signal), "SIG")
		ends, known := signals[name]
		if !known {
			return fmt.Errorf("the signal %q is unknown", signal)
		}
		if !c.running() {
			return fmt.Errorf("it does not run: %w", engine.ErrConflict)
		}
		now := e.now()
		// The Docker Engine takes any signal that a caller sends as the wish to stop.
		c.stopped = true
		e.publish(c, "kill", now, 0)
		switch {
		case name == "KILL":
			e.ended(c, killedCode, now)
		case c.program.IgnoresStop:
		case ends, name == strings.TrimPrefix(strings.ToUpper(c.spec.StopSignal), "SIG"):
			e.ended(c, c.program.StopCode, now)
		}
		return nil
	})
}

// Remove implements engine.Containers.
func (e *Engine) Remove(ctx context.Context, id string, force bool) error {
	return e.do(ctx, "Remove", e.nameOf(id), func() error {
		c, err := e.find(id)
		if err != nil {
			return err
		}
		if c.active() && !force {
			return fmt.Errorf("it is %s; stop it first, or remove it with force: %w", c.State, engine.ErrConflict)
		}
		now := e.now()
		if c.running() {
			c.stopped = true
			e.publish(c, "kill", now, 0)
			e.ended(c, killedCode, now)
		}
		delete(e.containers, c.ID)
		e.publish(c, "destroy", now, 0)
		e.notify()
		return nil
	})
}

// Rename implements engine.Containers.
func (e *Engine) Rename(ctx context.Context, id, name string) error {
	return e.do(ctx, "Rename", e.nameOf(id), func() error {
		c, err := e.find(id)
		if err != nil {
			return err
		}
		if !containerName.MatchString(name) {
			return fmt.Errorf("the name %q has characters that are not allowed", name)
		}
		if _, err := e.find(name); err == nil {
			return fmt.Errorf("the name %s is taken: %w", name, engine.ErrConflict)
		}
		c.Name = name
		e.publish(c, "rename", e.now(), 0)
		return nil
	})
}

// SetRestartPolicy implements engine.Containers.
func (e *Engine) SetRestartPolicy(ctx context.Context, id, policy string) error {
	return e.do(ctx, "SetRestartPolicy", e.nameOf(id), func() error {
		c, err := e.find(id)
		if err != nil {
			return err
		}
		if policy, err = restartPolicy(policy); err != nil {
			return err
		}
		c.RestartPolicy = policy
		e.publish(c, "update", e.now(), 0)
		return nil
	})
}

// Wait implements engine.Containers.
func (e *Engine) Wait(ctx context.Context, id string) (int, error) {
	code, seen := 0, -1
	for {
		var changed chan struct{}
		var due time.Time
		ended := false
		look := func() error {
			c, err := e.find(id)
			if err != nil {
				return err
			}
			if seen < 0 {
				seen, id = c.exits, c.ID
			}
			ended = c.exits > seen || !c.active()
			code, changed, due = c.ExitCode, e.changed, e.nextDue()
			return nil
		}
		var err error
		if seen < 0 {
			err = e.do(ctx, "Wait", e.nameOf(id), look)
		} else if err = e.locked(look); err != nil {
			err = fmt.Errorf("cannot wait for container %s: %w", id, err)
		}
		if err != nil || ended {
			return code, err
		}
		if err := e.wait(ctx, changed, due); err != nil {
			return 0, err
		}
	}
}

// Running returns the names of the containers that run, in order.
func (e *Engine) Running() []string {
	e.lock()
	defer e.mu.Unlock()
	e.tick()
	var names []string
	for _, c := range e.sorted() {
		if c.running() {
			names = append(names, c.Name)
		}
	}
	return names
}
