// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"strings"

	"copse/internal/api"
	"copse/internal/tree"
)

// OpenRC renders credentials as commands for a POSIX shell, to be given to eval. The agent may be another
// host's, which must not decide what the operator's shell does: a name that is none of the openstack
// client's, such as PATH, is an error.
func (v *View) OpenRC(rc *api.OpenRC) error {
	if v.options.Format == JSON {
		return v.object(rc)
	}
	var b strings.Builder
	for _, name := range tree.SortedKeys(rc.Variables) {
		if !tree.IsClientVariable(name) {
			return fmt.Errorf("cannot give credentials to a shell: the agent names %q among them, which is no variable of the openstack client", name)
		}
		fmt.Fprintf(&b, "export %s=%s\n", name, shellQuote(rc.Variables[name]))
	}
	return v.write(b.String())
}

// shellQuote quotes s so that a POSIX shell reads it as one word, whatever it contains.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
