// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package tree is the domain of Copse: a cloud as a tree of container sets.
//
// A set is a node and provides one logical service; a container is a leaf and has one
// responsibility. Everything here is a plain value without I/O: package spec
// makes it from Compose files, package plan compares it with what an engine runs, and
// package deploy brings it into being.
package tree

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// DocumentVersion is the version of the cloud document's form. An agent refuses a document
// with a higher version than it knows.
const DocumentVersion = 1

// Document is a resolved, self-contained cloud: everything that is declared, and nothing
// that has to be looked up elsewhere but the values of secrets.
type Document struct {
	Version int    `json:"version"`
	Cloud   string `json:"cloud"`
	// Values are the resolved key/value pairs, without secrets.
	Values     map[string]string `json:"values"`
	Sets       []Set             `json:"sets"`
	Containers []Container       `json:"containers"`
	Secrets    []Secret          `json:"secrets"`
	Volumes    []Volume          `json:"volumes"`
	// HostPrep is what the sets ask of their hosts, one item a set.
	HostPrep []HostPrep `json:"host_prep,omitempty"`
	// OpenRC are the variables of the openstack client for the cloud's administrator; the
	// password stands in them as a placeholder of package placeholder.
	OpenRC map[string]string `json:"openrc,omitempty"`
	// Images are the images that the containers use, by reference.
	Images []Image `json:"images"`
	// Pins are those that the document was made with, by container.
	Pins []Pin `json:"pins,omitempty"`
}

// Set is a node of the tree: one logical service, made of subsets and containers.
type Set struct {
	// Path names the set from the root, e.g. "storage-operation/swift".
	Path        string `json:"path"`
	Description string `json:"description,omitempty"`
	// Version is the highest number among the active generations of its members: numbers come
	// from one sequence, so it moves with each of them. An agent fills it in; 0 in a document.
	Version int `json:"version,omitempty"`
}

// WithVersions returns sets with the versions that they have by the active generations.
func WithVersions(sets []Set, active map[string]*Generation) []Set {
	versioned := slices.Clone(sets)
	for i := range versioned {
		for _, g := range active {
			if InSet(g.Container.Set, versioned[i].Path) {
				versioned[i].Version = max(versioned[i].Version, g.Number)
			}
		}
	}
	return versioned
}

// Image is one image of the cloud, by the content tag that a plan can know before it is built.
type Image struct {
	Name      string `json:"name"`      // catalogue name, e.g. "keystone"
	Release   string `json:"release"`   // e.g. "2025.1"
	Reference string `json:"reference"` // e.g. "copse/keystone:2025.1-1f2e3d4c5b6a"
}

// Volume is a named volume; only volumes hold state.
type Volume struct {
	Host string `json:"host"`
	// Name is the engine's name for it, e.g. "copse_mariadb".
	Name string `json:"name"`
	// Shared is the reason why containers of several components write to it; "" where one alone does.
	Shared string `json:"shared,omitempty"`
}

// Secret declares a secret: how it is made, never its value.
type Secret struct {
	Name string `json:"name"`
	// Generate says how a first value is made.
	Generate Generator `json:"generate"`
	// Description says what the secret protects.
	Description string `json:"description,omitempty"`
}

// Generator makes the value of a secret.
type Generator struct {
	// Kind is "password" (letters and digits), "hex" or "base64".
	Kind string `json:"kind"`
	// Length is the number of characters for passwords, of random bytes otherwise.
	Length int `json:"length"`
}

