// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Command copse runs OpenStack as trees of container sets: it is the command line and the agent.
package main

import (
	"context"
	"os"

	"copse/internal/cli"
)

func main() { os.Exit(cli.Run(context.Background(), os.Args[1:], cli.Standard())) }
