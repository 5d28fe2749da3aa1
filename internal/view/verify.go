// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
)

// Step is one object of `copse verify --format json`.
type Step struct {
	Type string `json:"type"` // "step"
	Step string `json:"step"`
	// Summary is what the step does, in a sentence.
	Summary string `json:"summary"`
	// Status is one of done, failed, skipped, interrupted; while it is shown, running as well.
	Status    string    `json:"status"`
	StartedAt time.Time `json:"started_at"`
	Seconds   float64   `json:"seconds"`
	// Detail is what was found, or why it is skipped.
	Detail string `json:"detail,omitempty"`
	Error  string `json:"error,omitempty"`
	// Look are commands that may tell more about an error.
	Look []string `json:"look,omitempty"`
	// Console are the last lines of the server's console.
	Console []string `json:"console,omitempty"`
}

// Steps shows the steps of a verification. It is for one goroutine.
type Steps struct {
	view  *View
	began time.Time
	// announced is the step that runs, in plain format; drawn whether it is on the screen.
	announced string
	drawn     bool
	tick      int
	counts    map[string]int
}

// Steps starts to show a verification.
func (v *View) Steps() *Steps {
	return &Steps{view: v, began: v.Now(), counts: map[string]int{}}
}

// Step shows that a step has started, got on or ended.
func (s *Steps) Step(step *Step) error {
	if step.Status != "running" {
		s.counts[step.Status]++
	}
	v := s.view
	switch v.options.Format {
	case JSON:
		if step.Status == "running" {
			return nil
		}
		return v.object(step)
	case Plain:
		return s.plain(step)
	}
	if step.Status == "running" {
		return s.draw(step)
	}
	return v.write(s.erase() + s.ended(step))
}

// plain writes a line when a step starts and one when it ends.
func (s *Steps) plain(step *Step) error {
	v := s.view
	if step.Status == "running" {
		if s.announced == step.Step {
			return nil
		}
		s.announced = step.Step
		return v.printf("%s %s: %s", stamp(v.Now()), step.Step, step.Summary)
	}
	line := fmt.Sprintf("%s %s %s", stamp(v.Now()), step.Step, step.Status)
	if step.Status != "skipped" {
		line += " after " + seconds(step.Seconds)
	}
	if step.Detail != "" {
		line += ": " + clean(step.Detail)
	}
	return v.write(line + "\n" + s.trouble(step))
}

// draw shows the step that runs, on a terminal, in the place where it was shown before.
func (s *Steps) draw(step *Step) error {
	v := s.view
	if !v.options.Live {
		return nil
	}
	s.tick++
	line := v.theme.busy(spinner(s.tick)) + " " + step.Summary + "  " + v.theme.faint(seconds(step.Seconds))
	if step.Detail != "" {
		line += v.theme.faint("  " + clean(step.Detail))
	}
	if columns, _ := v.options.Size(); columns > 0 {
		line = ansi.Truncate(line, columns-1, "…")
	}
	line = s.erase() + line
	s.drawn = true
	return v.write(line)
}

// erase takes the step that runs off the screen.
func (s *Steps) erase() string {
	if !s.drawn {
		return ""
	}
	s.drawn = false
	return "\r\x1b[K"
}

// ended is the line of a step that is over.
func (s *Steps) ended(step *Step) string {
	theme := s.view.theme
	took := "  " + theme.faint(seconds(step.Seconds))
	detail := ""
	if step.Detail != "" {
		detail = "  " + theme.faint(clean(step.Detail))
	}
	switch step.Status {
	case "done":
		return theme.good("✔ ") + step.Summary + took + detail + "\n"
	case "skipped":
		return theme.faint("- "+step.Summary) + detail + "\n"
	case "interrupted":
		return theme.warn("✗ ") + step.Summary + took + "  " + theme.warn("interrupted") + "\n"
	}
	return theme.bad("✗ ") + step.Summary + took + "\n" + s.trouble(step)
}

// trouble is why a step failed and where to look.
func (s *Steps) trouble(step *Step) string {
	var b strings.Builder
	if step.Error != "" {
		fmt.Fprintf(&b, "  %s\n", indent(cleanLines(step.Error), "  "))
	}
	for _, command := range step.Look {
		fmt.Fprintf(&b, "  see `%s`\n", clean(command))
	}
	if len(step.Console) > 0 {
		b.WriteString("  the last lines of the server's console:\n")
		for _, line := range step.Console {
			fmt.Fprintf(&b, "    %s\n", s.view.theme.faint(clean(line)))
		}
	}
	return b.String()
}

// End sums up. JSON has said it all, step by step.
func (s *Steps) End() error {
	v := s.view
	if v.options.Format == JSON {
		return nil
	}
	took := Duration(v.Now().Sub(s.began))
	var text string
	switch done, bad, skipped := s.counts["done"], s.counts["failed"], s.counts["skipped"]; {
	case s.counts["interrupted"] > 0:
		return nil // the end of the command says it
	case bad > 0:
		text = fmt.Sprintf("%s the cloud does not work: %s failed, %d done, %d skipped, in %s", v.theme.bad("✗"), count(bad, "step"), done, skipped, took)
	case skipped > 0:
		text = fmt.Sprintf("%s what was tried works: %s done, %d skipped, in %s", v.theme.good("✔"), count(done, "step"), skipped, took)
	default:
		text = fmt.Sprintf("%s the cloud works: %s in %s", v.theme.good("✔"), count(done, "step"), took)
	}
	return v.printf("%s", text)
}

func seconds(s float64) string { return Duration(time.Duration(s * float64(time.Second))) }
