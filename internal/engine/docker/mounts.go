// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"fmt"
	"sort"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"

	"copse/internal/tree"
)

// setMounts translates mounts. The API has three places for them, each with something that
// the others lack on an engine that we support:
//
//   - Mounts: volumes, and binds of what exists; a missing source is an error;
//   - Binds: make a missing directory on the host (Mounts can since API 1.42 only);
//   - Tmpfs: takes all options (Mounts does since API 1.46 only).
func setMounts(host *container.HostConfig, mounts []tree.Mount) error {
	for _, m := range mounts {
		switch m.Type {
		case tree.Bind:
			if m.CreateHostPath {
				bind, err := bindString(m)
				if err != nil {
					return err
				}
				host.Binds = append(host.Binds, bind)
				continue
			}
			translated := mount.Mount{Type: mount.TypeBind, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}
			if m.Propagation != "" {
				translated.BindOptions = &mount.BindOptions{Propagation: mount.Propagation(m.Propagation)}
			}
			host.Mounts = append(host.Mounts, translated)
		case tree.NamedVolume:
			translated := mount.Mount{Type: mount.TypeVolume, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}
			if m.NoCopy {
				translated.VolumeOptions = &mount.VolumeOptions{NoCopy: true}
			}
			host.Mounts = append(host.Mounts, translated)
		case tree.Tmpfs:
			if host.Tmpfs == nil {
				host.Tmpfs = map[string]string{}
			}
			options := m.TmpfsOptions
			if m.ReadOnly {
				options = strings.Trim(options+",ro", ",")
			}
			host.Tmpfs[m.Target] = options
		default:
			return fmt.Errorf("mount at %s: the type %q is unknown; use %s, %s or %s",
				m.Target, m.Type, tree.Bind, tree.NamedVolume, tree.Tmpfs)
		}
	}
	return nil
}

// bindString is the older notation of a bind, "source:target:options".
func bindString(m tree.Mount) (string, error) {
	if strings.Contains(m.Source+m.Target, ":") {
		return "", fmt.Errorf("mount of %s at %s: a path with a colon cannot be made on the host; make it before, without create_host_path", m.Source, m.Target)
	}
	var options []string
	if m.ReadOnly {
		options = append(options, "ro")
	}
	if m.Propagation != "" {
		options = append(options, m.Propagation)
	}
	bind := m.Source + ":" + m.Target
	if len(options) > 0 {
		bind += ":" + strings.Join(options, ",")
	}
	return bind, nil
}

// mountsOf is what a container has mounted, by target. What has no trace in the engine's
// answer (create_host_path of a bind in Mounts) is left out.
func mountsOf(from container.InspectResponse) []tree.Mount {
	asked := map[string]mount.Mount{}
	created := map[string]bool{}
	var mounts []tree.Mount
	if from.HostConfig != nil {
		for _, m := range from.HostConfig.Mounts {
			asked[m.Target] = m
		}
		for _, bind := range from.HostConfig.Binds {
			if parts := strings.Split(bind, ":"); len(parts) > 1 {
				created[parts[1]] = true
			}
		}
		for target, options := range from.HostConfig.Tmpfs {
			mounts = append(mounts, tree.Mount{Type: tree.Tmpfs, Target: target, TmpfsOptions: options})
		}
	}
	for _, point := range from.Mounts {
		m := tree.Mount{
			Type:     tree.MountType(point.Type),
			Source:   point.Source,
			Target:   point.Destination,
			ReadOnly: !point.RW,
		}
		switch point.Type {
		case mount.TypeVolume:
			m.Source = point.Name
			options := asked[point.Destination].VolumeOptions
			m.NoCopy = options != nil && options.NoCopy
		case mount.TypeBind:
			m.Propagation = string(point.Propagation)
			m.CreateHostPath = created[point.Destination]
		}
		mounts = append(mounts, m)
	}
	sort.Slice(mounts, func(i, j int) bool { return mounts[i].Target < mounts[j].Target })
	return mounts
}
