// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package initproc

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// StageOwnCgroup is the command by which copse-init calls itself between fork
// and exec: a Go program can run no code of its own there.
//
// An engine that stops a container kills everything in the container's control
// group, and what a daemon such as libvirtd has started (QEMU) is in it. So the
// stage, in every hierarchy of control groups, moves itself to /copse/NAME,
// outside of the engine's tree, and then becomes the service; what the service
// starts is never in the engine's group at any moment. So that the service
// still ends with its container, the stage sets the parent-death signal KILL,
// which a child of the service does not inherit (prctl(2); it is lost as well
// where the service is a set-user-ID program or has file capabilities).
//
// The engine's limits, pause and statistics do not reach the service any more.
// The mount and process namespaces stay the container's: with a process
// namespace of its own the kernel would kill everything with PID 1, so this
// asks for the host's.
const StageOwnCgroup = "own-cgroup-stage"

// groupParent is the group all these groups are in.
const groupParent = "copse"

// initialCgroupNamespace is the inode of the host's cgroup namespace
// (PROC_CGROUP_INIT_INO in the kernel's proc_ns.h).
const initialCgroupNamespace = "cgroup:[4026531835]"

// RunStage is the process that [StageOwnCgroup] names: its arguments are the
// name of the group, the parent's process number, the program's path and the
// service's argument list. It returns only if it fails, with an exit status.
func RunStage(arguments, environ []string, stderr io.Writer) int {
	if len(arguments) < 4 {
		fmt.Fprintf(stderr, "copse-init: %s is for copse-init's own use\n", StageOwnCgroup)
		return statusUsage
	}
	group, path, command := arguments[0], arguments[2], arguments[3:]
	parent, err := strconv.Atoi(arguments[1])
	if err == nil {
		err = validGroupName(group)
	}
	if err != nil {
		fmt.Fprintf(stderr, "copse-init: %v\n", err)
		return statusUsage
	}
	// The death signal belongs to the thread that asks for it and stays with
	// the process only if that thread also execs.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		fmt.Fprintf(stderr, "copse-init: cannot tie the service's life to the container's: %v\n", err)
		return statusNotExecutable
	}
	if os.Getppid() != parent {
		// It died before the line above, so no signal will come.
		return statusNotExecutable
	}
	if err := joinGroup(group); err != nil {
		fmt.Fprintf(stderr, "copse-init: %v\n", err)
		return statusNotExecutable
	}
	err = explainStart(command[0], unix.Exec(path, command, environ))
	fmt.Fprintf(stderr, "copse-init: %v\n", err)
	return startStatus(err)
}

// joinGroup moves this process, with all its threads, into /copse/NAME of
// every hierarchy.
func joinGroup(name string) error {
	hierarchies, err := hostHierarchies()
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		if err := h.join(name); err != nil {
			return fmt.Errorf("cannot move the service to its own control group in %s: %w", h, err)
		}
	}
	return nil
}

// removeGroup removes /copse/NAME where nothing is in it. A group in use
// stays, which the kernel sees to; so does one that is gone.
func removeGroup(name string) {
	hierarchies, err := hostHierarchies()
	if err != nil {
		return
	}
	for _, h := range hierarchies {
		if os.Remove(filepath.Join(h.root, groupParent, name)) == nil {
			// The last one out takes the parent along.
			_ = os.Remove(filepath.Join(h.root, groupParent))
		}
	}
}

func hostHierarchies() ([]hierarchy, error) {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	namespace, err := os.Readlink("/proc/self/ns/cgroup")
	if err != nil {
		return nil, err
	}
	hierarchies, err := parseCgroups(string(groups))
	if err != nil {
		return nil, err
	}
	return locate(hierarchies, parseMounts(string(mounts)), namespace != initialCgroupNamespace)
}

// joinAttempts bounds how often a group is made again that another container
// removes between its making and its use.
const joinAttempts = 5

func (h hierarchy) join(name string) error {
	var err error
	for range joinAttempts {
		if err = h.tryJoin(name); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
			break
		}
	}
	return err
}

func (h hierarchy) tryJoin(name string) error {
	group := h.root
	for _, part := range []string{groupParent, name} {
		above := group
		group = filepath.Join(group, part)
		if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			switch {
			case errors.Is(err, unix.EROFS):
				return fmt.Errorf("%w; mount %s writable", err, h.root)
			case errors.Is(err, fs.ErrPermission):
				// The root of a tree is read-only to all, root included.
				return fmt.Errorf("%w; run as root with the capability DAC_OVERRIDE", err)
			}
			return err
		}
		if slices.Contains(h.controllers, "cpuset") {
			if err := copyCpuset(above, group); err != nil {
				return err
			}
		}
	}
	return writeControl(filepath.Join(group, "cgroup.procs"), "0")
}

// copyCpuset gives a new group the processors and memory nodes of the one
// above: on v1 it has none to begin with, and takes no process until it does.
func copyCpuset(above, group string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		has, err := os.ReadFile(filepath.Join(group, name))
		if err != nil {
			return err
		}
		if strings.TrimSpace(string(has)) != "" {
			continue
		}
		value, err := os.ReadFile(filepath.Join(above, name))
		if err != nil {
			return err
		}
		if err := writeControl(filepath.Join(group, name), strings.TrimSpace(string(value))); err != nil {
			return err
		}
	}
	return nil
}

// writeControl writes a kernel's control file in one write, as those ask for.
func writeControl(path, value string) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(value)
	return errors.Join(err, file.Close())
}
