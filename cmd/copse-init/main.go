// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Command copse-init is the first process of every container Copse runs and
// its check program.
//
//	copse-init [--own-cgroup=NAME] -- COMMAND [ARGUMENT…]   run a service
//	copse-init check KIND …                                 check it
//	copse-init version
//
// Called by a name of the Kolla container API (kolla_start, …), it is that.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"

	"copse/internal/check"
	"copse/internal/containerapi"
	"copse/internal/initproc"
)

func main() { os.Exit(run(os.Args, os.Environ(), os.Stdin, os.Stdout, os.Stderr)) }

func run(arguments, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if personality := filepath.Base(arguments[0]); slices.Contains(containerapi.Personalities(), personality) {
		return containerapi.Run(personality, arguments[1:], stdin, stdout, stderr, environ)
	}
	first := ""
	if len(arguments) > 1 {
		first = arguments[1]
	}
	switch first {
	case "check":
		return check.Run(context.Background(), arguments[2:], os.LookupEnv, stdout, stderr)
	case "version":
		fmt.Fprintln(stdout, "copse-init "+version())
		return 0
	case initproc.StageOwnCgroup:
		return initproc.RunStage(arguments[2:], environ, stderr)
	}
	kolla := &initproc.Kolla{
		Configured: func() bool { return containerapi.HasConfig("/") },
		SetConfigs: func() int {
			return containerapi.Run("kolla_set_configs", nil, stdin, stdout, stderr, environ)
		},
		Start: "kolla_start",
	}
	return initproc.Init{Arguments: arguments[1:], Environ: environ, Kolla: kolla, Stderr: stderr}.Run()
}

// version is the module's, which the go command takes from the version control
// the program was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(unknown)"
	}
	return info.Main.Version
}
