// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package api is what goes over the agent's socket: HTTP with JSON bodies under /v1. The file
// openapi.yaml beside this one describes it, and a test holds the two together. Fields are
// only ever added within a version.
package api

import (
	"time"

	"copse/internal/engine"
	"copse/internal/plan"
	"copse/internal/tree"
)

// Level is the version of this API. A client and an agent whose levels differ say so and stop.
const Level = 1

// DefaultSocket is where an agent listens.
const DefaultSocket = "/run/copse/copse.sock"

// Version answers GET /v1/version.
type Version struct {
	Version string `json:"version"`
	Level   int    `json:"level"`
	// Build is the hash of the agent's program; a CLI with another one offers to replace it.
	Build  string      `json:"build"`
	Schema int         `json:"schema"` // of the agent's store
	Host   string      `json:"host"`
	Engine engine.Info `json:"engine"`
}

// Error is the body of every answer with a status of 400 or above.
type Error struct {
	// Code is for programs: "invalid", "not-found", "conflict", "stale", "unavailable",
	// "newer-document", "internal".
	Code string `json:"code"`
	// Message says what, where and the way out.
	Message string `json:"message"`
	// Change is the change that is in the way of a conflict.
	Change int `json:"change,omitempty"`
}

// Error makes it an error.
func (e *Error) Error() string { return e.Message }

// ChangeRequest is the body of POST /v1/plan and POST /v1/changes.
type ChangeRequest struct {
	Kind plan.Kind `json:"kind"`
	// Document is what is declared from now on (up); without it the last one declared stands.
	Document *tree.Document `json:"document,omitempty"`
	// Names are containers, sets or components, "set/NAME" or "component/NAME" where
	// ambiguous; none means the whole cloud.
	Names []string `json:"names,omitempty"`
	// Revision of the plan that the operator has seen; nil: whatever is now.
	Revision *uint64 `json:"revision,omitempty"`
	// Atomic undoes everything when one container fails.
	Atomic bool `json:"atomic,omitempty"`
	// Volumes removes the volumes as well (down).
	Volumes bool `json:"volumes,omitempty"`
	// To is the generation, or a set's version, to go back to (rollback); 0 is what was before the last change.
	To int `json:"to,omitempty"`
	// Finalize runs the contract jobs: the point of no return (upgrade).
	Finalize bool `json:"finalize,omitempty"`
	// Restore puts saved data back where nothing else can, and loses what was written since (rollback).
	Restore bool `json:"restore,omitempty"`
	// Unpin has the named follow the cloud file again (up).
	Unpin bool `json:"unpin,omitempty"`
	// User is who asked, for the history.
	User string `json:"user,omitempty"`
}

// Change is one change, as GET /v1/changes/{id} answers.
type Change struct {
	ID        int        `json:"id"`
	Kind      string     `json:"kind"`
	Summary   string     `json:"summary"`
	Status    string     `json:"status"` // "doing", "undoing", "done", "error", "aborted" or "stuck"
	User      string     `json:"user,omitempty"`
	CreatedAt time.Time  `json:"created_at"`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
	Subjects  []string   `json:"subjects,omitempty"`
	// Error sums up what failed, with the way out.
	Error string `json:"error,omitempty"`
	Tasks []Task `json:"tasks,omitempty"`
	// Plan is what the change set out to do.
	Plan *plan.Plan `json:"plan,omitempty"`
}

// Ended reports whether nothing more will happen.
func (c *Change) Ended() bool { return c.EndedAt != nil }

// Task is one step of a change.
type Task struct {
	ID        int        `json:"id"`
	Kind      string     `json:"kind"`
	Subject   string     `json:"subject"`
	Summary   string     `json:"summary"`
	Status    string     `json:"status"` // "do", "doing", "done", "undo", "undoing", "undone", "error", "hold", "stuck"
	StartedAt *time.Time `json:"started_at,omitempty"`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
	Error     string     `json:"error,omitempty"`
	Log       []string   `json:"log,omitempty"`
}

// Event is one line of GET /v1/changes/{id}/events, a stream of JSON lines that ends with the change.
type Event struct {
	Sequence uint64    `json:"sequence"`
	Time     time.Time `json:"time"`
	Change   int       `json:"change"`
	// Type is "task" (a status), "progress", "log" or "ended".
	Type    string `json:"type"`
	Task    int    `json:"task,omitempty"`
	Kind    string `json:"kind,omitempty"`
	Subject string `json:"subject,omitempty"`
	Summary string `json:"summary,omitempty"`
	Status  string `json:"status,omitempty"`
	Text    string `json:"text,omitempty"`
}

