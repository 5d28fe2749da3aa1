// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package catalog carries what Copse ships as data: the sets of containers with the environment,
// the files and the values they share, how images are written and what the releases are made of. Nothing in
// it decides anything; internal/image and internal/spec read it.
package catalog

import (
	"embed"
	"io/fs"
)

//go:embed images releases sets env files values.yaml
var files embed.FS

// Files returns the catalogue as it was when the program was built.
func Files() fs.FS { return files }
