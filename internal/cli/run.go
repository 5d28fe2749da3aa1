// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line: each command parses its arguments, calls the agent (or
// resolves, or builds) and hands the result to a view. It decides nothing about containers.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"copse/internal/client"
	"copse/internal/tree"
	"copse/internal/view"
)

// The exit codes, as docs/cli.md promises them.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitChanges     = 2 // of `copse plan`
	exitInterrupted = 130
)

// Streams are what a process is given from outside.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// Environ is in the form of os.Environ.
	Environ []string
	// Program is what the program was called as, "" for its name.
	Program string
}

// Standard gives the streams and the environment of this process.
func Standard() Streams {
	return Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ(), Program: os.Args[0]}
}

// program is what is typed to call the program again: a clone's bin/copse is not found by its name.
func (s Streams) program() string {
	if s.Program == "" {
		return "copse"
	}
	return s.Program
}

// env returns a variable of the environment, "" where it is not set.
func (s Streams) env(name string) string {
	for _, entry := range s.Environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// terminal returns the file behind a stream where that is a terminal.
func terminal(stream any) (*os.File, bool) {
	file, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil, false
	}
	return file, true
}

// Run runs one command line, without the program's name, and returns the exit code.
func Run(ctx context.Context, args []string, streams Streams) int {
	return run(ctx, args, streams, wired())
}

// run is Run with the parts given. A first interrupt ends ctx; a second one ends the process.
func run(ctx context.Context, args []string, streams Streams, parts parts) int {
	ctx, stop := signal.NotifyContext(ctx, interrupts()...)
	defer stop()
	defer context.AfterFunc(ctx, stop)()

	a := &app{streams: streams, parts: parts, args: args}
	var formatErr error
	a.view, formatErr = newView(args, streams)
	if formatErr != nil {
		return a.fail(ctx, formatErr)
	}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	err := root.ExecuteContext(ctx)
	if a.agent != nil {
		_ = a.agent.Close() // nothing more is asked of it
	}
	return a.fail(ctx, err)
}

// interrupts are the signals that end a command. Those that the process was started without
// stay ignored: hangups under nohup, interrupts of a shell's background jobs.
func interrupts() []os.Signal {
	signals := []os.Signal{syscall.SIGTERM}
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signals = append(signals, s)
		}
	}
	return signals
}

// exit ends a command with a code and without a word: it has said everything already.
type exit int

// Error is never shown.
func (e exit) Error() string { return "" }

// usageError is a fault in how the command was called.
type usageError struct{ message string }

// Error says what is wrong with the call.
func (e *usageError) Error() string { return e.message }

// fail tells an error and returns the exit code for it; nil is 0.
func (a *app) fail(ctx context.Context, err error) int {
	var code exit
	usage := (*usageError)(nil)
	var writeErr error
	result := exitFailed
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &usage):
		writeErr = a.view.Error(err, "usage")
		result = exitUsage
	case ctx.Err() != nil:
		// Whatever a part says that was cut off in its work, this is why.
		writeErr = a.view.Error(errors.New("interrupted"), "interrupted")
		result = exitInterrupted
	default:
		writeErr = a.view.Error(err, errorCode(err))
	}
	if writeErr != nil {
		return exitFailed
	}
	return result
}

// errorCode is the code of errors that do not come from the agent.
func errorCode(err error) string {
	unreachable, level := (*client.UnreachableError)(nil), (*client.LevelError)(nil)
	unknown := (*tree.UnknownNameError)(nil)
	switch {
	case errors.As(err, &unknown):
		return "not-found"
	case errors.As(err, &unreachable):
		return "unreachable"
	case errors.As(err, &level):
		return "level"
	}
	return ""
}

// newView makes the view before flags are parsed, so that even a bad flag is told in the
// format that was asked for.
func newView(args []string, streams Streams) (*view.View, error) {
	file, isTerminal := terminal(streams.Out)
	format := view.Plain
	if isTerminal {
		format = view.Human
	}
	asked, given := scanFlag(args, "--format")
	var err error
	// While a shell completes, the value of --format may be half typed.
	completing := len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd)
	if given && !completing {
		format, err = parseFormat(asked, format)
	}
	size := func() (int, int) { return 0, 0 }
	if isTerminal {
		size = func() (int, int) {
			columns, rows, err := term.GetSize(int(file.Fd()))
			if err != nil {
				return 0, 0
			}
			return columns, rows
		}
	}
	dumb := streams.env("TERM") == "dumb"
	return view.New(view.Options{
		Out: streams.Out, Err: streams.Err, Format: format,
		Color: isTerminal && streams.env("NO_COLOR") == "" && !dumb,
		Live:  isTerminal && !dumb,
		Size:  size,
		Now:   time.Now,
	}), err
}

// parseFormat reads the name of a format; an unknown one is a usage error, told in fallback.
func parseFormat(asked string, fallback view.Format) (view.Format, error) {
	for _, known := range view.Formats() {
		if asked == known {
			return view.Format(known), nil
		}
	}
	return fallback, &usageError{"unknown format " + quoted(asked) + hint(asked, view.Formats()) + ": it is one of " + strings.Join(view.Formats(), ", ")}
}

// scanFlag finds a flag's value without parsing anything else; what comes after -- is not ours.
func scanFlag(args []string, flag string) (value string, given bool) {
	for i, arg := range args {
		if arg == "--" {
			break
		}
		if v, ok := strings.CutPrefix(arg, flag+"="); ok {
			value, given = v, true
		} else if arg == flag && i+1 < len(args) {
			value, given = args[i+1], true
		}
	}
	return value, given
}