// Container is one object of GET /v1/containers (`copse ps --format json`).
type Container struct {
	Host       string `json:"host"`
	Set        string `json:"set"`
	Name       string `json:"name"`
	Component  string `json:"component"`
	Generation int    `json:"generation"` // 0: not created yet
	Release    string `json:"release"`
	Image      string `json:"image"`
	EngineID   string `json:"engine_id"`
	// State is the engine's: "running", "exited"…, or "missing".
	State string `json:"state"`
	// Health is one of healthy, starting, unhealthy, failed, stopped, completed.
	Health    string     `json:"health"`
	StartedAt *time.Time `json:"started_at,omitempty"`
	Restarts  int        `json:"restarts"`
	// Why says why Copse has given it up, "" where it has not.
	Why string `json:"why,omitempty"`
	Job bool   `json:"job,omitempty"`
	// Address is where clients reach the service, "" for none.
	Address string `json:"address,omitempty"`
}

// Health is one object of GET /v1/health: a container's check and its last result.
type Health struct {
	Host      string     `json:"host"`
	Set       string     `json:"set"`
	Container string     `json:"container"`
	Check     string     `json:"check"` // "health" or "ready"
	Test      []string   `json:"test"`
	Health    string     `json:"health"`
	Output    string     `json:"output,omitempty"`
	At        *time.Time `json:"at,omitempty"`
	// Took is in seconds.
	Took     float64 `json:"took_seconds,omitempty"`
	Failures int     `json:"failures"` // in a row
}

// Generation is one object of GET /v1/history.
type Generation struct {
	Host       string     `json:"host"`
	Set        string     `json:"set"`
	Name       string     `json:"name"`
	Generation int        `json:"generation"`
	Release    string     `json:"release"`
	Image      string     `json:"image"`
	State      string     `json:"state"` // "active", "superseded", "failed", "removed", "preparing"
	Change     int        `json:"change"`
	Cause      string     `json:"cause"`
	CreatedAt  time.Time  `json:"created_at"`
	Activated  *time.Time `json:"activated_at,omitempty"`
	// WindowSeconds is the time from the first to the last failed request; null: not measured.
	WindowSeconds  *float64 `json:"window_seconds"`
	FailedRequests *int     `json:"failed_requests"`
	// Probes is how many requests were made to measure that, 0: none.
	Probes int `json:"probes,omitempty"`
	// Of is the generation whose content a rollback made again, 0 for others.
	Of int `json:"of,omitempty"`
}

// Pin is one object of GET /v1/pins: a container that is held at something else than what the
// cloud file says.
type Pin = tree.Pin

// PruneRequest is the body of POST /v1/prune.
type PruneRequest struct {
	// DryRun only says what would be removed.
	DryRun bool `json:"dry_run,omitempty"`
}

// Prune answers POST /v1/prune.
type Prune struct {
	// Images are those that were removed, or would be.
	Images []PrunedImage `json:"images"`
	// Bytes is at most what becomes free: images share layers.
	Bytes  int64 `json:"bytes"`
	DryRun bool  `json:"dry_run"`
}

// PrunedImage is an image that nothing needs.
type PrunedImage struct {
	ID         string   `json:"id"`
	References []string `json:"references"`
	Size       int64    `json:"size"` // bytes
	// Error says why it could not be removed.
	Error string `json:"error,omitempty"`
}

// Incident is one object of GET /v1/incidents: something that happened to a container that nobody
// asked for, or that was done about it.
type Incident struct {
	Host       string    `json:"host"`
	Time       time.Time `json:"time"`
	Set        string    `json:"set,omitempty"`
	Container  string    `json:"container,omitempty"` // "": the whole host
	Generation int       `json:"generation,omitempty"`
	// What is "exited", "unhealthy", "restarted", "started", "cannot start", "gave up",
	// "recovered", "removed" or "booted".
	What   string `json:"what"`
	Cause  string `json:"cause"`
	Output string `json:"output,omitempty"`
}

