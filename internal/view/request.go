// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"strings"
	"time"

	"copse/internal/api"
)

// Request renders the path of one request through services: lines in the order of time, below a
// heading for each service that it comes to, with the time since the first line.
type Request struct {
	view *View
	id   string
	// at is the container of the last line.
	at         string
	lines      int
	last       time.Duration
	containers map[string]bool
}

// Request returns a renderer of the lines of one request.
func (v *View) Request(id string) *Request {
	return &Request{view: v, id: id, containers: map[string]bool{}}
}

// Lines is how many lines there were.
func (r *Request) Lines() int { return r.lines }

// Line renders one line.
func (r *Request) Line(line *api.LogLine) error {
	v := r.view
	name := named(line.Container, line.Generation)
	r.lines++
	r.containers[line.Container] = true
	if line.Elapsed != nil {
		r.last = time.Duration(*line.Elapsed * float64(time.Second))
	}
	switch v.options.Format {
	case JSON:
		return v.object(line)
	case Plain:
		return v.printf("%s %s %s %s", line.Time.UTC().Format(time.RFC3339Nano), elapsed(r.last), name, clean(line.Text))
	}
	if r.at != name {
		r.at = name
		if err := v.printf("%s  %s", v.theme.byName(line.Container, name), v.theme.faint(clean(line.Set))); err != nil {
			return err
		}
	}
	return v.printf("%s │ %s", v.theme.faint(elapsed(r.last)), clean(line.Text))
}

// Close sums up.
func (r *Request) Close() error {
	if r.view.options.Format != Human {
		return nil
	}
	return r.view.printf("%s", r.view.theme.strong(fmt.Sprintf("%s of %s in %s", count(r.lines, "line"), count(len(r.containers), "container"), strings.TrimLeft(elapsed(r.last), " +"))))
}

// elapsed is a time since the first line in a column: seconds and milliseconds.
func elapsed(d time.Duration) string { return fmt.Sprintf("%+9.3fs", d.Seconds()) }
