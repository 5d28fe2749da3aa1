// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"

	"copse/internal/plan"
	"copse/internal/tree"
)

// release says what a step means for the way between two releases: what a job is for, what window
// is to be expected, how one could go back, and where that ends.
func (v *View) release(s *plan.Step, kind plan.Kind) []string {
	var lines []string
	if words := phaseWords(s.Phase); words != "" {
		lines = append(lines, v.theme.faint(string(s.Phase)+": "+words))
	}
	if s.To > 0 && kind != plan.Rollback {
		lines = append(lines, v.theme.faint(fmt.Sprintf("with the content of generation %d, which it is held at", s.To)))
	}
	if s.Window != nil && s.Window.Probes > 0 {
		lines = append(lines, v.theme.faint("expected window: "+expected(s.Window)))
	}
	if kind != plan.Rollback {
		switch s.Rollback {
		case tree.RollbackFree:
			lines = append(lines, v.theme.faint("rollback: at any time"))
		case tree.RollbackUntilContract:
			lines = append(lines, v.theme.faint("rollback: without loss until it is finalized"))
		case tree.RollbackByRestore:
			lines = append(lines, v.theme.warn("rollback: only with --restore, which loses what is written from now on"))
		}
	}
	if s.NoReturn {
		words := "point of no return"
		if s.Impact == "" {
			words += ": after it the release before cannot be gone back to without loss"
		}
		lines = append(lines, v.theme.bad(words))
	}
	return lines
}

// phaseWords says what a job of a phase is for.
func phaseWords(phase tree.Phase) string {
	switch phase {
	case tree.Dump:
		return "saves the data, and makes a copy to rehearse on"
	case tree.Rehearse:
		return "tries the migration on the copy"
	case tree.Expand:
		return "prepares the data for the new release; the old one works on"
	case tree.Contract:
		return "removes from the data what only the old release needs"
	case tree.Revert:
		return "makes the data fit for the old release again; nothing is lost"
	case tree.Restore:
		return "puts the saved data back; what was written since is lost"
	}
	return ""
}

// expected says a window in words.
func expected(w *tree.Window) string {
	if w.Failed == 0 {
		return "none, as no request failed the last times"
	}
	return fmt.Sprintf("%.2fs with %s, as the last times", w.Duration.Seconds(), count(w.Failed, "failed request"))
}
