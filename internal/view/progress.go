// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"

	"copse/internal/api"
)

// frame is how often the live lines are drawn.
const frame = 100 * time.Millisecond

// BuildEvent is something that happened in the building of an image. In JSON it is an object
// of the stream with "type": "build".
type BuildEvent struct {
	Time  time.Time `json:"time"`
	Image string    `json:"image"`
	// Status is "present", "waiting" (for the image below), "building", "built", "failed" or
	// "held" (the image below failed).
	Status string `json:"status"`
	// Step of Total, from 1; 0 where it is not known.
	Step  int `json:"step,omitempty"`
	Total int `json:"total,omitempty"`
	// Text is the current step, with Log a line that it wrote, or what failed.
	Text string `json:"text,omitempty"`
	Log  bool   `json:"log,omitempty"`
}

// Progress shows what is being worked on. Human: a line for each container or image with a
// spinner, its current step and the time it has taken; what has ended scrolls up. Plain: a
// line with the time for each event. JSON: the events. It is safe for concurrent use; Close
// ends it.
type Progress struct {
	view  *View
	title string
	start time.Time

	mu      sync.Mutex // guards what follows
	tracker *tracker
	builds  map[string]int
	said    map[int]string // the last progress of a task
	drawn   int            // live lines on the screen
	tick    int
	err     error // the first error of writing

	stop chan struct{}
	done chan struct{}
}

// Progress starts to show progress under a title such as "change 12: up".
func (v *View) Progress(title string) *Progress {
	p := &Progress{
		view: v, title: title, start: v.Now(), tracker: newTracker(), builds: map[string]int{}, said: map[int]string{},
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	if !p.live() {
		close(p.done)
		return p
	}
	go p.run()
	return p
}

func (p *Progress) live() bool { return p.view.options.Format == Human && p.view.options.Live }

// run draws until Close.
func (p *Progress) run() {
	defer close(p.done)
	ticker := time.NewTicker(frame)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
			p.mu.Lock()
			p.tick++
			p.draw("")
			p.mu.Unlock()
		}
	}
}

// Close takes the live lines off the screen and returns the first error of writing.
func (p *Progress) Close() error {
	close(p.stop)
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn > 0 {
		p.write(p.erase())
	}
	return p.err
}

// Tasks makes a change's tasks known before their events come.
func (p *Progress) Tasks(tasks []api.Task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tracker.plan(tasks)
}

// Images makes known which images are to be built.
func (p *Progress) Images(names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range names {
		if p.builds[name] == 0 {
			p.builds[name] = len(p.builds) + 1
			p.tracker.plan([]api.Task{{ID: p.builds[name], Subject: name, Status: "do"}})
		}
	}
}

// Event shows an event of a change.
func (p *Progress) Event(e api.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.view.options.Format {
	case JSON:
		p.object(e)
		return
	case Plain:
		if line := plainEvent(e); line != "" && !p.repeats(e) {
			p.write(line + "\n")
		}
		return
	}
	if news := p.tracker.event(e); news != nil {
		p.draw(p.ended(news))
	}
}

// repeats reports whether a task's progress is what was said of it last: a check that goes on failing
// in the same way is asked several times a second.
func (p *Progress) repeats(e api.Event) bool {
	if e.Type != "progress" {
		return false
	}
	before, said := p.said[e.Task]
	p.said[e.Task] = e.Text
	return said && before == e.Text
}

// plainEvent is the line of an event: time, container, status, what.
func plainEvent(e api.Event) string {
	words := []string{stamp(e.Time), or(clean(e.Subject), fmt.Sprintf("change-%d", e.Change))}
	switch e.Type {
	case "task":
		if e.Status == "do" {
			return ""
		}
		words = append(words, clean(e.Status)+":", clean(e.Summary))
	case "ended":
		words = append(words, "ended:", clean(e.Status))
	default:
		words = append(words, e.Type+":", clean(e.Summary))
	}
	if e.Text != "" {
		words = append(words, cleanLines(e.Text))
	}
	return strings.Join(strings.Fields(strings.Join(words, " ")), " ")
}

// Build shows an event of building images.
func (p *Progress) Build(e BuildEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.view.options.Format {
	case JSON:
		p.object(struct {
			Type string `json:"type"`
			BuildEvent
		}{"build", e})
		return
	case Plain:
		if e.Log {
			return // a build writes thousands of lines; a failed one has its last in the error
		}
		line := fmt.Sprintf("%s %s %s: %s", stamp(e.Time), clean(e.Image), e.Status, cleanLines(steps(e)+e.Text))
		p.write(strings.TrimRight(line, " :") + "\n")
		return
	}
	if p.builds[e.Image] == 0 {
		p.builds[e.Image] = len(p.builds) + 1
	}
	event := api.Event{Type: "task", Time: e.Time, Task: p.builds[e.Image], Subject: e.Image, Status: "doing", Summary: steps(e) + e.Text}
	switch e.Status {
	case "built", "present":
		event.Status = "done"
	case "waiting":
		event.Status = "do"
	case "held":
		event.Status = "hold"
	case "failed":
		event.Status, event.Text = "error", e.Text
	}
	if e.Log {
		event.Type, event.Text = "log", e.Text
	}
	if news := p.tracker.event(event); news != nil {
		p.draw(p.ended(news))
	}
}

