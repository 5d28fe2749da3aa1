// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"

	"copse/internal/tree"
)

// Privileged is a container and what it may do beyond the default: one object of
// `copse ps --privileges --format json`.
type Privileged struct {
	Host       string           `json:"host"`
	Set        string           `json:"set"`
	Name       string           `json:"name"`
	User       string           `json:"user"`
	Privileges []tree.Privilege `json:"privileges"`
	// Memory and Pids are the limits in force, in bytes and processes; 0 is none.
	Memory int64 `json:"memory"`
	Pids   int64 `json:"pids"`
}

// Privileges renders who may do what on the host, and why. Containers without any privilege are
// counted in human formats, and are objects without one in JSON.
func (v *View) Privileges(containers []Privileged) error {
	if v.options.Format == JSON {
		return objects(v, containers)
	}
	columns := []column{{title: "NAME"}, {title: "PRIVILEGE", least: 20}, {title: "WHY", least: 20, drop: 1}}
	var cells [][]cell
	without := 0
	for _, c := range containers {
		if len(c.Privileges) == 0 {
			without++
		}
		for i, p := range c.Privileges {
			name := cell{text: clean(c.Name)}
			if i > 0 && v.options.Format == Human {
				name.text = ""
			}
			cells = append(cells, []cell{name, text(clean(p.Name)), {text: clean(p.Reason), paint: v.theme.faint}})
		}
	}
	if len(cells) > 0 {
		if err := v.write(v.list(columns, cells)); err != nil {
			return err
		}
	}
	return v.printf("%s", v.theme.strong(fmt.Sprintf("%s without any privilege but the host's network.", count(without, "container"))))
}
