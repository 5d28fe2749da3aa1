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
	g := group{}
	for _, c := range checks {
		took := "-"
		if c.Took > 0 {
			took = fmt.Sprintf("%.3fs", c.Took)
		}
		g.rows = append(g.rows, []cell{
			text(clean(c.Container)), text(clean(c.Check)),
			{text: clean(c.Health), paint: func(s string) string { return v.theme.health(c.Health, s) }},
			text(v.ago(c.At)), text(took), text(fmt.Sprint(c.Failures)), text(clean(firstLine(c.Output))),
		})
	}
	if err := v.Text([]byte(v.table(columns, []group{g}))); err != nil {
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

// Top renders `copse top`: the processes of each container below what it uses.
func (v *View) Top(processes []api.Process) error {
	if v.options.Format == JSON {
		return objects(v, processes)
	}
	if len(processes) == 0 {
		return v.Note("no processes: nothing runs; `copse ps` shows what there is")
	}
	columns := []column{
		{title: "PID", right: true}, {title: "PPID", right: true, drop: 1}, {title: "USER", least: 6}, {title: "COMMAND", least: 16},
	}
	if v.options.Format == Plain {
		columns = append([]column{{title: "CONTAINER"}}, columns...)
	}
	var groups []group
	current := ""
	for i, p := range processes {
		row := []cell{text(fmt.Sprint(p.PID)), text(fmt.Sprint(p.PPID)), text(clean(p.User)), text(clean(p.Command))}
		heading := ""
		if v.options.Format == Plain {
			row = append([]cell{text(clean(p.Container))}, row...)
		} else {
			heading = clean(p.Container)
			if p.Usage != nil {
				heading += "  " + usage(p.Usage)
			}
		}
		if i == 0 || (v.options.Format != Plain && p.Container != current) {
			groups = append(groups, group{heading: heading})
			current = p.Container
		}
		last := &groups[len(groups)-1]
		last.rows = append(last.rows, row)
	}
	return v.Text([]byte(v.table(columns, groups)))
}

func usage(u *api.Usage) string {
	memory := Bytes(u.Memory)
	if u.MemoryLimit > 0 {
		memory += " of " + Bytes(u.MemoryLimit)
	}
	return fmt.Sprintf("cpu %.1fs, memory %s, %s", u.CPUSeconds, memory, count(int(u.Pids), "task"))
}