// steps is how far a build is: "[3/7] ".
func steps(e BuildEvent) string {
	if e.Total == 0 {
		return ""
	}
	return fmt.Sprintf("[%d/%d] ", e.Step, e.Total)
}

// Notice shows a remark between the lines: the connection was lost, it is there again.
func (p *Progress) Notice(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.view.options.Format {
	case JSON:
		p.object(remark{Type: "note", Message: text})
	case Plain:
		p.write(stamp(p.view.Now()) + " note: " + clean(text) + "\n")
	default:
		p.draw(p.view.theme.warn("• "+clean(text)) + "\n")
	}
}

// ended is the line of a subject that has come to an outcome.
func (p *Progress) ended(s *tracked) string {
	theme := p.view.theme
	took := ""
	if !s.started.IsZero() && s.ended.After(s.started) {
		took = "  " + theme.faint(Duration(s.ended.Sub(s.started)))
	}
	name := clean(s.name)
	why := ""
	if s.err != "" {
		why = "\n  " + indent(cleanLines(s.err), "  ")
	}
	switch s.outcome {
	case failed:
		return theme.bad("✗ ") + name + took + why + "\n"
	case held:
		return theme.warn("◌ ") + name + "  held: what it waits for has failed" + why + "\n"
	case undone:
		return theme.warn("↺ ") + name + "  put back as it was" + took + "\n"
	}
	return theme.good("✔ ") + name + took + "\n"
}

// draw writes finished lines and, on a terminal, the live ones below them again.
func (p *Progress) draw(finished string) {
	if !p.live() {
		p.write(finished)
		return
	}
	columns, rows := p.view.options.Size()
	live := p.lines(columns, rows)
	var b strings.Builder
	b.WriteString(p.erase())
	b.WriteString(finished)
	for _, line := range live {
		b.WriteString(line + "\n")
	}
	p.drawn = len(live)
	p.write(b.String())
}

// erase moves to the first live line and clears from there.
func (p *Progress) erase() string {
	if p.drawn == 0 {
		return ""
	}
	drawn := p.drawn
	p.drawn = 0
	return fmt.Sprintf("\x1b[%dA\r\x1b[J", drawn)
}

// lines are the live lines: one for each that is worked on, then the sum.
func (p *Progress) lines(columns, rows int) []string {
	theme := p.view.theme
	now := p.view.Now()
	subjects := p.tracker.active()
	room := len(subjects)
	if rows > 0 {
		room = min(room, max(rows-4, 1))
	}
	width := 0
	for _, s := range subjects {
		width = max(width, ansi.StringWidth(clean(s.name)))
	}
	lines := make([]string, 0, room+2)
	for _, s := range subjects[:room] {
		name := clean(s.name)
		elapsed := ""
		if !s.started.IsZero() {
			elapsed = fmt.Sprintf("%6s", Duration(now.Sub(s.started)))
		}
		line := theme.busy(spinner(p.tick)) + " " + name + strings.Repeat(" ", width-ansi.StringWidth(name)) + " " + theme.faint(elapsed) + "  " + clean(s.summary)
		if s.detail != "" {
			line += theme.faint(": " + clean(s.detail))
		}
		lines = append(lines, line)
	}
	if more := len(subjects) - room; more > 0 {
		lines = append(lines, theme.faint(fmt.Sprintf("  and %d more", more)))
	}
	ended, all := p.tracker.finished()
	lines = append(lines, theme.strong(p.title)+theme.faint(fmt.Sprintf("  %d of %d, %s", ended, all, Duration(now.Sub(p.start)))))
	if columns > 0 {
		for i := range lines {
			lines[i] = ansi.Truncate(lines[i], columns-1, "…")
		}
	}
	return lines
}

// spinner is the sign of what goes on, another one with each tick.
func spinner(tick int) string {
	frames := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
	return string(frames[tick%len(frames)])
}

func (p *Progress) write(s string) {
	if s == "" {
		return
	}
	if _, err := p.view.options.Out.Write([]byte(s)); err != nil && p.err == nil {
		p.err = err
	}
}

func (p *Progress) object(value any) {
	if err := p.view.object(value); err != nil && p.err == nil {
		p.err = err
	}
}
