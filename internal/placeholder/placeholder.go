// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package placeholder fills secrets and environment values into text.
//
// A placeholder is written
//
//	{{secret NAME}}    the contents of the secret NAME
//	{{env NAME}}       the environment variable NAME
//	{{braces}}         two literal opening braces
//
// and may end in a filter that quotes the value for its surroundings, as in
// {{secret NAME | urlquote}}:
//
//	urlquote   percent-encoded, fit for a user name or password in a URL
//	sql        a MariaDB string literal, its quotes included (default sql_mode)
//	json       a JSON string, its quotes included (also a YAML scalar)
//
// Two opening braces that start anything else are an error: a misspelt
// placeholder must never reach a service as its password. Values are put in
// as they are and not looked at again.
package placeholder

import (
	"errors"
	"fmt"
	"strings"
)

// Source gives the values of placeholders.
type Source interface {
	// Secret returns the contents of a secret, or an error that says why
	// there are none and never quotes them.
	Secret(name string) (string, error)
	// Env returns a variable of the environment and whether it is set.
	Env(name string) (string, bool)
}

// Error is a placeholder that could not be filled in.
type Error struct {
	// Line is the line of the text the placeholder starts on, from 1.
	Line int
	// Reason says what is wrong with it. It holds no secret.
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

const opening, closing = "{{", "}}"

// Contains reports whether text has anything Expand would replace or refuse.
func Contains(text string) bool { return strings.Contains(text, opening) }

// Expand returns text with its placeholders filled in from source. Each
// value, after its filter, passes through encode, which may refuse it; nil
// leaves values as they are. Every bad placeholder is reported, each as an
// *Error, joined as by errors.Join.
func Expand(text string, source Source, encode func(string) (string, error)) (string, error) {
	if !Contains(text) {
		return text, nil
	}
	var out strings.Builder
	var problems []error
	line := 1
	for {
		before, after, found := strings.Cut(text, opening)
		out.WriteString(before)
		if !found {
			break
		}
		line += strings.Count(before, "\n")
		body, rest, closed := strings.Cut(after, closing)
		if !closed || strings.Contains(body, "\n") {
			problems = append(problems, &Error{Line: line, Reason: `"{{" has no "}}" on its line; write {{braces}} for two literal braces`})
			text = after
			continue
		}
		value, err := fill(body, source, encode)
		if err != nil {
			problems = append(problems, &Error{Line: line, Reason: err.Error()})
		}
		out.WriteString(value)
		text = rest
	}
	if len(problems) > 0 {
		return "", errors.Join(problems...)
	}
	return out.String(), nil
}

// fill gives the text that stands for one placeholder, without its braces.
func fill(body string, source Source, encode func(string) (string, error)) (string, error) {
	expression, filterName, filtered := strings.Cut(body, "|")
	words := strings.Fields(expression)
	if len(words) == 1 && words[0] == "braces" && !filtered {
		return opening, nil
	}
	if len(words) != 2 || (words[0] != "secret" && words[0] != "env") {
		return "", fmt.Errorf("{{%s}} is no placeholder; known are {{secret NAME}}, {{env NAME}} and {{braces}}", body)
	}
	kind, name := words[0], words[1]
	if !validName(name) {
		return "", fmt.Errorf("%q cannot be the name of a %s", name, kind)
	}
	apply := func(value string) string { return value }
	if filtered {
		filterName = strings.TrimSpace(filterName)
		if apply = filterNamed(filterName); apply == nil {
			return "", fmt.Errorf("{{%s}} has an unknown filter %q; known are urlquote, sql and json", body, filterName)
		}
	}
	var value string
	if kind == "secret" {
		var err error
		if value, err = source.Secret(name); err != nil {
			return "", err
		}
	} else {
		var set bool
		if value, set = source.Env(name); !set {
			return "", fmt.Errorf("environment variable %s is not set", name)
		}
	}
	value = apply(value)
	if encode == nil {
		return value, nil
	}
	encoded, err := encode(value)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", kind, name, err)
	}
	return encoded, nil
}

// validName keeps a name from leaving the directory of the secrets.
func validName(name string) bool {
	if name[0] == '.' {
		return false
	}
	for _, r := range []byte(name) {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '_', r == '-', r == '.':
		default:
			return false
		}
	}
	return true
}
