// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/charmbracelet/x/ansi"

	"copse/internal/tree"
)

// clean makes one harmless line of text that somebody else wrote: no escape sequences, no
// control characters.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, ansi.Strip(s))
}

// cleanLines is clean for text of several lines.
func cleanLines(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i, line := range lines {
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		lines[i] = strings.ReplaceAll(indent, "\t", "    ") + strings.TrimRight(clean(line[len(indent):]), " ")
	}
	return strings.Join(lines, "\n")
}

// indent puts a prefix before each line but the first.
func indent(s, prefix string) string { return strings.ReplaceAll(s, "\n", "\n"+prefix) }

// Duration renders a duration for people: "0.4s", "12s", "3m05s", "2h07m", "3d4h".
func Duration(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}

// Bytes renders a size in binary units: "512 B", "1.5 GiB".
func Bytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n), 0
	for value >= 1024 && unit < 5 {
		value /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", value, " KMGTP"[unit])
}

// count renders a number of things: "1 container", "3 containers".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// ago renders when something happened: how long ago for people, the time itself otherwise.
func (v *View) ago(at *time.Time) string {
	switch {
	case at == nil || at.IsZero():
		return "-"
	case v.options.Format == Human:
		return Duration(v.Now().Sub(*at))
	}
	return stamp(*at)
}

// named is a container with its generation, where it has one: "keystone.3".
func named(container string, generation int) string {
	if generation > 0 {
		return tree.GenerationName(clean(container), generation)
	}
	return clean(container)
}

// stamp renders a time to the second.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// or returns s, or other where s is empty.
func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// numberOr renders n, or other where n is 0.
func numberOr(n int, other string) string {
	if n == 0 {
		return other
	}
	return fmt.Sprint(n)
}

// cut shortens a painted line to the screen.
func (v *View) cut(line string) string {
	if width := v.width(); width > 0 {
		return ansi.Truncate(line, width, "…")
	}
	return line
}
