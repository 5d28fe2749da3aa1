// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"time"

	"copse/internal/api"
)

// Logs renders log lines as they come. It is made once for each stream, so that the prefixes
// stand in a column.
type Logs struct {
	view  *View
	width int
}

// Logs returns a renderer of log lines. containers are the names to expect; the column of the
// prefix grows when a longer one comes.
func (v *View) Logs(containers []string) *Logs {
	l := &Logs{view: v}
	for _, name := range containers {
		l.width = max(l.width, len(name))
	}
	return l
}

// Line renders one line: who, and what was written. In plain format the time is before it.
func (l *Logs) Line(line *api.LogLine) error {
	v := l.view
	if v.options.Format == JSON {
		return v.object(line)
	}
	name := named(line.Container, line.Generation)
	if v.options.Format == Plain {
		return v.printf("%s %s %s", line.Time.UTC().Format(time.RFC3339Nano), name, clean(line.Text))
	}
	l.width = max(l.width, len(name))
	return v.printf("%s %s", v.theme.byName(line.Container, fmt.Sprintf("%-*s │", l.width, name)), clean(line.Text))
}
