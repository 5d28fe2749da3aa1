// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package containerapi_test is the conformance suite of the container API: it
// gives an implementation a tree of files and looks at the tree, the exit code
// and what was said. README.md describes the cases and how to run them against
// another implementation.
package containerapi_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// commandKey names the variable with the command of another implementation.
const commandKey = "CONTAINERAPI_COMMAND"

// personalities are the programs the API has.
var personalities = []string{
	"kolla_start", "kolla_set_configs", "kolla_copy_cacerts", "kolla_install_projects",
	"healthcheck_curl", "healthcheck_port", "healthcheck_listen", "healthcheck_filemod", "healthcheck_socket",
}

// implementation is what is tested.
type implementation struct {
	// template is the command of another implementation; empty for our own.
	template []string
	// binary and probe are programs that can be linked into a root.
	binary, probe string
}

// result is how one run ended.
type result struct {
	exit           int
	stdout, stderr string
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d\nstdout:\n%s\nstderr:\n%s", r.exit, r.stdout, r.stderr)
}

// tested is set up once by TestMain.
var tested implementation

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "cannot test the container API: it changes owners and roots of trees of files; run the tests as root")
		return 1
	}
	directory, err := os.MkdirTemp("", "containerapi")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(directory)
	tested.template = strings.Fields(os.Getenv(commandKey))
	tested.probe = filepath.Join(directory, "probe")
	builds := map[string]string{tested.probe: "./probe"}
	if len(tested.template) == 0 {
		tested.binary = filepath.Join(directory, "copse-init")
		builds[tested.binary] = "copse/cmd/copse-init"
	}
	for output, source := range builds {
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", output, source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if said, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "cannot build %s: %v\n%s", source, err, said)
			return 1
		}
	}
	// A case's modes are what it says, whatever this process was started with.
	syscall.Umask(0o022)
	return m.Run()
}

// install puts what every root has into it.
func (i implementation) install(root string) error {
	programs := filepath.Join(root, "usr/local/bin")
	if err := os.MkdirAll(programs, 0o755); err != nil {
		return err
	}
	if err := os.Link(i.probe, filepath.Join(programs, "probe")); err != nil {
		return err
	}
	if i.binary == "" {
		return nil
	}
	if err := os.Link(i.binary, filepath.Join(programs, "copse-init")); err != nil {
		return err
	}
	for _, name := range personalities {
		if err := os.Symlink("copse-init", filepath.Join(programs, name)); err != nil {
			return err
		}
	}
	return nil
}

// run runs one program in a root as a user, with nothing but env.
func (i implementation) run(root string, uid, gid uint32, env []string, words ...string) (result, error) {
	command := &exec.Cmd{Env: env}
	if i.binary != "" {
		// A program in the root that is called by its own path is run as that.
		command.Path = words[0]
		if !strings.Contains(words[0], "/") {
			command.Path = "/usr/local/bin/" + words[0]
		}
		command.Args = words
		command.Dir = "/"
		command.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	} else {
		command.Args = nil
		for _, word := range i.template {
			word = strings.ReplaceAll(word, "{root}", root)
			command.Args = append(command.Args, strings.ReplaceAll(word, "{user}", fmt.Sprintf("%d:%d", uid, gid)))
		}
		command.Args = append(command.Args, words...)
		path, err := exec.LookPath(command.Args[0])
		if err != nil {
			return result{}, err
		}
		command.Path = path
	}
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	ended := result{stdout: stdout.String(), stderr: stderr.String()}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() >= 0 {
		ended.exit = exit.ExitCode()
		return ended, nil
	}
	return ended, err
}