// Container is a leaf of the tree: one container with a single responsibility.
type Container struct {
	Host      string `json:"host"`
	Set       string `json:"set"`
	Name      string `json:"name"`
	Component string `json:"component"`
	Release   string `json:"release"`
	// Spec is what the engine is asked for, without what is assigned at run time (generation, port).
	Spec Spec `json:"spec"`
	// Files are written by the agent and mounted read-only (Compose configs).
	Files []File `json:"files,omitempty"`
	// Secrets are mounted as files below /run/secrets, readable by the container's user alone.
	Secrets []SecretMount `json:"secrets,omitempty"`
	Depends []Dependency  `json:"depends,omitempty"`
	// Check is the container's own health (liveness); it decides about restarts.
	Check *Check `json:"check,omitempty"`
	// Ready decides when dependents go on and a generation has proved itself; nil means Check.
	Ready *Check `json:"ready,omitempty"`
	// Job is set on a container that runs to completion.
	Job *Job `json:"job,omitempty"`
	// Ports are what the container listens on by itself, beside its front end.
	Ports []Port `json:"ports,omitempty"`
	// Frontend is set on a container that listens on $PORT behind the proxy.
	Frontend *Frontend `json:"frontend,omitempty"`
	// Proxy is set on the container that owns the front ends' ports.
	Proxy  *Proxy `json:"proxy,omitempty"`
	Update Update `json:"update"`
	// OwnCgroup has the service moved out of the container's control group, so that what it
	// started outlives the container (libvirt and its virtual machines).
	OwnCgroup bool `json:"own_cgroup,omitempty"`
	// Privileges gives the reason for each privilege beyond the default, by its name in the
	// Compose file, e.g. "cap_add NET_ADMIN".
	Privileges map[string]string `json:"privileges,omitempty"`
}

// Spec is what an engine needs to know to create a container. Field names follow Compose.
type Spec struct {
	Image           string            `json:"image"`
	Entrypoint      []string          `json:"entrypoint,omitempty"` // nil: the image's
	Command         []string          `json:"command,omitempty"`    // nil: the image's
	User            string            `json:"user,omitempty"`
	GroupAdd        []string          `json:"group_add,omitempty"`
	WorkingDir      string            `json:"working_dir,omitempty"`
	Hostname        string            `json:"hostname,omitempty"`
	Environment     map[string]string `json:"environment,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`
	NetworkMode     string            `json:"network_mode,omitempty"` // "host", "none", "bridge"
	PID             string            `json:"pid,omitempty"`          // "host" or ""
	IPC             string            `json:"ipc,omitempty"`
	UTS             string            `json:"uts,omitempty"`
	Cgroup          string            `json:"cgroup,omitempty"` // cgroup namespace: "host", "private" or ""
	Privileged      bool              `json:"privileged,omitempty"`
	CapAdd          []string          `json:"cap_add,omitempty"`
	CapDrop         []string          `json:"cap_drop,omitempty"`
	SecurityOpt     []string          `json:"security_opt,omitempty"`
	Devices         []Device          `json:"devices,omitempty"`
	DeviceRules     []string          `json:"device_cgroup_rules,omitempty"`
	Mounts          []Mount           `json:"mounts,omitempty"`
	ReadOnly        bool              `json:"read_only,omitempty"`
	Ulimits         map[string]Ulimit `json:"ulimits,omitempty"`
	Sysctls         map[string]string `json:"sysctls,omitempty"`
	ExtraHosts      []string          `json:"extra_hosts,omitempty"` // "name:address"
	ShmSize         int64             `json:"shm_size,omitempty"`    // bytes
	Memory          int64             `json:"memory,omitempty"`      // bytes, 0 is no limit
	CPUs            float64           `json:"cpus,omitempty"`        // cores, 0 is no limit
	Pids            int64             `json:"pids,omitempty"`        // 0 is no limit
	Restart         string            `json:"restart,omitempty"`     // "always", "no", …
	StopSignal      string            `json:"stop_signal,omitempty"`
	StopGracePeriod time.Duration     `json:"stop_grace_period,omitempty"`
	LogDriver       string            `json:"log_driver,omitempty"`
	LogOptions      map[string]string `json:"log_options,omitempty"`
	TTY             bool              `json:"tty,omitempty"`
}

// MountType is the type of a mount.
type MountType string

// The types of mounts.
const (
	Bind        MountType = "bind"
	NamedVolume MountType = "volume"
	Tmpfs       MountType = "tmpfs"
)

