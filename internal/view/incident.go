// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"time"

	"copse/internal/api"
	"copse/internal/tree"
)

// Incidents renders `copse incidents`: a line for each, oldest first, with its output below.
func (v *View) Incidents(incidents []api.Incident) error {
	if v.options.Format == JSON {
		return objects(v, incidents)
	}
	if len(incidents) == 0 {
		return v.Note("no incidents: nothing has failed")
	}
	for _, i := range incidents {
		name := "(host)"
		if i.Container != "" {
			name = tree.GenerationName(clean(i.Container), i.Generation)
		}
		if err := v.printf("%s  %s  %s  %s", i.Time.UTC().Format(time.RFC3339), name, v.incident(i.What, clean(i.What)), clean(i.Cause)); err != nil {
			return err
		}
		if i.Output == "" {
			continue
		}
		if err := v.printf("    %s", v.theme.faint(indent(cleanLines(i.Output), "    "))); err != nil {
			return err
		}
	}
	return nil
}

// incident paints what an incident is.
func (v *View) incident(what, s string) string {
	switch what {
	case "recovered", "started", "booted":
		return v.theme.good(s)
	case "gave up", "cannot start", "removed":
		return v.theme.bad(s)
	}
	return v.theme.busy(s)
}
