// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package engine is what Copse asks of a container engine. Implementations are in
// engine/docker (Docker Engine and what speaks its API) and engine/fake (in memory, for tests
// and the simulator); engine/enginetest is the one suite that both must pass.
//
// All methods are safe for concurrent use. Errors that a caller acts on are matched with
// errors.Is against the variables of this package.
package engine

import (
	"context"
	"errors"
	"io"
	"time"

	"copse/internal/tree"
)

// Errors that callers act on.
var (
	// ErrNotFound: no such container, image or volume.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the name is taken, or the object is in use or in a state that forbids it.
	ErrConflict = errors.New("conflict")
	// ErrUnavailable: the engine does not answer.
	ErrUnavailable = errors.New("engine does not answer")
	// ErrNoSpace: the engine's disk is full.
	ErrNoSpace = errors.New("no space left on the engine's disk")
)

// Engine is the whole of it. Consumers declare the part that they use.
type Engine interface {
	Containers
	Processes
	Images
	Volumes
	// Info describes the engine and its host.
	Info(ctx context.Context) (Info, error)
	// Events calls handle, from one goroutine, for each event of containers with the given
	// labels until ctx ends (nil), or the connection is lost (an error that matches
	// ErrUnavailable). The first call is one with action EventConnected: whoever lists
	// containers after it misses nothing. Reconnecting is the caller's.
	Events(ctx context.Context, labels map[string]string, handle func(Event)) error
}

// Containers creates, changes and lists containers. Where an id is asked for, a name does as well.
type Containers interface {
	// List returns all containers, running or not, that carry the labels ("" matches any value).
	List(ctx context.Context, labels map[string]string) ([]Container, error)
	Inspect(ctx context.Context, id string) (Container, error)
	// Create makes a container without starting it. An existing name is ErrConflict, a
	// missing image ErrNotFound.
	Create(ctx context.Context, name string, spec tree.Spec) (id string, err error)
	// Start starts a container; one that runs already is left alone.
	Start(ctx context.Context, id string) error
	// Stop sends the container's stop signal and kills it after grace; one that does not run
	// is left alone. No restart policy brings it back until it is started or the engine
	// itself restarts.
	Stop(ctx context.Context, id string, grace time.Duration) error
	// Kill sends a signal, e.g. "SIGKILL". A container that does not run is ErrConflict.
	Kill(ctx context.Context, id, signal string) error
	// Remove removes a stopped container; with force a running one too, which is ErrConflict
	// otherwise. Its named volumes stay.
	Remove(ctx context.Context, id string, force bool) error
	Rename(ctx context.Context, id, name string) error
	// SetRestartPolicy changes what the engine does when the container exits: "no", "always"…
	SetRestartPolicy(ctx context.Context, id, policy string) error
	// Wait returns the exit status once the container does not run; one that was never
	// started returns at once.
	Wait(ctx context.Context, id string) (exitCode int, err error)
}

// Processes looks into containers.
type Processes interface {
	// Exec runs a program inside a running container and returns its exit status. A program
	// that cannot be run has 126 or 127 as a shell would say; a container that does not run is
	// ErrConflict. The end of ctx ends the wait with ctx's error, but not the program, since the
	// engines cannot kill it: see Exec.Kill.
	Exec(ctx context.Context, id string, exec Exec) (exitCode int, err error)
	// Logs calls handle, from one goroutine, for each line, oldest first. With Follow it
	// returns nil when the container stops, and ctx's error when ctx ends. The streams of a
	// container with a TTY cannot be told apart: all is stdout.
	Logs(ctx context.Context, id string, options LogOptions, handle func(LogLine)) error
	// Top lists the processes of a running container.
	Top(ctx context.Context, id string) ([]Process, error)
	// Stats is one sample of a running container's use of resources.
	Stats(ctx context.Context, id string) (Stats, error)
	// CopyTo unpacks a tar archive below path, a directory that exists, in a container that
	// runs or not. Modes, and on Docker owners, are those of the archive.
	CopyTo(ctx context.Context, id, path string, archive io.Reader) error
	// CopyFrom returns a tar archive of a file or directory in a container that runs or not, one
	// that was never started included; its entries are named from the last element of path on.
	// The caller closes it. What is not there is ErrNotFound.
	CopyFrom(ctx context.Context, id, path string) (io.ReadCloser, error)
}

// Images is the engine's image store.
type Images interface {
	// Image describes an image, or returns ErrNotFound.
	Image(ctx context.Context, reference string) (Image, error)
	// ListImages returns the images that carry the labels.
	ListImages(ctx context.Context, labels map[string]string) ([]Image, error)
	// PullImage pulls an image; progress may be nil.
	PullImage(ctx context.Context, reference string, progress func(string)) error
	// LoadImage loads a docker-archive or OCI archive and returns the references in it.
	LoadImage(ctx context.Context, archive io.Reader) ([]string, error)
	TagImage(ctx context.Context, source, target string) error
	RemoveImage(ctx context.Context, reference string) error
}

// Volumes is the engine's store of named volumes.
type Volumes interface {
	ListVolumes(ctx context.Context, labels map[string]string) ([]Volume, error)
	// CreateVolume makes a volume; one that exists is left alone.
	CreateVolume(ctx context.Context, name string, labels map[string]string) error
	RemoveVolume(ctx context.Context, name string) error
}

