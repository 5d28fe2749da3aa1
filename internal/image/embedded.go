// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"embed"
	"errors"
	"io/fs"
)

// ErrNoInit says that this program was built without copse-init in it.
var ErrNoInit = errors.New("this program carries no copse-init: build it with make")

//go:embed embedded
var embedded embed.FS

// EmbeddedInit returns the copse-init that images get, or ErrNoInit.
func EmbeddedInit() ([]byte, error) {
	program, err := embedded.ReadFile("embedded/copse-init")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoInit
	}
	return program, err
}
