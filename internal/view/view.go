// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package view renders what Copse has to say, in three formats: "human" with colours and live
// progress, "plain" for logs and pipes, and "json" for programs (one object a line).
//
// Everything that containers or engines wrote is stripped of control characters before it
// reaches a terminal. JSON carries the wire types of package api as they are.
package view

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"go.yaml.in/yaml/v4"

	"copse/internal/api"
)

// Format is one of the three ways to render.
type Format string

// The formats.
const (
	Human Format = "human"
	Plain Format = "plain"
	JSON  Format = "json"
)

// Formats lists the formats, for messages and completion.
func Formats() []string { return []string{string(Human), string(Plain), string(JSON)} }

// Options says where and how to render.
type Options struct {
	// Out takes results, Err errors and remarks.
	Out, Err io.Writer
	Format   Format
	// Color is whether Out and Err understand colours.
	Color bool
	// Live is whether Out is a terminal on which lines can be drawn again.
	Live bool
	// Size returns the columns and rows of Out, 0 where there is no limit.
	Size func() (columns, rows int)
	// Now is the clock.
	Now func() time.Time
}

// View renders. Its methods return the error of writing. It is for one goroutine; only
// Progress may be used from several.
type View struct {
	options Options
	theme   theme
}

// New returns a view.
func New(options Options) *View {
	return &View{options: options, theme: theme{on: options.Color && options.Format == Human}}
}

// Format returns the format of the view.
func (v *View) Format() Format { return v.options.Format }

// Now returns the view's time.
func (v *View) Now() time.Time { return v.options.Now() }

// width is the number of columns that a line may have, 0 for any.
func (v *View) width() int {
	if v.options.Format != Human {
		return 0
	}
	columns, _ := v.options.Size()
	return columns
}

// object writes one JSON object on a line of its own.
func (v *View) object(value any) error {
	return encode(v.options.Out, value)
}

// encode writes a value as JSON on one line, with "<" and "&" as they are.
func encode(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// objects writes one JSON object a line.
func objects[T any](v *View, values []T) error {
	for i := range values {
		if err := v.object(&values[i]); err != nil {
			return err
		}
	}
	return nil
}

// write writes text as it is: a table, a rendered file.
func (v *View) write(text string) error {
	_, err := io.WriteString(v.options.Out, text)
	return err
}

// printf writes a line of results.
func (v *View) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(v.options.Out, format+"\n", args...)
	return err
}

// failure is the JSON form of an error.
type failure struct {
	Type    string `json:"type"` // "error"
	Code    string `json:"code"`
	Message string `json:"message"`
	Change  int    `json:"change,omitempty"`
}

// Error tells an error, on the stream for errors. The code is for programs: those of
// api.Error, "usage", "interrupted" or "failed".
func (v *View) Error(err error, code string) error {
	change := 0
	if answer := (*api.Error)(nil); errors.As(err, &answer) {
		change = answer.Change
		if code == "" {
			code = answer.Code
		}
	}
	if code == "" {
		code = "failed"
	}
	if v.options.Format == JSON {
		return encode(v.options.Err, failure{Type: "error", Code: code, Message: err.Error(), Change: change})
	}
	_, writeErr := fmt.Fprintf(v.options.Err, "%s %s\n", v.theme.bad("copse:"), cleanLines(err.Error()))
	return writeErr
}

// remark is the JSON form of a note.
type remark struct {
	Type    string `json:"type"` // "note"
	Message string `json:"message"`
}

// Note tells something worth knowing beside the result, on the stream for errors.
func (v *View) Note(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if v.options.Format == JSON {
		return encode(v.options.Err, remark{Type: "note", Message: text})
	}
	_, err := fmt.Fprintln(v.options.Err, cleanLines(text))
	return err
}

// YAML writes a YAML file; in JSON format as JSON on one line.
func (v *View) YAML(data []byte) error {
	if v.options.Format != JSON {
		return v.write(string(data))
	}
	var value any
	if err := yaml.Unmarshal(data, &value); err != nil {
		return fmt.Errorf("cannot render the file as JSON: %w", err)
	}
	return v.object(value)
}

// Frame writes a frame of an exec stream as an object.
func (v *View) Frame(frame *api.Frame) error { return v.object(frame) }
