// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package initproc is copse-init as the first process of a container.
//
// Run does, in this order: the Kolla configuration where one is mounted,
// templates (COPSE_TEMPLATES), the service's configuration file
// (COPSE_CONFIG_FILE), then the service. While the service runs it passes
// signals on to it, once each and unchanged, and reaps every orphan. When the
// service ends, what it left running is sent TERM and, two seconds later,
// KILL; then copse-init ends with the service's status. Where copse-init is
// not PID 1 (the host's process namespace) it is a subreaper, so orphans of
// the service still come to it, and it ends only its own descendants.
//
// A signal that asks to end (TERM, INT, QUIT) before the service is started
// ends copse-init: all it writes is put in place atomically. If copse-init is
// killed itself, the kernel kills the rest of the process namespace or the
// engine the rest of the control group.
//
// With --own-cgroup=NAME the service runs in the control group /copse/NAME,
// outside of the engine's tree. It dies with copse-init, but the processes
// it leaves do not: see owncgroup.go.
package initproc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The statuses copse-init ends with by itself; any other is the service's.
const (
	statusUsage = 2
	// statusMisspelt is for variables that no option answers to (EX_USAGE of
	// sysexits.h).
	statusMisspelt = 64
	// statusConfig is for templates, secrets and files (EX_CONFIG).
	statusConfig = 78
	// The next two are what shells and engines use.
	statusNotExecutable = 126
	statusNotFound      = 127
)

// Kolla is the part of the Kolla container API that belongs to a start.
type Kolla struct {
	// Configured tells whether a configuration file of Kolla is mounted.
	Configured func() bool
	// SetConfigs applies it and returns an exit status, 0 for done.
	SetConfigs func() int
	// Start is the name by which copse-init applies it and runs the command
	// that it holds.
	Start string
}

// Init is one start of a container.
type Init struct {
	// Arguments are those after the program's name: flags, "--", command.
	Arguments []string
	// Environ is the environment as NAME=VALUE.
	Environ []string
	// Kolla is nil where that interface is not wanted.
	Kolla *Kolla
	// Stderr gets one line for each thing that went wrong.
	Stderr io.Writer
}

// invocation is a parsed command line.
type invocation struct {
	ownCgroup string
	command   []string
}

const usage = "usage: copse-init [--own-cgroup=NAME] -- COMMAND [ARGUMENT…]"

func parseArguments(arguments []string) (invocation, error) {
	var parsed invocation
	for i := 0; i < len(arguments); i++ {
		name, value, assigned := strings.Cut(arguments[i], "=")
		switch {
		case arguments[i] == "--":
			parsed.command = arguments[i+1:]
			return parsed, nil
		case name == "--own-cgroup":
			if !assigned && i+1 < len(arguments) {
				i++
				value = arguments[i]
			}
			if err := validGroupName(value); err != nil {
				return parsed, err
			}
			parsed.ownCgroup = value
		default:
			return parsed, fmt.Errorf("unknown argument %q", arguments[i])
		}
	}
	return parsed, errors.New(`no "--" before the command`)
}

// Run starts the service and stays with it to its end. It returns the exit
// status for the process, and may be called once in a process: it takes over
// the signals and reaps every child.
func (in Init) Run() int {
	// The kernel sends a parent-death signal when the thread that forked ends,
	// so that thread has to stay.
	runtime.LockOSThread()
	caught := catchSignals()
	status, err := in.run(caught)
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fmt.Fprintln(in.Stderr, "copse-init: "+line)
		}
	}
	return status
}

func (in Init) run(caught *signals) (int, error) {
	parsed, err := parseArguments(in.Arguments)
	if err != nil {
		return statusUsage, fmt.Errorf("%w; %s", err, usage)
	}
	if os.Getpid() != 1 {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return 1, fmt.Errorf("cannot become a subreaper: %w", err)
		}
	}
	type outcome struct {
		ready prepared
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		ready, err := in.prepare(parsed)
		done <- outcome{ready, err}
	}()
	var held []os.Signal
	var got outcome
	for waiting := true; waiting; {
		select {
		case got = <-done:
			waiting = false
		case s := <-caught.forwarded:
			if ending(s) {
				return signalStatus(s), fmt.Errorf("ended by %s before the service was started", s)
			}
			held = append(held, s)
		}
	}
	if got.err != nil {
		if failed, ok := errors.AsType[*failure](got.err); ok {
			return failed.status, got.err
		}
		return 1, got.err
	}
	service, err := got.ready.start(parsed.ownCgroup)
	if err != nil {
		return startStatus(err), err
	}
	for _, s := range held {
		_ = unix.Kill(service, s.(syscall.Signal))
	}
	status := caught.supervise(service)
	if parsed.ownCgroup != "" {
		// What is left is meant to stay. The group goes if nothing is.
		removeGroup(parsed.ownCgroup)
		return status, nil
	}
	caught.endRemains()
	return status, nil
}

// prepared is a service ready to be started.
type prepared struct {
	path      string
	arguments []string
	environ   []string
}

// prepare does all that comes before the service, and finds its program.
func (in Init) prepare(parsed invocation) (prepared, error) {
	command, self := parsed.command, false
	if in.Kolla != nil && in.Kolla.Configured() {
		switch {
		case len(command) == 0:
			command, self = []string{in.Kolla.Start}, true
		case filepath.Base(command[0]) == in.Kolla.Start:
			// That command applies the configuration itself.
		default:
			if status := in.Kolla.SetConfigs(); status != 0 {
				return prepared{}, fail(status, "cannot apply the Kolla configuration; %s is not started", command[0])
			}
		}
	}
	if len(command) == 0 {
		return prepared{}, fail(statusUsage, "no command; %s", usage)
	}
	v := values{secrets: secretsDirectory, environ: in.Environ}
	if err := writeTemplates(v); err != nil {
		return prepared{}, err
	}
	environ, err := writeConfig(v)
	if err != nil {
		return prepared{}, err
	}
	if self {
		return prepared{path: ownProgram, arguments: command, environ: environ}, nil
	}
	search, _ := lookup(environ, "PATH")
	path, err := findProgram(command[0], search)
	if err != nil {
		return prepared{}, &failure{startStatus(err), err}
	}
	return prepared{path: path, arguments: command, environ: environ}, nil
}
