// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"copse/internal/tree"
)

// Create implements engine.Containers. The checks of health are the agent's: whatever
// HEALTHCHECK an image brings is switched off.
func (e *Engine) Create(ctx context.Context, name string, spec tree.Spec) (string, error) {
	config, host, err := e.request(spec, os.ReadFile)
	if err != nil {
		return "", fmt.Errorf("cannot create container %s: %w", name, err)
	}
	result, err := e.api.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: name, Config: config, HostConfig: host,
	})
	if err != nil {
		return "", e.fail(err, "create container %s from image %s", name, spec.Image)
	}
	return result.ID, nil
}

// request translates a specification. readFile reads seccomp profiles, whose contents and not
// paths are what the API takes.
func (e *Engine) request(spec tree.Spec, readFile func(string) ([]byte, error)) (*container.Config, *container.HostConfig, error) {
	restart, err := parseRestartPolicy(spec.Restart)
	if err != nil {
		return nil, nil, err
	}
	config := &container.Config{
		Image:       spec.Image,
		Entrypoint:  spec.Entrypoint,
		Cmd:         spec.Command,
		User:        spec.User,
		WorkingDir:  spec.WorkingDir,
		Hostname:    spec.Hostname,
		Env:         environment(spec.Environment),
		Labels:      spec.Labels,
		StopSignal:  spec.StopSignal,
		Tty:         spec.TTY,
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}
	if spec.StopGracePeriod > 0 {
		seconds := wholeSeconds(spec.StopGracePeriod)
		config.StopTimeout = &seconds
	}
	host := &container.HostConfig{
		NetworkMode:    container.NetworkMode(spec.NetworkMode),
		PidMode:        container.PidMode(spec.PID),
		IpcMode:        container.IpcMode(spec.IPC),
		UTSMode:        container.UTSMode(spec.UTS),
		CgroupnsMode:   container.CgroupnsMode(spec.Cgroup),
		GroupAdd:       spec.GroupAdd,
		CapAdd:         spec.CapAdd,
		CapDrop:        spec.CapDrop,
		ReadonlyRootfs: spec.ReadOnly,
		Sysctls:        spec.Sysctls,
		ExtraHosts:     spec.ExtraHosts,
		ShmSize:        spec.ShmSize,
		RestartPolicy:  restart,
		LogConfig:      container.LogConfig{Type: spec.LogDriver, Config: spec.LogOptions},
		Resources: container.Resources{
			Memory:            spec.Memory,
			NanoCPUs:          int64(math.Round(spec.CPUs * 1e9)),
			DeviceCgroupRules: spec.DeviceRules,
		},
	}
	if spec.Pids > 0 {
		host.PidsLimit = &spec.Pids
	}
	for _, name := range tree.SortedKeys(spec.Ulimits) {
		limit := spec.Ulimits[name]
		host.Ulimits = append(host.Ulimits, &container.Ulimit{Name: name, Soft: limit.Soft, Hard: limit.Hard})
	}
	for _, device := range spec.Devices {
		host.Devices = append(host.Devices, deviceMapping(device))
	}
	if err := setSecurity(host, spec.SecurityOpt, readFile); err != nil {
		return nil, nil, err
	}
	if err := setMounts(host, spec.Mounts); err != nil {
		return nil, nil, err
	}
	if err := e.setPrivileges(host, spec); err != nil {
		return nil, nil, err
	}
	return config, host, nil
}

// environment is the API's form of an environment, in order so that requests are comparable.
func environment(values map[string]string) []string {
	pairs := make([]string, 0, len(values))
	for _, key := range tree.SortedKeys(values) {
		pairs = append(pairs, key+"="+values[key])
	}
	return pairs
}

// deviceMapping fills in what Compose leaves out.
func deviceMapping(device tree.Device) container.DeviceMapping {
	mapping := container.DeviceMapping{
		PathOnHost:        device.Source,
		PathInContainer:   device.Target,
		CgroupPermissions: device.Permissions,
	}
	if mapping.PathInContainer == "" {
		mapping.PathInContainer = mapping.PathOnHost
	}
	if mapping.CgroupPermissions == "" {
		mapping.CgroupPermissions = "rwm"
	}
	return mapping
}

// setSecurity translates security_opt. Two options exist in Compose and in the engine's own
// client but not in its API: "systempaths=unconfined", which is empty lists of masked and
// read-only paths, and the path of a seccomp profile, which is sent as its contents.
func setSecurity(host *container.HostConfig, options []string, readFile func(string) ([]byte, error)) error {
	for _, option := range options {
		key, value := option, ""
		// Compose writes "key:value" as well as "key=value".
		if at := strings.IndexAny(option, "=:"); at >= 0 {
			key, value = option[:at], option[at+1:]
		}
		switch {
		case key == "systempaths" && value == "unconfined":
			host.MaskedPaths, host.ReadonlyPaths = []string{}, []string{}
		case key == "systempaths":
			return fmt.Errorf("security_opt %q: the only value of systempaths is unconfined", option)
		case key == "seccomp" && value != "unconfined" && value != "builtin":
			profile, err := readFile(value)
			if err != nil {
				return fmt.Errorf("security_opt %q: cannot read the profile: %w", option, err)
			}
			host.SecurityOpt = append(host.SecurityOpt, "seccomp="+string(profile))
		case value == "":
			host.SecurityOpt = append(host.SecurityOpt, key)
		default:
			host.SecurityOpt = append(host.SecurityOpt, key+"="+value)
		}
	}
	return nil
}