// Info describes an engine and its host.
type Info struct {
	Name          string `json:"name"` // "Docker Engine", "Podman"
	Version       string `json:"version"`
	APIVersion    string `json:"api_version"` // negotiated
	StorageDriver string `json:"storage_driver"`
	DataRoot      string `json:"data_root"`
	CgroupVersion string `json:"cgroup_version"`
	LiveRestore   bool   `json:"live_restore"`
	Hostname      string `json:"hostname"`
	CPUs          int    `json:"cpus"`
	Memory        int64  `json:"memory"` // bytes
	// MissingCapabilities are those that the host cannot give ("SYS_RESOURCE"); a privileged
	// container is composed without them.
	MissingCapabilities []string `json:"missing_capabilities,omitempty"`
	// SecurityOptions are the protections in use: "seccomp", "apparmor", "selinux"…; nil: not known.
	SecurityOptions []string `json:"security_options,omitempty"`
	// Unlimited are the resources whose limits are not enforced: "memory", "processes", "CPU".
	Unlimited []string `json:"unlimited,omitempty"`
}

// State is a container's state in the engine's words.
type State string

// The states of a container.
const (
	Created    State = "created"
	Running    State = "running"
	Paused     State = "paused"
	Restarting State = "restarting"
	Exited     State = "exited"
	Dead       State = "dead"
)

// Container is a container as the engine reports it.
type Container struct {
	ID      string            `json:"id"`
	Name    string            `json:"name"`
	Image   string            `json:"image"`    // as asked for
	ImageID string            `json:"image_id"` // as resolved
	Labels  map[string]string `json:"labels"`
	State   State             `json:"state"`
	Created time.Time         `json:"created"`
	// What follows is set by Inspect alone.
	Started       time.Time         `json:"started,omitzero"`
	Finished      time.Time         `json:"finished,omitzero"`
	ExitCode      int               `json:"exit_code"`
	OOMKilled     bool              `json:"oom_killed,omitempty"`
	Error         string            `json:"error,omitempty"` // why it could not be started
	RestartCount  int               `json:"restart_count"`
	RestartPolicy string            `json:"restart_policy"`
	PID           int               `json:"pid"`
	Environment   map[string]string `json:"environment,omitempty"`
	Mounts        []tree.Mount      `json:"mounts,omitempty"`
}

// Exec is a program to run inside a container.
type Exec struct {
	Command []string
	// Environment is added to the container's.
	Environment map[string]string
	User        string // "" is the container's
	WorkingDir  string
	Privileged  bool
	TTY         bool
	Stdin       io.Reader // nil: none
	Stdout      io.Writer // nil: discarded
	Stderr      io.Writer // nil: discarded; with TTY all goes to Stdout
	// Kill has the program killed when ctx ends, where its process can be reached from here:
	// with the engine on this host and its processes in sight. Else it goes on.
	Kill bool
	// Resize gives the sizes of the caller's terminal; nil: none.
	Resize <-chan Size
}

// Size is a terminal's size in characters.
type Size struct{ Width, Height uint }

// LogOptions selects lines.
type LogOptions struct {
	Since, Until time.Time // zero: no bound
	Tail         int       // the last lines only; 0: all
	Follow       bool
}

// LogLine is a line that a container wrote.
type LogLine struct {
	Time   time.Time `json:"time"`
	Stream string    `json:"stream"` // "stdout" or "stderr"
	Text   string    `json:"text"`   // without the line's end
}

// Process is a process of a container.
type Process struct {
	PID     int    `json:"pid"` // in the host's numbering
	PPID    int    `json:"ppid"`
	User    string `json:"user"`
	Command string `json:"command"`
}

// Stats is one sample of a container's use of resources.
type Stats struct {
	CPU         time.Duration `json:"cpu"`          // used since its start
	Memory      int64         `json:"memory"`       // bytes, page cache not counted
	MemoryLimit int64         `json:"memory_limit"` // bytes
	Pids        int64         `json:"pids"`
}

// Image is an image in the engine's store.
type Image struct {
	ID         string            `json:"id"`
	References []string          `json:"references"`
	Labels     map[string]string `json:"labels"`
	Size       int64             `json:"size"` // bytes
	Created    time.Time         `json:"created"`
	// Environment is what its containers start with, as NAME=VALUE; set by Image alone.
	Environment []string `json:"environment,omitempty"`
	// Layers are the digests of its layers, lowest first; set by Image alone.
	Layers []string `json:"layers,omitempty"`
}

// Volume is a named volume.
type Volume struct {
	Name    string            `json:"name"`
	Labels  map[string]string `json:"labels"`
	Created time.Time         `json:"created"`
}

// EventConnected is the action of the first event of a stream; it belongs to no container.
const EventConnected = "connected"

// Event is something that happened to a container.
type Event struct {
	Time   time.Time         `json:"time"`
	Action string            `json:"action"` // "create", "start", "die", "destroy", "oom"…
	ID     string            `json:"id"`
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels"`
	// ExitCode belongs to "die".
	ExitCode int `json:"exit_code"`
}
