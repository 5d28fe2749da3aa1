// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"fmt"
	"io"
)

// logger writes one line per event, with the program's name and a level. It
// never gets the content of a file.
type logger struct {
	output  io.Writer
	program string
}

func (l *logger) info(format string, args ...any)  { l.line("INFO", format, args) }
func (l *logger) warn(format string, args ...any)  { l.line("WARNING", format, args) }
func (l *logger) error(format string, args ...any) { l.line("ERROR", format, args) }

func (l *logger) line(level, format string, args []any) {
	// Nothing can be done about a log that cannot be written.
	_, _ = fmt.Fprintf(l.output, "%s:%s: %s\n", level, l.program, fmt.Sprintf(format, args...))
}
