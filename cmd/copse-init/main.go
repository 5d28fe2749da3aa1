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
	"os"

	"copse/internal/initproc"
)

func main() { os.Exit(run(os.Args, os.Environ())) }

func run(arguments, environ []string) int {
	first := ""
	if len(arguments) > 1 {
		first = arguments[1]
	}
	switch first {
	case initproc.StageOwnCgroup:
		return initproc.RunStage(arguments[2:], environ, os.Stderr)
	}
	return initproc.Init{Arguments: arguments[1:], Environ: environ, Stderr: os.Stderr}.Run()
}
