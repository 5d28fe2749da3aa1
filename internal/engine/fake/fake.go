// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package fake is a container engine in memory: for tests, and for the simulator, which
// drives deployments against it with injected faults.
//
// It keeps the rules that callers depend on (package enginetest holds it to them), among them
// those that surprise: a container with the restart policy "always" that was stopped comes
// back when the engine restarts; a start whose answer got lost has started all the same.
//
// It is deterministic: time comes from Engine.Now, ids are counted, everything is done in the
// order of names. Nothing happens by itself. What is due (an exit, a restart by policy)
// happens with the next call or with Tick. Without a clock of its own, a call that waits
// looks at what is due when it is due.
package fake

import (
	"context"
	"fmt"
	"sync"
	"time"

	"copse/internal/engine"
	"copse/internal/tree"
)

// Engine is a container engine in memory. The zero value is ready for use. The fields are set
// before the first call and not changed afterwards. Fault, Lost, Sleep and the programs' Exec may
// call methods of the engine, Down for instance; the other functions must not.
type Engine struct {
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Sleep lets time pass inside a call that takes time, such as a Stop that waits for a
	// program; nil: calls take no time.
	Sleep func(ctx context.Context, d time.Duration) error
	// Program says how the process of a container behaves; it is asked at each start. Nil:
	// every process runs until it is stopped.
	Program func(name string, spec tree.Spec) Program
	// Fault is called before each operation ("Create", "Start"… the names of the methods) on
	// an object (a container's or volume's name, an image's reference). An error is returned
	// to the caller, and nothing is done.
	Fault func(op, object string) error
	// Lost is called after each operation that was done. An error is returned to the caller
	// in place of the answer.
	Lost func(op, object string) error
	// AnyImage makes every image exist.
	AnyImage bool
	// ImageFiles returns a file of an image, for CopyFrom; nil: images have none.
	ImageFiles func(reference, path string) (content string, found bool)
	// Registry is asked for an image that is pulled; nil: nothing can be pulled.
	Registry func(reference string) (engine.Image, error)
	// SharedVolume reports that several generations of one container may write a volume at
	// the same time; nil: none is shared. See Violations.
	SharedVolume func(volume string) bool
	// Description is what Info returns; fields that are empty are filled in. With LiveRestore
	// processes survive a restart of the engine.
	Description engine.Info

	mu          sync.Mutex
	down        bool
	count       int // of ids and process ids
	containers  map[string]*containerState
	images      map[string]engine.Image // by reference
	volumes     map[string]engine.Volume
	streams     map[*stream]bool
	changed     chan struct{} // closed when something changed
	journal     []Call
	violations  []string
	initialized bool
}

var _ engine.Engine = (*Engine)(nil)

// Call is an operation that was asked for.
type Call struct {
	Time time.Time
	// Op is the name of the method; Object the name of what it was asked for.
	Op, Object string
	// Done: the operation took effect. With an error as well, only the answer got lost.
	Done bool
	Err  error
}

// String is "Create nova-api.3".
func (c Call) String() string {
	if c.Object == "" {
		return c.Op
	}
	return c.Op + " " + c.Object
}

// changes are the operations that change something.
var changes = map[string]bool{
	"Create": true, "Start": true, "Stop": true, "Kill": true, "Remove": true, "Rename": true,
	"SetRestartPolicy": true, "CopyTo": true, "PullImage": true, "LoadImage": true,
	"TagImage": true, "RemoveImage": true, "CreateVolume": true, "RemoveVolume": true,
}

// Journal returns all calls so far.
func (e *Engine) Journal() []Call {
	e.lock()
	defer e.mu.Unlock()
	return append([]Call(nil), e.journal...)
}

// Changes returns, in order, the calls that changed something, as strings: a golden value.
func (e *Engine) Changes() []string {
	e.lock()
	defer e.mu.Unlock()
	var lines []string
	for _, call := range e.journal {
		if call.Done && changes[call.Op] {
			lines = append(lines, call.String())
		}
	}
	return lines
}

