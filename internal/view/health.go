// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"strings"

	"copse/internal/api"
)

// Health renders `copse health`: a line for each check, and the output of those that fail.
func (v *View) Health(checks []api.Health) error {
	if v.options.Format == JSON {
		return objects(v, checks)
	}
	if len(checks) == 0 {
		return v.Note("no checks: nothing runs that has one; `copse ps --all` shows what there is")
	}
	columns := []column{
		{title: "NAME"}, {title: "CHECK"}, {title: "HEALTH"}, {title: "WHEN", right: true, drop: 2},
		{title: "TOOK", right: true, drop: 3}, {title: "FAILURES", right: true, drop: 4}, {title: "OUTPUT", least: 16, drop: 1},
	}
	var cells [][]cell
	for _, c := range checks {
		took := "-"
		if c.Took > 0 {
			took = fmt.Sprintf("%.3fs", c.Took)
		}
		cells = append(cells, []cell{
			text(clean(c.Container)), text(clean(c.Check)),
			v.health(c.Health),
			text(v.ago(c.At)), text(took), text(fmt.Sprint(c.Failures)), text(clean(firstLine(c.Output))),
		})
	}
	if err := v.write(v.list(columns, cells)); err != nil {
		return err
	}
	for _, c := range checks {
		if c.Health != "unhealthy" && c.Health != "failed" {
			continue
		}
		lines := []string{"test: " + clean(strings.Join(c.Test, " "))}
		if c.Output != "" {
			lines = append(lines, cleanLines(c.Output))
		}
		if err := v.printf("\n%s\n    %s", v.theme.bad(fmt.Sprintf("%s (%s) is %s:", clean(c.Container), clean(c.Check), clean(c.Health))),
			indent(strings.Join(lines, "\n"), "    ")); err != nil {
			return err
		}
	}
	return nil
}
