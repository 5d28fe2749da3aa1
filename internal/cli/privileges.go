// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"copse/internal/tree"
	"copse/internal/view"
)

// privileges shows what the named containers of what is declared may do on the host.
func (a *app) privileges(ctx context.Context, names []string) error {
	document, err := a.declared(ctx)
	if err != nil {
		return err
	}
	selected, err := document.Select(names)
	if err != nil {
		return err
	}
	list := make([]view.Privileged, 0, len(selected))
	for _, name := range selected {
		c := document.Container(name)
		privileges := c.Granted()
		if privileges == nil {
			privileges = []tree.Privilege{}
		}
		list = append(list, view.Privileged{
			Host: c.Host, Set: c.Set, Name: c.Name, User: c.Spec.User, Privileges: privileges, Memory: c.Spec.Memory, Pids: c.Spec.Pids,
		})
	}
	return a.view.Privileges(list)
}
