// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"os"
	"path/filepath"

	"copse/internal/optionlist"
	"copse/internal/tree"
)

// optionCheck holds the options that an operator gave against what the images on this host know,
// for as long as a document is being made.
type optionCheck struct {
	program *program
	lists   *optionlist.Lists
	// away is set where this host's engine cannot be asked: then nothing is checked here, and
	// copse-init does it in the container.
	away bool
	err  error
}

func (o *optionCheck) of(ctx context.Context, c *tree.Container, options []string) map[string]error {
	if o.away || o.err != nil {
		return nil
	}
	if o.lists == nil {
		host, err := o.program.connect(ctx)
		if err != nil {
			o.away = true
			return nil
		}
		o.lists = &optionlist.Lists{Engine: host, Dir: optionsDir()}
	}
	faults, err := o.lists.Check(ctx, c, options)
	o.err = err
	return faults
}

// optionsDir is where lists of options are kept between runs, "" where there is no such place.
func optionsDir() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "copse", "options")
}
