// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"copse/internal/tree"
)

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// engineSpec copies what an engine is asked for as it stands in the Compose file; mounts and
// the environment come apart.
func (b *builder) engineSpec(d *decoder, s *types.ServiceConfig, at []string) tree.Spec {
	e := tree.Spec{
		Entrypoint: slices.Clone([]string(s.Entrypoint)), Command: slices.Clone([]string(s.Command)),
		User: s.User, GroupAdd: slices.Clone(s.GroupAdd), WorkingDir: s.WorkingDir, Hostname: s.Hostname,
		Labels:      mapOrNil(s.Labels),
		NetworkMode: s.NetworkMode, PID: s.Pid, IPC: s.Ipc, UTS: s.Uts, Cgroup: s.Cgroup,
		Privileged: s.Privileged, CapAdd: slices.Clone(s.CapAdd), CapDrop: slices.Clone(s.CapDrop),
		SecurityOpt: slices.Clone(s.SecurityOpt), DeviceRules: slices.Clone(s.DeviceCgroupRules),
		ReadOnly: s.ReadOnly, Sysctls: mapOrNil(s.Sysctls), ShmSize: int64(s.ShmSize),
		Memory: int64(s.MemLimit), CPUs: decimal(s.CPUS), Pids: s.PidsLimit,
		Restart: s.Restart, StopSignal: s.StopSignal, StopGracePeriod: duration(s.StopGracePeriod), TTY: s.Tty,
	}
	for _, device := range s.Devices {
		e.Devices = append(e.Devices, tree.Device{
			Source: device.Source, Target: orDefault(device.Target, device.Source), Permissions: orDefault(device.Permissions, "rwm"),
		})
	}
	for _, name := range tree.SortedKeys(s.Ulimits) {
		limit := s.Ulimits[name]
		if e.Ulimits == nil {
			e.Ulimits = map[string]tree.Ulimit{}
		}
		if limit.Single != 0 {
			e.Ulimits[name] = tree.Ulimit{Soft: int64(limit.Single), Hard: int64(limit.Single)}
		} else {
			e.Ulimits[name] = tree.Ulimit{Soft: int64(limit.Soft), Hard: int64(limit.Hard)}
		}
	}
	for _, host := range tree.SortedKeys(s.ExtraHosts) {
		for _, address := range s.ExtraHosts[host] {
			e.ExtraHosts = append(e.ExtraHosts, host+":"+address)
		}
	}
	if s.Logging != nil {
		e.LogDriver, e.LogOptions = s.Logging.Driver, mapOrNil(s.Logging.Options)
	}
	if s.Deploy != nil && s.Deploy.Resources.Limits != nil {
		limits := s.Deploy.Resources.Limits
		setDefault(&e.Memory, int64(limits.MemoryBytes))
		setDefault(&e.CPUs, decimal(float32(limits.NanoCPUs.Value())))
		setDefault(&e.Pids, limits.Pids)
	}
	modes := map[string]string{"network_mode": e.NetworkMode, "pid": e.PID, "ipc": e.IPC, "uts": e.UTS, "cgroup": e.Cgroup}
	allowed := map[string][]string{
		"network_mode": {"", "host", "none", "bridge"}, "pid": {"", "host"},
		"ipc": {"", "host", "private", "shareable", "none"}, "uts": {"", "host"}, "cgroup": {"", "host", "private"},
	}
	for _, key := range tree.SortedKeys(modes) {
		if !slices.Contains(allowed[key], modes[key]) {
			d.fault(append(slices.Clone(at), key), "%q is not honoured; use %s", modes[key], strings.Join(allowed[key][1:], " or "))
		}
	}
	return e
}

// decimal widens a number without making 0.1 into 0.10000000149.
func decimal(f float32) float64 {
	exact, err := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
	if err != nil {
		return float64(f)
	}
	return exact
}

// mapOrNil copies a map; an empty one becomes nil, so that documents have one form.
func mapOrNil[M ~map[string]string](m M) map[string]string {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