// Mount is a file system made visible inside a container.
type Mount struct {
	Type MountType `json:"type"`
	// Source is the host's path for a bind, the engine's volume name for a volume.
	Source   string `json:"source,omitempty"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only,omitempty"`
	// Propagation of a bind: "", "rprivate", "rshared", "rslave"…
	Propagation string `json:"propagation,omitempty"`
	// CreateHostPath makes a missing directory on the host.
	CreateHostPath bool `json:"create_host_path,omitempty"`
	// TmpfsOptions are mount options such as "mode=0755,uid=42425,size=64m".
	TmpfsOptions string `json:"tmpfs_options,omitempty"`
	// NoCopy keeps the engine from copying the image's files into a new volume.
	NoCopy bool `json:"no_copy,omitempty"`
}

// Device is a device of the host given to a container.
type Device struct {
	Source      string `json:"source"`
	Target      string `json:"target"`
	Permissions string `json:"permissions"` // "rwm"
}

// Ulimit is a pair of limits.
type Ulimit struct {
	Soft int64 `json:"soft"`
	Hard int64 `json:"hard"`
}

// File is a file with declared contents, mounted read-only.
type File struct {
	Target  string `json:"target"`
	Content string `json:"content"`
	Mode    uint32 `json:"mode"`
	UID     int    `json:"uid"`
	GID     int    `json:"gid"`
	// Source names where the content came from, for messages and plans.
	Source string `json:"source,omitempty"`
}

// SecretMount gives a container one secret as a file.
type SecretMount struct {
	Name   string `json:"name"`
	Target string `json:"target"` // absolute path
	Mode   uint32 `json:"mode"`
	UID    int    `json:"uid"`
	GID    int    `json:"gid"`
}

// Condition is what a dependent waits for, in Compose's words.
type Condition string

// The conditions of Compose's depends_on.
const (
	Started   Condition = "service_started"
	Healthy   Condition = "service_healthy"
	Completed Condition = "service_completed_successfully"
)

// Dependency names another container and what must be true of it first.
type Dependency struct {
	Name      string    `json:"name"`
	Condition Condition `json:"condition"`
	// Restart has the dependent restarted after the other was (Compose's restart: true).
	Restart bool `json:"restart,omitempty"`
}

// Check is a test run inside a container.
type Check struct {
	// Test is the argument vector; exit status 0 is healthy.
	Test     []string      `json:"test"`
	Interval time.Duration `json:"interval"`
	Timeout  time.Duration `json:"timeout"`
	// StartPeriod is how long failures after a start do not count; for readiness it is the
	// deadline after which the container has failed to start.
	StartPeriod time.Duration `json:"start_period"`
	// StartInterval is the interval within the start period.
	StartInterval time.Duration `json:"start_interval"`
	Retries       int           `json:"retries"`
}

// Job says how a container that runs to completion behaves.
type Job struct {
	// Timeout ends a job that hangs.
	Timeout time.Duration `json:"timeout"`
	// Writes names the volumes that hold what the job made: where one of them is younger
	// than the job's last success, the job runs again.
	Writes []string `json:"writes,omitempty"`
	// Phase says what part of an upgrade the job is; "" is none.
	Phase Phase `json:"phase,omitempty"`
	// Every is the time between two runs of a scheduled job; 0: it runs when something it depends on changed.
	Every time.Duration `json:"every,omitempty"`
}

// Phase is the part that a job has when its component goes from one release to another. A job with
// a phase never runs for a release before the one that it last ran for, but those of Revert and Restore.
type Phase string

// The phases of jobs, in their order.
const (
	// Dump saves the component's data and makes a copy to rehearse on. It runs only where the release changes.
	Dump Phase = "dump"
	// Rehearse migrates the copy: what fails here has touched nothing. It runs only where the release changes.
	Rehearse Phase = "rehearse"
	// Expand changes data so that the old release works on as well.
	Expand Phase = "expand"
	// Contract ends what only the old release needs: the point of no return. Where the release changes, it
	// runs only when asked for (--finalize).
	Contract Phase = "contract"
	// Revert makes the data fit for an older release again and loses nothing. It runs in a rollback
	// to an older release, before the containers.
	Revert Phase = "revert"
	// Restore puts back what Dump has saved; what was written since is lost. It runs in a rollback to
	// an older release, where that was asked for by name, with the component's containers stopped.
	Restore Phase = "restore"
)

