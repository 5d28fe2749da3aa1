// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"hash/fnv"
	"image/color"

	"charm.land/lipgloss/v2"
)

// theme gives words a meaning by colour; without colours it gives them back as they are. The
// sixteen colours of the terminal are used, so that the operator's own palette holds.
type theme struct{ on bool }

func (t theme) paint(style lipgloss.Style, s string) string {
	if !t.on || s == "" {
		return s
	}
	return style.Inline(true).Render(s)
}

func (t theme) foreground(c color.Color, s string) string {
	return t.paint(lipgloss.NewStyle().Foreground(c), s)
}

func (t theme) good(s string) string  { return t.foreground(lipgloss.Green, s) }
func (t theme) warn(s string) string  { return t.foreground(lipgloss.Yellow, s) }
func (t theme) bad(s string) string   { return t.foreground(lipgloss.Red, s) }
func (t theme) busy(s string) string  { return t.foreground(lipgloss.Cyan, s) }
func (t theme) faint(s string) string { return t.foreground(lipgloss.BrightBlack, s) }
func (t theme) strong(s string) string {
	return t.paint(lipgloss.NewStyle().Bold(true), s)
}

// health paints a health, or anything beside it, by what the health means.
func (t theme) health(health, s string) string {
	switch health {
	case "healthy":
		return t.good(s)
	case "starting":
		return t.warn(s)
	case "unhealthy", "failed":
		return t.bad(s)
	}
	return t.faint(s)
}

// status paints the status of a change or task.
func (t theme) status(status, s string) string {
	switch status {
	case "done":
		return t.good(s)
	case "doing", "undoing":
		return t.busy(s)
	case "error", "stuck":
		return t.bad(s)
	case "aborted", "undone", "hold", "undo":
		return t.warn(s)
	}
	return t.faint(s)
}

// byName gives each name one of the colours, always the same.
func (t theme) byName(name, s string) string {
	colors := []color.Color{
		lipgloss.Green, lipgloss.Yellow, lipgloss.Blue, lipgloss.Magenta, lipgloss.Cyan,
		lipgloss.BrightGreen, lipgloss.BrightYellow, lipgloss.BrightBlue, lipgloss.BrightMagenta, lipgloss.BrightCyan,
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(name)) // never fails, by its documentation
	return t.foreground(colors[hash.Sum32()%uint32(len(colors))], s)
}
