// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package initproc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// defaultPath is searched where PATH is not set, as engines do.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// ownProgram is copse-init itself, wherever it lies and whatever it is called.
const ownProgram = "/proc/self/exe"

// findProgram finds a command as execvp does: a name without a slash in the
// directories of PATH, the first that may be executed. The error wraps
// fs.ErrNotExist or fs.ErrPermission.
func findProgram(command, search string) (string, error) {
	if strings.Contains(command, "/") {
		return command, explainStart(command, executable(command))
	}
	if search == "" {
		search = defaultPath
	}
	refused := fs.ErrNotExist
	for _, directory := range filepath.SplitList(search) {
		if directory == "" {
			directory = "."
		}
		path := filepath.Join(directory, command)
		err := executable(path)
		if err == nil {
			return path, nil
		}
		if errors.Is(err, fs.ErrPermission) {
			refused = fs.ErrPermission
		}
	}
	return "", explainStart(command, refused)
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return unwrapPath(err)
	case info.IsDir():
		return fs.ErrPermission
	}
	return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
}

// explainStart names the command and the reason in words.
func explainStart(command string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("cannot start %q: there is no such program: %w", command, fs.ErrNotExist)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("cannot start %q: it may not be executed: %w", command, fs.ErrPermission)
	case errors.Is(err, unix.ENOEXEC):
		return fmt.Errorf("cannot start %q: it is no program for this machine, nor a script with #! in its first line: %w", command, err)
	}
	return fmt.Errorf("cannot start %q: %w", command, err)
}

// startStatus is what shells end with when a command cannot be started.
func startStatus(err error) int {
	if errors.Is(err, fs.ErrNotExist) {
		return statusNotFound
	}
	return statusNotExecutable
}

// start forks the service into a process group of its own, so that a signal
// from a terminal reaches it once, and from its terminal if it has one.
func (p prepared) start(ownCgroup string) (pid int, err error) {
	path, arguments := p.path, p.arguments
	if ownCgroup != "" {
		path = ownProgram
		arguments = append([]string{"copse-init", StageOwnCgroup, ownCgroup, strconv.Itoa(os.Getpid()), p.path}, p.arguments...)
	}
	attributes := &syscall.SysProcAttr{Setpgid: true}
	if foreground(0) {
		attributes.Foreground, attributes.Ctty = true, 0
	}
	pid, err = syscall.ForkExec(path, arguments, &syscall.ProcAttr{
		Env:   p.environ,
		Files: []uintptr{0, 1, 2},
		Sys:   attributes,
	})
	return pid, explainStart(p.arguments[0], err)
}

// foreground tells whether a descriptor is the terminal this process is in
// front of, and thus could hand over.
func foreground(descriptor int) bool {
	group, err := unix.IoctlGetInt(descriptor, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
