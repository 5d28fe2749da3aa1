// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"

	"copse/internal/api"
)

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
	return v.write(v.table(columns, groups))
}

func usage(u *api.Usage) string {
	memory := Bytes(u.Memory)
	if u.MemoryLimit > 0 {
		memory += " of " + Bytes(u.MemoryLimit)
	}
	return fmt.Sprintf("cpu %.1fs, memory %s, %s", u.CPUSeconds, memory, count(int(u.Pids), "task"))
}
