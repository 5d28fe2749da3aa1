// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"strings"

	"copse/internal/api"
	"copse/internal/tree"
)

// OpenRC renders credentials as commands for a POSIX shell, to be given to eval.
func (v *View) OpenRC(rc *api.OpenRC) error {
	if v.options.Format == JSON {
		return v.object(rc)
	}
	var b strings.Builder
	for _, name := range tree.SortedKeys(rc.Variables) {
		fmt.Fprintf(&b, "export %s=%s\n", name, shellQuote(rc.Variables[name]))
	}
	return v.write(b.String())
}

// shellQuote quotes s so that a POSIX shell reads it as one word, whatever it contains.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
