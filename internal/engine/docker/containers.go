// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"copse/internal/engine"
	"copse/internal/tree"
)

// List implements engine.Containers.
func (e *Engine) List(ctx context.Context, labels map[string]string) ([]engine.Container, error) {
	result, err := e.api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: labelFilters(labels)})
	if err != nil {
		return nil, e.fail(err, "list containers")
	}
	containers := make([]engine.Container, 0, len(result.Items))
	for _, item := range result.Items {
		c := engine.Container{
			ID:      item.ID,
			Image:   item.Image,
			ImageID: item.ImageID,
			Labels:  item.Labels,
			State:   stateOf(item.State),
			Created: time.Unix(item.Created, 0),
		}
		if len(item.Names) > 0 {
			c.Name = strings.TrimPrefix(item.Names[0], "/")
		}
		containers = append(containers, c)
	}
	return containers, nil
}

// Inspect implements engine.Containers.
func (e *Engine) Inspect(ctx context.Context, id string) (engine.Container, error) {
	result, err := e.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return engine.Container{}, e.fail(err, "inspect container %s", id)
	}
	return fromInspect(result.Container), nil
}

// fromInspect translates the engine's description of a container.
func fromInspect(from container.InspectResponse) engine.Container {
	c := engine.Container{
		ID:           from.ID,
		Name:         strings.TrimPrefix(from.Name, "/"),
		ImageID:      from.Image,
		Created:      parseTime(from.Created),
		RestartCount: from.RestartCount,
		Mounts:       mountsOf(from),
	}
	if from.Config != nil {
		c.Image = from.Config.Image
		c.Labels = from.Config.Labels
		c.Environment = make(map[string]string, len(from.Config.Env))
		for _, pair := range from.Config.Env {
			key, value, _ := strings.Cut(pair, "=")
			c.Environment[key] = value
		}
	}
	if from.HostConfig != nil {
		c.RestartPolicy = formatRestartPolicy(from.HostConfig.RestartPolicy)
	}
	if from.State != nil {
		c.State = stateOf(from.State.Status)
		c.Started = parseTime(from.State.StartedAt)
		c.Finished = parseTime(from.State.FinishedAt)
		c.ExitCode = from.State.ExitCode
		c.OOMKilled = from.State.OOMKilled
		c.Error = from.State.Error
		c.PID = from.State.Pid
	}
	return c
}

// stateOf translates a state. A container that is being removed is as good as dead.
func stateOf(state container.ContainerState) engine.State {
	if state == container.StateRemoving {
		return engine.Dead
	}
	return engine.State(state)
}

// parseTime reads a time of the API; what never happened ("0001-01-01T00:00:00Z") and what
// cannot be read is the zero time.
func parseTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return t
}

// Start implements engine.Containers.
func (e *Engine) Start(ctx context.Context, id string) error {
	_, err := e.api.ContainerStart(ctx, id, client.ContainerStartOptions{})
	if err != nil && ctx.Err() == nil {
		if kind := kindOf(err); kind == nil || errors.Is(kind, engine.ErrConflict) {
			err = e.startAgain(ctx, id, err)
		}
	}
	return e.fail(err, "start container %s", id)
}

// Stop implements engine.Containers. The API counts in seconds: grace is rounded up.
func (e *Engine) Stop(ctx context.Context, id string, grace time.Duration) error {
	seconds := max(0, wholeSeconds(grace))
	_, err := e.api.ContainerStop(ctx, id, client.ContainerStopOptions{Timeout: &seconds})
	return e.fail(err, "stop container %s", id)
}

// wholeSeconds rounds up, so that no grace becomes none.
func wholeSeconds(d time.Duration) int {
	return int((d + time.Second - 1) / time.Second)
}

// Kill implements engine.Containers.
func (e *Engine) Kill(ctx context.Context, id, signal string) error {
	_, err := e.api.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: signal})
	return e.fail(err, "send %s to container %s", signal, id)
}

// Remove implements engine.Containers. Volumes without a name belong to the container alone
// and go with it.
func (e *Engine) Remove(ctx context.Context, id string, force bool) error {
	_, err := e.api.ContainerRemove(ctx, id, client.ContainerRemoveOptions{RemoveVolumes: true, Force: force})
	return e.fail(err, "remove container %s", id)
}

// Rename implements engine.Containers.
func (e *Engine) Rename(ctx context.Context, id, name string) error {
	_, err := e.api.ContainerRename(ctx, id, client.ContainerRenameOptions{NewName: name})
	return e.fail(err, "rename container %s to %s", id, name)
}

// SetRestartPolicy implements engine.Containers.
func (e *Engine) SetRestartPolicy(ctx context.Context, id, policy string) error {
	parsed, err := parseRestartPolicy(policy)
	if err != nil {
		return fmt.Errorf("cannot set the restart policy of container %s: %w", id, err)
	}
	_, err = e.api.ContainerUpdate(ctx, id, client.ContainerUpdateOptions{RestartPolicy: &parsed})
	return e.fail(err, "set the restart policy of container %s to %s", id, policy)
}

// parseRestartPolicy reads Compose's notation: "no" or "", "always", "unless-stopped",
// "on-failure" and "on-failure:5".
func parseRestartPolicy(text string) (container.RestartPolicy, error) {
	name, count, counted := strings.Cut(text, ":")
	policy := container.RestartPolicy{Name: container.RestartPolicyMode(name)}
	if name == "" {
		policy.Name = container.RestartPolicyDisabled
	}
	if counted {
		n, err := strconv.Atoi(count)
		if err != nil {
			return policy, fmt.Errorf("restart policy %q: %q is not a number of attempts", text, count)
		}
		policy.MaximumRetryCount = n
	}
	if err := container.ValidateRestartPolicy(policy); err != nil {
		return policy, fmt.Errorf("restart policy %q: %w", text, err)
	}
	return policy, nil
}

// formatRestartPolicy is the inverse of parseRestartPolicy.
func formatRestartPolicy(policy container.RestartPolicy) string {
	switch {
	case policy.Name == "":
		return string(container.RestartPolicyDisabled)
	case policy.MaximumRetryCount > 0:
		return fmt.Sprintf("%s:%d", policy.Name, policy.MaximumRetryCount)
	}
	return string(policy.Name)
}

// Wait implements engine.Containers.
func (e *Engine) Wait(ctx context.Context, id string) (int, error) {
	wait := e.api.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	// One of the two always arrives: the end of ctx ends the request.
	select {
	case result := <-wait.Result:
		if result.Error != nil && result.Error.Message != "" {
			return 0, e.fail(errors.New(result.Error.Message), "wait for container %s", id)
		}
		return int(result.StatusCode), nil
	case err := <-wait.Error:
		return 0, e.fail(err, "wait for container %s", id)
	}
}

// labelFilters selects objects that carry all labels; "" matches any value.
func labelFilters(labels map[string]string) client.Filters {
	filters := client.Filters{}
	for _, key := range tree.SortedKeys(labels) {
		if labels[key] == "" {
			filters.Add("label", key)
		} else {
			filters.Add("label", key+"="+labels[key])
		}
	}
	return filters
}
