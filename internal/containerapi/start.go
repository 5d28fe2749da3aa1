// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Command is a program ready for execve(2).
type Command struct {
	Path string
	Argv []string
	Env  []string
}

// The exit codes of a shell for a command it cannot run.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// exitError carries the exit code that a step of a start ended with.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// extendStart runs a script that the image brings, in the shell that becomes
// the service: so everything the script does (exported variables, ulimit,
// umask, the working directory, ARGS, an exit) counts. The command is split
// and expanded by that shell. $1 is the command, $2 the script.
const extendStart = `set -e
CMD=$1 ARGS= COPSE_EXTEND_START=$2
set --
. "$COPSE_EXTEND_START"
echo "Running command: '${CMD}${ARGS:+ $ARGS}'"
exec ${CMD} ${ARGS}
`

// Start is kolla_start up to the last step: it puts the configuration and the
// certificates in place, installs the projects that are mounted for
// development, and returns the command to be executed in this process's place.
// Where the image has a kolla_extend_start, that command is a shell which
// sources it first.
func Start(ctx context.Context, c Container) (Command, error) {
	if err := c.setConfigsAsRoot(ctx); err != nil {
		return Command{}, err
	}
	command, err := c.runCommand()
	if err != nil {
		return Command{}, err
	}
	if err := c.copyCACertsAsRoot(ctx); err != nil {
		return Command{}, err
	}
	if err := c.installProjectsAsRoot(ctx); err != nil {
		return Command{}, err
	}
	if _, skip := c.lookup("KOLLA_SKIP_EXTEND_START"); !skip {
		if script, found := c.findExtendStart(); found {
			return c.extended(command, script)
		}
	}
	words := c.tree().expandWords(command)
	if len(words) == 0 {
		return Command{}, fault(InvalidConfig, "the command is empty: there is nothing to start")
	}
	_, _ = fmt.Fprintf(c.Stdout, "Running command: '%s'\n", command)
	path, err := c.findProgram(words[0])
	if err != nil {
		return Command{}, err
	}
	return Command{Path: path, Argv: words, Env: c.Env}, nil
}

// runCommand reads what the configuration was put in place with. As in a
// shell's $(…), line ends at the end do not count.
func (c Container) runCommand() (string, error) {
	data, err := os.ReadFile(c.tree().host(runCommandFile))
	if err != nil {
		return "", fmt.Errorf("cannot read the command to start: %w", err)
	}
	return strings.TrimRight(strings.ReplaceAll(string(data), "\x00", ""), "\n"), nil
}

// findExtendStart looks for the script where the shell's "." would. One that
// does nothing, such as the empty one of most images, counts as missing.
func (c Container) findExtendStart() (path string, found bool) {
	for _, directory := range c.searchPath() {
		path := filepath.Join(directory, "kolla_extend_start")
		host := c.tree().host(path)
		if info, err := os.Stat(host); err != nil || !info.Mode().IsRegular() {
			continue
		}
		script, err := os.ReadFile(host)
		if err != nil {
			return path, true // the shell says why it cannot be read
		}
		for line := range strings.Lines(string(script)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				return path, true
			}
		}
		return "", false
	}
	return "", false
}

func (c Container) extended(command, script string) (Command, error) {
	for _, shell := range []string{"bash", "sh"} {
		if path, err := c.findProgram(shell); err == nil {
			return Command{Path: path, Argv: []string{path, "-c", extendStart, "kolla_start", command, script}, Env: c.Env}, nil
		}
	}
	return Command{}, &exitError{code: exitNotFound, err: fmt.Errorf("cannot run %s: the image has neither bash nor sh; set KOLLA_SKIP_EXTEND_START to start without it", script)}
}

func (c Container) searchPath() []string {
	path, set := c.lookup("PATH")
	if !set || path == "" {
		path = defaultPath
	}
	return filepath.SplitList(path)
}

// findProgram finds what a shell would run, with its exit codes for failure.
func (c Container) findProgram(name string) (string, error) {
	candidates := []string{name}
	if !strings.Contains(name, "/") {
		candidates = nil
		for _, directory := range c.searchPath() {
			if directory == "" {
				directory = "."
			}
			candidates = append(candidates, directory+"/"+name)
		}
	}
	var refused error
	for _, candidate := range candidates {
		info, err := os.Stat(c.tree().host(candidate))
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR):
			refused = err
		case err != nil:
		case info.IsDir():
			refused = fmt.Errorf("%s is a directory", candidate)
		case unix.Access(c.tree().host(candidate), unix.X_OK) != nil:
			refused = fmt.Errorf("%s may not be executed", candidate)
		default:
			return candidate, nil
		}
	}
	if refused != nil {
		return "", &exitError{code: exitNotExecutable, err: fmt.Errorf("cannot run %q: %w", name, refused)}
	}
	return "", &exitError{code: exitNotFound, err: fmt.Errorf("cannot run %q: the image has no such program", name)}
}

// execute replaces this process. It only returns when that fails.
func (command Command) execute() error {
	err := unix.Exec(command.Path, command.Argv, command.Env)
	code := exitNotExecutable
	if errors.Is(err, unix.ENOENT) {
		code = exitNotFound
	}
	return &exitError{code: code, err: fmt.Errorf("cannot run %s: %w", command.Path, err)}
}

// run runs a program to its end with the container's streams.
func (c Container) run(ctx context.Context, name string, arguments ...string) error {
	path, err := c.findProgram(name)
	if err != nil {
		return err
	}
	process := exec.CommandContext(ctx, path, arguments...)
	process.Env, process.Dir = c.Env, c.WorkDir
	process.Stdin, process.Stdout, process.Stderr = c.Stdin, c.Stdout, c.Stderr
	err = process.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() > 0 {
		return &exitError{code: exit.ExitCode(), err: fmt.Errorf("%s %s ended with exit code %d", name, strings.Join(arguments, " "), exit.ExitCode())}
	}
	if err != nil {
		return fmt.Errorf("cannot run %s: %w", name, err)
	}
	return nil
}
