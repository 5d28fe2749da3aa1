// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"strings"

	"copse/internal/api"
)

// Secrets renders `copse secret ls`; values are not known here.
func (v *View) Secrets(secrets []api.Secret) error {
	if v.options.Format == JSON {
		return objects(v, secrets)
	}
	if len(secrets) == 0 {
		return v.Note("no secrets yet: the first `copse up` makes them")
	}
	columns := []column{
		{title: "NAME"}, {title: "VERSION", right: true}, {title: "MADE", right: true, drop: 3},
		{title: "USED BY", least: 12, drop: 2}, {title: "DESCRIPTION", least: 12, drop: 4},
	}
	var cells [][]cell
	for _, s := range secrets {
		cells = append(cells, []cell{
			text(clean(s.Name)), text(fmt.Sprint(s.Version)), text(v.ago(&s.CreatedAt)),
			text(clean(or(strings.Join(s.UsedBy, ", "), "-"))), {text: clean(s.Description), paint: v.theme.faint},
		})
	}
	return v.write(v.list(columns, cells))
}

// SecretRotated tells that a secret has a new version, and what makes it count.
func (v *View) SecretRotated(s *api.Secret) error {
	if v.options.Format == JSON {
		return v.object(s)
	}
	if len(s.UsedBy) == 0 {
		return v.printf("%s is at version %d now; no container uses it", clean(s.Name), s.Version)
	}
	return v.printf("%s is at version %d now; `copse up` gives a new generation to what uses it: %s",
		clean(s.Name), s.Version, clean(strings.Join(s.UsedBy, ", ")))
}
