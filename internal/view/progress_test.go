// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"copse/internal/api"
)

// terminal keeps what a screen would show: it knows line ends, "up n lines" and "clear from here".
type terminal struct {
	t     *testing.T
	lines []string
	row   int
}

func (s *terminal) Write(p []byte) (int, error) {
	text := string(p)
	for text != "" {
		switch {
		case strings.HasPrefix(text, "\x1b["):
			end := strings.IndexAny(text, "AJm")
			if end < 0 {
				s.t.Fatalf("an escape sequence that is not known: %q", text)
			}
			switch text[end] {
			case 'A':
				n, err := strconv.Atoi(text[2:end])
				if err != nil || n > s.row {
					s.t.Fatalf("up by %q from row %d", text[2:end], s.row)
				}
				s.row -= n
			case 'J':
				s.lines = s.lines[:s.row]
			}
			text = text[end+1:]
		case text[0] == '\r':
			text = text[1:]
		default:
			line, rest, whole := strings.Cut(text, "\n")
			if !whole || strings.Contains(line, "\x1b[") {
				s.t.Fatalf("a part of a line: %q", text)
			}
			s.lines = append(s.lines[:s.row], line)
			s.row++
			text = rest
		}
	}
	return len(p), nil
}

// live is a view on a terminal without colours, with a clock that stands still.
func live(out io.Writer, columns, rows int) *View {
	return New(Options{
		Out: out, Err: out, Format: Human, Live: true,
		Size: func() (int, int) { return columns, rows },
		Now:  func() time.Time { return epoch.Add(10 * time.Second) },
	})
}

func event(second int, task int, subject, summary, status, text string) api.Event {
	return api.Event{Time: epoch.Add(time.Duration(second) * time.Second), Type: "task", Task: task, Subject: subject, Summary: summary, Status: status, Text: text}
}

// still takes the frame of the spinner, which turns with time, out of the lines.
func still(lines []string) []string {
	var out []string
	for _, line := range lines {
		first, rest, _ := strings.Cut(line, " ")
		if strings.ContainsAny(first, "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏") {
			line = "* " + rest
		}
		out = append(out, line)
	}
	return out
}

func TestLiveProgress(t *testing.T) {
	term := &terminal{t: t}
	p := live(term, 80, 24).Progress("change 3: up")
	p.Tasks([]api.Task{
		{ID: 1, Subject: "mariadb", Status: "do"}, {ID: 2, Subject: "mariadb", Status: "do"},
		{ID: 3, Subject: "keystone", Status: "do"}, {ID: 4, Subject: "nova", Status: "do"},
	})
	show := func() []string {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.draw("")
		return still(term.lines)
	}
	check := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, show()); diff != "" {
			t.Errorf("the screen (-want +got):\n%s", diff)
		}
	}
	check("change 3: up  0 of 3, 0.0s")
	p.Event(event(0, 1, "mariadb", "create mariadb.1", "doing", ""))
	p.Event(event(2, 3, "keystone", "create keystone.2", "doing", ""))
	check("* mariadb     10s  create mariadb.1", "* keystone   8.0s  create keystone.2", "change 3: up  0 of 3, 0.0s")
	p.Event(event(3, 1, "mariadb", "create mariadb.1", "done", ""))
	p.Event(event(3, 2, "mariadb", "wait until ready", "doing", ""))
	p.Event(api.Event{Type: "progress", Task: 2, Text: "no \x1b[2Janswer yet"})
	check("* mariadb     10s  wait until ready: no answer yet", "* keystone   8.0s  create keystone.2", "change 3: up  0 of 3, 0.0s")
	p.Event(event(5, 2, "mariadb", "wait until ready", "done", ""))
	check("✔ mariadb  5.0s", "* keystone   8.0s  create keystone.2", "change 3: up  1 of 3, 0.0s")
	p.Event(event(7, 3, "keystone", "create keystone.2", "error", "no such image\nbuild it"))
	p.Event(event(7, 4, "nova", "create nova.1", "hold", ""))
	p.Notice("the agent is there again")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"✔ mariadb  5.0s", "✗ keystone  5.0s", "  no such image", "  build it",
		"◌ nova  held: what it waits for has failed", "• the agent is there again",
	}
	if diff := cmp.Diff(want, term.lines); diff != "" {
		t.Errorf("the screen at the end (-want +got):\n%s", diff)
	}
}