// ResetJournal forgets the calls so far.
func (e *Engine) ResetJournal() {
	e.lock()
	defer e.mu.Unlock()
	e.journal = nil
}

// lock also makes the zero value usable.
func (e *Engine) lock() {
	e.mu.Lock()
	if e.initialized {
		return
	}
	e.initialized = true
	e.containers = map[string]*containerState{}
	e.images = map[string]engine.Image{}
	e.volumes = map[string]engine.Volume{}
	e.streams = map[*stream]bool{}
	e.changed = make(chan struct{})
}

// now is the time of the clock.
func (e *Engine) now() time.Time {
	if e.Now == nil {
		return time.Now()
	}
	return e.Now()
}

// notify wakes all that wait. The lock is held.
func (e *Engine) notify() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// do runs one operation: f is called with the lock held.
func (e *Engine) do(ctx context.Context, op, object string, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if e.Fault != nil {
		if err := e.Fault(op, object); err != nil {
			e.record(op, object, false, err)
			return err
		}
	}
	err := e.locked(f)
	if err != nil {
		err = fmt.Errorf("cannot %s %s: %w", verbs[op], object, err)
		e.record(op, object, false, err)
		return err
	}
	if e.Lost != nil {
		err = e.Lost(op, object)
	}
	e.record(op, object, true, err)
	return err
}

// locked runs f on an engine that answers and has done what is due.
func (e *Engine) locked(f func() error) error {
	e.lock()
	defer e.mu.Unlock()
	if e.down {
		return engine.ErrUnavailable
	}
	e.tick()
	return f()
}

// verbs are the operations in the words of an error.
var verbs = map[string]string{
	"Info": "describe the engine", "Events": "follow events",
	"List": "list containers", "Inspect": "inspect container", "Create": "create container",
	"Start": "start container", "Stop": "stop container", "Kill": "kill container",
	"Remove": "remove container", "Rename": "rename container",
	"SetRestartPolicy": "set the restart policy of container", "Wait": "wait for container",
	"Exec": "run a program in container", "Logs": "read the logs of container",
	"Top": "list the processes of container", "Stats": "measure container",
	"CopyTo": "copy files to container",
	"Image":  "inspect image", "ListImages": "list images", "PullImage": "pull image",
	"LoadImage": "load images", "TagImage": "tag image", "RemoveImage": "remove image",
	"ListVolumes": "list volumes", "CreateVolume": "create volume", "RemoveVolume": "remove volume",
}

func (e *Engine) record(op, object string, done bool, err error) {
	e.lock()
	defer e.mu.Unlock()
	e.journal = append(e.journal, Call{Time: e.now(), Op: op, Object: object, Done: done, Err: err})
}

// wait blocks until something changed since changed was read, something is due, or ctx ends.
func (e *Engine) wait(ctx context.Context, changed <-chan struct{}, due time.Time) error {
	var timer <-chan time.Time
	if e.Now == nil && !due.IsZero() {
		t := time.NewTimer(time.Until(due))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-changed:
	case <-timer:
		e.Tick()
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Info implements engine.Engine.
func (e *Engine) Info(ctx context.Context) (engine.Info, error) {
	info := e.Description
	err := e.do(ctx, "Info", "", func() error {
		setDefault(&info.Name, "Fake Engine")
		setDefault(&info.Version, "1")
		setDefault(&info.APIVersion, "1.56")
		setDefault(&info.StorageDriver, "memory")
		setDefault(&info.DataRoot, "/var/lib/fake")
		setDefault(&info.CgroupVersion, "2")
		setDefault(&info.Hostname, "host")
		if info.CPUs == 0 {
			info.CPUs = 4
		}
		if info.Memory == 0 {
			info.Memory = 16 << 30
		}
		return nil
	})
	return info, err
}

func setDefault(field *string, value string) {
	if *field == "" {
		*field = value
	}
}