// Port is a claim of a listening port.
type Port struct {
	Name     string `json:"name"`
	Address  string `json:"address"`
	Port     int    `json:"port"`
	Protocol string `json:"protocol"` // "tcp" or "udp"
}

// Frontend is a service behind the proxy: clients use Address:Port, the container listens on
// an assigned $PORT at Internal.
type Frontend struct {
	Name string `json:"name"`
	// Addresses are where the proxy listens.
	Addresses []string `json:"addresses"`
	Port      int      `json:"port"`
	// Internal is the address where the container itself listens.
	Internal string `json:"internal"`
	Mode     string `json:"mode"` // "http" or "tcp"
	// CheckPath is what the proxy asks of a back end before it sends requests.
	CheckPath string `json:"check_path,omitempty"`
}

// Proxy marks the container that is the proxy.
type Proxy struct {
	// Directory on the host, where the agent writes haproxy.cfg and finds the sockets.
	Directory string `json:"directory"`
}

// Order says which generation runs first in a replacement (Compose deploy.update_config.order).
type Order string

// The orders of Compose.
const (
	StopFirst  Order = "stop-first"
	StartFirst Order = "start-first"
)

// Update says how a container is replaced.
type Update struct {
	Order Order `json:"order"`
	// Monitor is how long a new generation must stay healthy before it is trusted.
	Monitor time.Duration `json:"monitor,omitempty"`
	// Rollback says what an older release can still do with the data, "" is RollbackFree.
	Rollback RollbackClass `json:"rollback,omitempty"`
	// Hold has the proxy keep new requests waiting at all front ends that depend on the container,
	// while it is replaced.
	Hold bool `json:"hold,omitempty"`
	// ReplaceAfter names containers that are replaced first, where one change replaces both. Other
	// than a dependency it says nothing of who needs whom, and nothing when either stays.
	ReplaceAfter []string `json:"replace_after,omitempty"`
}

// RollbackClass says until when a container can go back to an older release without loss.
type RollbackClass string

// The classes of rollbacks.
const (
	// RollbackFree: always.
	RollbackFree RollbackClass = "free"
	// RollbackUntilContract: until its component's contract jobs have run for the newer release.
	RollbackUntilContract RollbackClass = "until contract"
	// RollbackByRestore: only with its component's data restored.
	RollbackByRestore RollbackClass = "by restore"
)

// ID identifies a container in the cloud: host/name.
func (c *Container) ID() string { return c.Host + "/" + c.Name }

// ReadyCheck returns the check that decides about readiness, or nil when there is none.
func (c *Container) ReadyCheck() *Check {
	if c.Ready != nil {
		return c.Ready
	}
	return c.Check
}

// GenerationName is the engine's name for one generation of a container.
func GenerationName(container string, generation int) string {
	return fmt.Sprintf("%s.%d", container, generation)
}

// Container returns the container with that name, or nil.
func (d *Document) Container(name string) *Container {
	for i := range d.Containers {
		if d.Containers[i].Name == name {
			return &d.Containers[i]
		}
	}
	return nil
}

// Secret returns the declaration of a secret, or nil.
func (d *Document) Secret(name string) *Secret {
	for i := range d.Secrets {
		if d.Secrets[i].Name == name {
			return &d.Secrets[i]
		}
	}
	return nil
}

// InSet reports whether set path s is top or lies below it.
func InSet(s, top string) bool { return s == top || strings.HasPrefix(s, top+"/") }

// Ancestors returns the paths from the top set down to s, s included.
func Ancestors(s string) []string {
	var paths []string
	for p := s; p != "." && p != ""; p = path.Dir(p) {
		paths = append(paths, p)
	}
	slices.Reverse(paths)
	return paths
}

// SortedKeys returns the keys of a map in order, for deterministic output.
func SortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