// Many at a time do not push each other off a small screen, and no line wraps.
func TestLiveProgressFitsTheScreen(t *testing.T) {
	term := &terminal{t: t}
	p := live(term, 30, 8).Progress("change 3: up")
	for i := range 20 {
		p.Event(event(0, i+1, "container-"+strconv.Itoa(i), "create something with a long name", "doing", ""))
	}
	p.mu.Lock()
	p.draw("")
	lines := still(term.lines)
	p.mu.Unlock()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if len(lines) != 6 || lines[4] != "  and 16 more" {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
	for _, line := range lines {
		if n := len([]rune(line)); n > 29 {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	if len(term.lines) != 0 {
		t.Errorf("left on the screen: %q", term.lines)
	}
}

// A failure is told at once and not again when what was done has been undone.
func TestTrackerTellsEachOutcomeOnce(t *testing.T) {
	tr := newTracker()
	tr.plan([]api.Task{{ID: 1, Subject: "a", Status: "do"}, {ID: 2, Subject: "a", Status: "do"}, {ID: 3, Subject: "b", Status: "done"}})
	var told []string
	for _, e := range []api.Event{
		event(0, 1, "a", "create", "doing", ""), event(1, 1, "a", "create", "done", ""),
		event(1, 2, "a", "start", "doing", ""), event(2, 2, "a", "start", "error", "boom"),
		event(2, 1, "a", "create", "undo", ""), event(2, 1, "a", "create", "undoing", ""), event(3, 1, "a", "create", "undone", ""),
		event(3, 3, "b", "again", "done", ""),
	} {
		if s := tr.event(e); s != nil {
			told = append(told, s.name+" "+strconv.Itoa(int(s.outcome)))
		}
	}
	want := []string{"a " + strconv.Itoa(int(failed))}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if ended, all := tr.finished(); ended != 2 || all != 2 {
		t.Errorf("%d of %d have ended", ended, all)
	}
}

func TestTrackerAbort(t *testing.T) {
	tr := newTracker()
	tr.plan([]api.Task{{ID: 1, Subject: "a", Status: "do"}, {ID: 2, Subject: "a", Status: "do"}})
	var last *tracked
	for _, e := range []api.Event{
		event(0, 1, "a", "create", "doing", ""), event(1, 1, "a", "create", "undo", ""), event(1, 2, "a", "start", "hold", ""),
		event(1, 1, "a", "create", "undoing", ""), event(2, 1, "a", "create", "undone", ""),
	} {
		if s := tr.event(e); s != nil {
			last = s
		}
	}
	if last == nil || last.outcome != undone {
		t.Errorf("an aborted container is told as %+v", last)
	}
}

func TestBuildProgress(t *testing.T) {
	events := []BuildEvent{
		{Time: epoch, Image: "base", Status: "present"},
		{Time: epoch, Image: "keystone", Status: "waiting"},
		{Time: epoch, Image: "keystone", Status: "building", Step: 2, Total: 5, Text: "RUN install"},
		{Time: epoch, Image: "keystone", Status: "building", Text: "Get:1 …", Log: true},
		{Time: epoch.Add(3 * time.Second), Image: "keystone", Status: "failed", Text: "no such package"},
		{Time: epoch.Add(3 * time.Second), Image: "nova", Status: "held"},
	}
	play := func(v *View) {
		t.Helper()
		p := v.Progress("building images")
		p.Images([]string{"keystone"})
		for _, e := range events {
			p.Build(e)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	term := &terminal{t: t}
	play(live(term, 80, 24))
	want := []string{"✔ base", "✗ keystone  3.0s", "  no such package", "◌ nova  held: what it waits for has failed"}
	if diff := cmp.Diff(want, term.lines); diff != "" {
		t.Errorf("human (-want +got):\n%s", diff)
	}
	v, out := screen(Plain, 0, false)
	play(v)
	wantPlain := `2026-01-02T03:04:05Z base present
2026-01-02T03:04:05Z keystone waiting
2026-01-02T03:04:05Z keystone building: [2/5] RUN install
2026-01-02T03:04:08Z keystone failed: no such package
2026-01-02T03:04:08Z nova held
`
	if diff := cmp.Diff(wantPlain, out.String()); diff != "" {
		t.Errorf("plain (-want +got):\n%s", diff)
	}
}

// failing is a stream that is closed.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("closed") }

func TestErrorsOfWritingAreTold(t *testing.T) {
	for _, format := range []Format{Human, Plain, JSON} {
		v := New(Options{Out: failing{}, Err: &bytes.Buffer{}, Format: format, Size: func() (int, int) { return 0, 0 }, Now: time.Now})
		p := v.Progress("x")
		p.Event(event(0, 1, "a", "create", "doing", ""))
		p.Event(event(0, 1, "a", "create", "done", ""))
		if err := p.Close(); err == nil {
			t.Errorf("%s: a write that failed is not told", format)
		}
		if err := v.Containers(containers(), nil); err == nil {
			t.Errorf("%s: a write that failed is not told", format)
		}
	}
}

// What a check says is written when it is news, not each time that it is asked.
func TestPlainProgressIsNotRepeated(t *testing.T) {
	v, out := screen(Plain, 0, false)
	p := v.Progress("change 3: up")
	for _, e := range []api.Event{
		{Task: 2, Subject: "mariadb", Text: "no answer"}, {Task: 2, Subject: "mariadb", Text: "no answer"},
		{Task: 3, Subject: "keystone", Text: "no answer"}, {Task: 2, Subject: "mariadb", Text: "no answer"},
		{Task: 2, Subject: "mariadb", Text: "refused"}, {Task: 2, Subject: "mariadb", Text: "no answer"},
	} {
		e.Type, e.Time = "progress", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		p.Event(e)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	want := `2026-01-02T03:04:05Z mariadb progress: no answer
2026-01-02T03:04:05Z keystone progress: no answer
2026-01-02T03:04:05Z mariadb progress: refused
2026-01-02T03:04:05Z mariadb progress: no answer
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