// LogLine is one line of GET /v1/logs.
type LogLine struct {
	Time       time.Time `json:"time"`
	Host       string    `json:"host"`
	Set        string    `json:"set"`
	Container  string    `json:"container"`
	Generation int       `json:"generation"`
	Stream     string    `json:"stream"`
	Text       string    `json:"text"`
	// Elapsed is the time since the first line, where one request was asked for.
	Elapsed *float64 `json:"elapsed_seconds,omitempty"`
	// Requests are the ids of requests in the text, where one request was asked for.
	Requests []string `json:"requests,omitempty"`
}

// Process is one object of GET /v1/top.
type Process struct {
	Container string `json:"container"`
	PID       int    `json:"pid"`
	PPID      int    `json:"ppid"`
	User      string `json:"user"`
	Command   string `json:"command"`
	// Usage is the container's, given with its first process.
	Usage *Usage `json:"usage,omitempty"`
}

// Usage is what a container uses.
type Usage struct {
	CPUSeconds  float64 `json:"cpu_seconds"`
	Memory      int64   `json:"memory"`
	MemoryLimit int64   `json:"memory_limit"`
	Pids        int64   `json:"pids"`
}

// ExecProtocol is what the Upgrade header of an exec names.
const ExecProtocol = "copse-exec"

// ExecRequest is the body of POST /v1/exec. The answer is "101 Switching Protocols"; then
// frames of Frame go both ways.
type ExecRequest struct {
	Container string   `json:"container"`
	Command   []string `json:"command"`
	User      string   `json:"user,omitempty"`
	TTY       bool     `json:"tty,omitempty"`
	Width     uint     `json:"width,omitempty"`
	Height    uint     `json:"height,omitempty"`
}

// Frame is the unit of an exec stream, one JSON object a line.
type Frame struct {
	// Stdin, Stdout and Stderr carry bytes (base64 in JSON).
	Stdin  []byte `json:"stdin,omitempty"`
	Stdout []byte `json:"stdout,omitempty"`
	Stderr []byte `json:"stderr,omitempty"`
	// EOF closes standard input.
	EOF bool `json:"eof,omitempty"`
	// Width and Height are a new size of the terminal.
	Width  uint `json:"width,omitempty"`
	Height uint `json:"height,omitempty"`
	// Exit is the last frame: the program's exit status.
	Exit *int `json:"exit,omitempty"`
	// Error is the last frame where the program could not be run.
	Error string `json:"error,omitempty"`
}

// Secret is one object of GET /v1/secrets: never the value.
type Secret struct {
	Name        string    `json:"name"`
	Version     int       `json:"version"`
	CreatedAt   time.Time `json:"created_at"`
	Description string    `json:"description,omitempty"`
	// UsedBy names the containers that it is mounted into.
	UsedBy []string `json:"used_by,omitempty"`
}

// OpenRC answers GET /v1/openrc: variables for the openstack client, the password among them.
// It is the one answer that carries a secret; the socket is for root alone.
type OpenRC struct {
	Variables map[string]string `json:"variables"`
}

// PreflightRequest is the body of POST /v1/preflight.
type PreflightRequest struct {
	// Document is what is to run; without it, it is what is declared.
	Document *tree.Document `json:"document,omitempty"`
	// Names are containers, sets or components; none means the whole cloud.
	Names []string `json:"names,omitempty"`
}

// ConfigRequest is the body of POST /v1/config.
type ConfigRequest struct {
	// Names are containers, sets or components; none means the whole cloud.
	Names []string `json:"names,omitempty"`
	// Document is what to show the configuration of; without it, it is that of what runs.
	Document *tree.Document `json:"document,omitempty"`
}

// Config is one object of POST /v1/config: the configuration of a container as its service sees
// it. Secrets stand in it by their names: "(secret NAME)".
type Config struct {
	Host      string `json:"host"`
	Set       string `json:"set"`
	Container string `json:"container"`
	Component string `json:"component"`
	// Generation is what runs, 0 where a document was asked about.
	Generation int    `json:"generation,omitempty"`
	Image      string `json:"image"`
	// Files are those that Copse gives the container: what is made of its options first.
	Files []ConfigFile `json:"files"`
	// Environment is that of the service, without the options that went into a file.
	Environment map[string]string `json:"environment"`
	// Problems say what is wrong with it, or why something cannot be shown.
	Problems []string `json:"problems,omitempty"`
}

// ConfigFile is a file of a container's configuration.
type ConfigFile struct {
	Path    string `json:"path"`
	Content string `json:"content"`
	// Source is where it comes from, "" for one made of options (OS_GROUP__OPTION).
	Source string `json:"source,omitempty"`
}
