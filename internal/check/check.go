// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package check is copse-init's check program: what a container's health test
// calls, so that an image needs no curl, ss or pgrep.
//
//	check http URL [--status 200,300-399] [--contains TEXT] [--header NAME=VALUE]… [--ca FILE] [--insecure]
//	check tcp HOST:PORT [--send TEXT] [--expect TEXT]
//	check unix PATH [--send TEXT] [--expect TEXT]
//	check process NAME…
//	check file-age PATH MAXAGE
//	check exec -- COMMAND [ARGUMENT…]
//	check KIND … --and KIND …
//
// Every kind takes --timeout (a duration such as 5s, which is the default),
// after which it is over and failed. Engines call a check without a shell, so
// $NAME and ${NAME} in arguments are taken from the environment here; "$$" is
// a dollar sign. With --and all parts are tried, one after the other.
//
// The exit status is 0 for healthy, 1 for unhealthy, with one line for each
// reason on the standard output, and 2 for a check that is written wrongly.
package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

const (
	statusHealthy   = 0
	statusUnhealthy = 1
	statusUsage     = 2
)

const defaultTimeout = 5 * time.Second

// probe is one check, ready to be made. It returns nil for healthy, else an
// error that reads as a reason. It ends soon after its context does.
type probe func(ctx context.Context) error

// part is a probe with its time.
type part struct {
	// what is the probe in words.
	what    string
	probe   probe
	timeout time.Duration
}

// Run makes the check that the arguments (those after "check") describe and
// returns the exit status. lookup gives the environment's variables.
func Run(ctx context.Context, arguments []string, lookup func(string) (string, bool), stdout, stderr io.Writer) int {
	parts, err := parseAll(arguments, lookup, inside())
	if err != nil {
		fmt.Fprintf(stderr, "copse-init check: %v\n", err)
		return statusUsage
	}
	return runAll(ctx, parts, stdout)
}

func parseAll(arguments []string, lookup func(string) (string, bool), from place) ([]part, error) {
	var parts []part
	for _, words := range splitParts(arguments) {
		parsed, err := parse(words, lookup, from)
		if err != nil {
			return nil, err
		}
		parts = append(parts, parsed)
	}
	return parts, nil
}

func runAll(ctx context.Context, parts []part, stdout io.Writer) int {
	status := statusHealthy
	for _, p := range parts {
		if err := p.run(ctx); err != nil {
			fmt.Fprintln(stdout, err)
			status = statusUnhealthy
		}
	}
	return status
}

// settling is how long a probe may take to say what it was waiting for once
// its time is over.
const settling = 250 * time.Millisecond

// run ends at the time-out even where the probe hangs in the kernel, on a dead
// network file system for one: copse-init ends soon after, and the probe with
// it. What [Outside] admits ends with its context.
func (p part) run(ctx context.Context) error {
	late := fmt.Errorf("%s: no answer within %s", p.what, p.timeout)
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.probe(ctx) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		select {
		case err = <-done:
		case <-time.After(settling):
			err = late
		}
	}
	if err != nil && ctx.Err() != nil && isTimeout(err) {
		return late
	}
	return err
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || (errors.As(err, &timeout) && timeout.Timeout())
}

func splitParts(arguments []string) [][]string {
	var parts [][]string
	for {
		at := slices.Index(arguments, "--and")
		if at < 0 {
			return append(parts, arguments)
		}
		parts = append(parts, arguments[:at])
		arguments = arguments[at+1:]
	}
}

// parser makes a probe of the arguments of a kind, which are expanded and without --timeout.
type parser func(w *words, from place) (probe, error)

// kindNamed returns the parser of a kind, or nil.
func kindNamed(name string) parser {
	switch name {
	case "http":
		return parseHTTP
	case "tcp":
		return parseTCP
	case "unix":
		return parseUnix
	case "process":
		return parseProcess
	case "file-age":
		return parseFileAge
	case "exec":
		return parseExec
	}
	return nil
}

func parse(arguments []string, lookup func(string) (string, bool), from place) (part, error) {
	if len(arguments) == 0 {
		return part{}, errors.New("no kind of check; known are http, tcp, unix, process, file-age and exec")
	}
	parseKind := kindNamed(arguments[0])
	if parseKind == nil {
		return part{}, fmt.Errorf("no kind of check is called %q; known are http, tcp, unix, process, file-age and exec", arguments[0])
	}
	expanded := make([]string, len(arguments)-1)
	for i, argument := range arguments[1:] {
		var err error
		if expanded[i], err = expand(argument, lookup); err != nil {
			return part{}, fmt.Errorf("%s: %w", arguments[0], err)
		}
	}
	given := readWords(expanded)
	parsed := part{what: strings.Join(append([]string{arguments[0]}, expanded...), " "), timeout: defaultTimeout}
	err := given.duration("timeout", &parsed.timeout)
	if err == nil {
		parsed.probe, err = parseKind(given, from)
	}
	if err == nil {
		err = given.unused()
	}
	if err != nil {
		return part{}, fmt.Errorf("%s: %w", arguments[0], err)
	}
	return parsed, nil
}

// expand replaces $NAME and ${NAME}. A variable that is not set is an error: a
// check of the wrong address must not pass, or fail, in silence.
func expand(text string, lookup func(string) (string, bool)) (string, error) {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		name := ""
		switch {
		case strings.HasPrefix(after, "$"):
			out.WriteByte('$')
			text = after[1:]
			continue
		case strings.HasPrefix(after, "{"):
			var closed bool
			if name, text, closed = strings.Cut(after[1:], "}"); !closed {
				return "", fmt.Errorf("%q has no closing brace", "$"+after)
			}
		default:
			end := strings.IndexFunc(after, func(r rune) bool { return !nameRune(r) })
			if end < 0 {
				end = len(after)
			}
			name, text = after[:end], after[end:]
		}
		if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !nameRune(r) }) {
			return "", fmt.Errorf("no variable's name stands after %q; write $$ for a dollar sign", before+"$")
		}
		value, set := lookup(name)
		if !set {
			return "", fmt.Errorf("the environment variable %s is not set", name)
		}
		out.WriteString(value)
	}
}

func nameRune(r rune) bool {
	return r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}
