// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import "copse/internal/tree"

// The form of the file that is written. Field order is the order in the file.
type composeDocument struct {
	Name     string                     `yaml:"name"`
	Services map[string]*composeService `yaml:"services"`
	Configs  map[string]composeContent  `yaml:"configs,omitempty"`
	Secrets  map[string]composeFileRef  `yaml:"secrets,omitempty"`
	Volumes  map[string]composeVolume   `yaml:"volumes,omitempty"`
}

type composeService struct {
	Image           string                       `yaml:"image"`
	Profiles        []string                     `yaml:"profiles,omitempty"`
	Entrypoint      []string                     `yaml:"entrypoint,omitempty"`
	Command         []string                     `yaml:"command,omitempty"`
	User            string                       `yaml:"user,omitempty"`
	GroupAdd        []string                     `yaml:"group_add,omitempty"`
	WorkingDir      string                       `yaml:"working_dir,omitempty"`
	Hostname        string                       `yaml:"hostname,omitempty"`
	Environment     map[string]string            `yaml:"environment,omitempty"`
	Labels          map[string]string            `yaml:"labels,omitempty"`
	NetworkMode     string                       `yaml:"network_mode,omitempty"`
	PID             string                       `yaml:"pid,omitempty"`
	IPC             string                       `yaml:"ipc,omitempty"`
	UTS             string                       `yaml:"uts,omitempty"`
	Cgroup          string                       `yaml:"cgroup,omitempty"`
	Privileged      bool                         `yaml:"privileged,omitempty"`
	CapAdd          []string                     `yaml:"cap_add,omitempty"`
	CapDrop         []string                     `yaml:"cap_drop,omitempty"`
	SecurityOpt     []string                     `yaml:"security_opt,omitempty"`
	Devices         []string                     `yaml:"devices,omitempty"`
	DeviceRules     []string                     `yaml:"device_cgroup_rules,omitempty"`
	ReadOnly        bool                         `yaml:"read_only,omitempty"`
	Tmpfs           []string                     `yaml:"tmpfs,omitempty"`
	Volumes         []composeMount               `yaml:"volumes,omitempty"`
	Configs         []composeFileMount           `yaml:"configs,omitempty"`
	Secrets         []composeFileMount           `yaml:"secrets,omitempty"`
	Ulimits         map[string]tree.Ulimit       `yaml:"ulimits,omitempty"`
	Sysctls         map[string]string            `yaml:"sysctls,omitempty"`
	ExtraHosts      []string                     `yaml:"extra_hosts,omitempty"`
	ShmSize         int64                        `yaml:"shm_size,omitempty"`
	MemLimit        int64                        `yaml:"mem_limit,omitempty"`
	CPUs            float64                      `yaml:"cpus,omitempty"`
	Pids            int64                        `yaml:"pids_limit,omitempty"`
	Restart         string                       `yaml:"restart,omitempty"`
	StopSignal      string                       `yaml:"stop_signal,omitempty"`
	StopGracePeriod string                       `yaml:"stop_grace_period,omitempty"`
	Logging         *composeLogging              `yaml:"logging,omitempty"`
	TTY             bool                         `yaml:"tty,omitempty"`
	DependsOn       map[string]composeDependency `yaml:"depends_on,omitempty"`
	Healthcheck     *composeHealthcheck          `yaml:"healthcheck,omitempty"`
}

type composeMount struct {
	Type     string                `yaml:"type"`
	Source   string                `yaml:"source,omitempty"`
	Target   string                `yaml:"target"`
	ReadOnly bool                  `yaml:"read_only,omitempty"`
	Bind     *composeBind          `yaml:"bind,omitempty"`
	Volume   *composeVolumeOptions `yaml:"volume,omitempty"`
}

type composeBind struct {
	Propagation    string `yaml:"propagation,omitempty"`
	CreateHostPath bool   `yaml:"create_host_path"`
}

type composeVolumeOptions struct {
	NoCopy bool `yaml:"nocopy"`
}

type composeFileMount struct {
	Source string `yaml:"source"`
	Target string `yaml:"target"`
	UID    string `yaml:"uid,omitempty"`
	GID    string `yaml:"gid,omitempty"`
	Mode   string `yaml:"mode,omitempty"`
}

type composeContent struct {
	Content string `yaml:"content"`
}

type composeFileRef struct {
	File string `yaml:"file"`
}

type composeVolume struct {
	Name string `yaml:"name"`
}

type composeLogging struct {
	Driver  string            `yaml:"driver"`
	Options map[string]string `yaml:"options,omitempty"`
}

type composeDependency struct {
	Condition string `yaml:"condition"`
	Restart   bool   `yaml:"restart,omitempty"`
}

type composeHealthcheck struct {
	Test        []string `yaml:"test"`
	Interval    string   `yaml:"interval"`
	Timeout     string   `yaml:"timeout"`
	Retries     int      `yaml:"retries"`
	StartPeriod string   `yaml:"start_period"`
}
