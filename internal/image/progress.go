// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// State is how far the build of an image is.
type State string

// The states of a build, in order; an image that the engine has is Present alone.
const (
	Present  State = "present" // nothing to do
	Waiting  State = "waiting" // for the image below it
	Building State = "building"
	Built    State = "built"
	Failed   State = "failed"
	Held     State = "held" // the image below it failed
)

// Progress is an event of a build.
type Progress struct {
	Image     string `json:"image"`
	Reference string `json:"reference"`
	State     State  `json:"state"`
	// Step of Total, from 1; 0 where it is not known yet.
	Step  int `json:"step,omitempty"`
	Total int `json:"total,omitempty"`
	// Text is the instruction that is carried out, or with Log a line that it wrote.
	Text string `json:"text,omitempty"`
	Log  bool   `json:"log,omitempty"`
	// Cached says that the step was taken from the build cache.
	Cached bool `json:"cached,omitempty"`
	// Elapsed is the time since the image's build began.
	Elapsed time.Duration `json:"elapsed_ns"`
	Err     error         `json:"-"`
}

// logLines is how much of a failed step's log is in its error.
const logLines = 40

// StepError is a Dockerfile instruction that failed.
type StepError struct {
	Image       string
	Instruction string
	Log         []string // its last lines
	Err         error
}

func (e *StepError) Error() string {
	var text strings.Builder
	reason := e.Err.Error()
	// BuildKit's message repeats the whole script.
	if at := strings.LastIndex(reason, "exit code: "); at >= 0 {
		reason = reason[at:]
	}
	fmt.Fprintf(&text, "cannot build image %s: %s: %s", e.Image, e.Instruction, reason)
	for _, line := range e.Log {
		text.WriteString("\n  | " + line)
	}
	fmt.Fprintf(&text, "\nmend the image's template, or override its block or packages, and build again: what was built is kept")
	return text.String()
}

func (e *StepError) Unwrap() error { return e.Err }

// tail keeps the last lines of what a step writes.
type tail struct {
	lines   []string
	partial string
}

// write takes up output and returns the lines that it completes.
func (t *tail) write(output []byte) []string {
	parts := strings.Split(t.partial+string(output), "\n")
	t.partial = parts[len(parts)-1]
	var complete []string
	for _, line := range parts[:len(parts)-1] {
		// A terminal shows what comes after the last carriage return.
		line = strings.TrimRight(line, "\r")
		line = line[strings.LastIndexByte(line, '\r')+1:]
		complete = append(complete, line)
	}
	t.lines = append(t.lines, complete...)
	if surplus := len(t.lines) - logLines; surplus > 0 {
		t.lines = append([]string(nil), t.lines[surplus:]...)
	}
	return complete
}

// all returns the last lines, an unfinished one included.
func (t *tail) all() []string {
	if t == nil {
		return nil
	}
	if t.partial != "" {
		return append(append([]string(nil), t.lines...), t.partial)
	}
	return t.lines
}

var stepName = regexp.MustCompile(`^\[(?:\S+ )?(\d+)/(\d+)\] `)

// splitStep takes "[2/5] RUN x" apart; steps of BuildKit's own are not numbered.
func splitStep(name string) (step, total int, text string) {
	match := stepName.FindStringSubmatch(name)
	if match == nil {
		return 0, 0, firstLine(name)
	}
	// The expression matches digits alone; a number too large for an int is shown as 0.
	step, _ = strconv.Atoi(match[1])
	total, _ = strconv.Atoi(match[2])
	return step, total, firstLine(name[len(match[0]):])
}

// firstLine shortens an instruction for people: its mounts say nothing to them.
func firstLine(text string) string {
	words := strings.Fields(strings.SplitN(text, "\n", 2)[0])
	kept := words[:0]
	for _, word := range words {
		if !strings.HasPrefix(word, "--mount=") {
			kept = append(kept, word)
		}
	}
	text = strings.Join(kept, " ")
	const limit = 100
	if runes := []rune(text); len(runes) > limit {
		text = string(runes[:limit-1]) + "…"
	}
	return text
}
