// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package containerapi is the Kolla container API: what a container does at its
// start with the configuration that is mounted into it, and the programs that a
// deployer of such containers calls in them. README.md explains the concepts.
package containerapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Personalities lists the programs that are one binary, chosen by the name it
// is called by.
func Personalities() []string {
	names := make([]string, 0, len(programs()))
	for _, p := range programs() {
		names = append(names, p.name)
	}
	return names
}

type program struct {
	name string
	run  func(ctx context.Context, c Container, arguments []string) error
}

func programs() []program {
	return []program{
		{"kolla_start", runStart},
		{"kolla_set_configs", runSetConfigs},
		{"kolla_copy_cacerts", withoutArguments(CopyCACerts)},
		{"kolla_install_projects", withoutArguments(InstallProjects)},
		{"healthcheck_curl", healthcheckCurl},
		{"healthcheck_port", healthcheckPort},
		{"healthcheck_listen", healthcheckListen},
		{"healthcheck_filemod", healthcheckFilemod},
		{"healthcheck_socket", healthcheckSocket},
	}
}

// Run is a whole program: the one of [Personalities] named personality, with
// the arguments after its name. It returns the exit code. kolla_start does not
// return when it succeeds: the service takes the process's place.
func Run(personality string, arguments []string, stdin io.Reader, stdout, stderr io.Writer, env []string) int {
	all := programs()
	i := slices.IndexFunc(all, func(p program) bool { return p.name == personality })
	if i < 0 {
		_, _ = fmt.Fprintf(stderr, "%s: there is no such program\n", personality)
		return exitUnexpected
	}
	workDir, err := os.Getwd()
	if err != nil {
		workDir = "/"
	}
	c := Container{Root: "/", WorkDir: workDir, Env: env, Stdin: stdin, Stdout: stdout, Stderr: stderr}
	err = all[i].run(context.Background(), c, arguments)
	if err == nil {
		return exitOK
	}
	c.logger(personality).error("%v", err)
	if exit, ok := errors.AsType[*exitError](err); ok {
		return exit.code
	}
	return ExitCode(err)
}

func withoutArguments(run func(context.Context, Container) error) func(context.Context, Container, []string) error {
	return func(ctx context.Context, c Container, arguments []string) error {
		if len(arguments) > 0 {
			return fmt.Errorf("no argument is known, %q is given", arguments[0])
		}
		return run(ctx, c)
	}
}

func runStart(ctx context.Context, c Container, _ []string) error {
	command, err := Start(ctx, c)
	if err != nil {
		return err
	}
	return command.execute()
}

func runSetConfigs(ctx context.Context, c Container, arguments []string) error {
	switch {
	case len(arguments) == 0:
		return SetConfigs(ctx, c)
	case len(arguments) == 1 && arguments[0] == "--check":
		return Check(ctx, c)
	default:
		return fmt.Errorf("usage: kolla_set_configs [--check], not %q", arguments)
	}
}
