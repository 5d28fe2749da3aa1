// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Command probe stands for a service in the cases: it prints how it was
// started, one line per argument and per variable.
package main

import (
	"fmt"
	"os"
	"slices"
)

func main() {
	for i, argument := range os.Args {
		fmt.Printf("argument %d %q\n", i, argument)
	}
	environ := os.Environ()
	slices.Sort(environ)
	for _, variable := range environ {
		fmt.Printf("variable %q\n", variable)
	}
}
