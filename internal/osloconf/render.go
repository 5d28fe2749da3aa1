// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package osloconf

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

const preamble = "# Written by copse-init from the variables OS_<GROUP>__<OPTION>; made anew at each start.\n"

// Render returns the configuration file the variables of env amount to. Groups
// and options are sorted, so equal variables give equal bytes. An option under
// a deprecated name is written under its current one. An empty value writes
// "name =", which undoes a default; for a multi-valued option it writes
// nothing, since oslo.config would read one empty value. Values are left to
// oslo.config's own interpolation ($my_ip).
//
// The error is an *Error with every variable that cannot be written.
func (o *Options) Render(env []string) ([]byte, error) {
	settings, problems := o.resolve(env)
	if len(problems) > 0 {
		return nil, &Error{Problems: problems}
	}
	var out strings.Builder
	out.WriteString(preamble)
	section := ""
	for _, s := range settings {
		if s.name.Group != section {
			section = s.name.Group
			out.WriteString("\n[" + section + "]\n")
		}
		for _, value := range valuesOf(s) {
			out.WriteString(s.name.Option)
			out.WriteString(" =")
			if value != "" {
				out.WriteString(" " + quoted(value))
			}
			out.WriteByte('\n')
		}
	}
	return []byte(out.String()), nil
}

// valuesOf splits a multi-valued option's value into its lines.
func valuesOf(s setting) []string {
	if !s.multi {
		return []string{s.value}
	}
	var values []string
	for line := range strings.SplitSeq(s.value, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			values = append(values, line)
		}
	}
	return values
}

// unwritable says why a setting cannot be a line of a file, or "".
func unwritable(s setting) string {
	switch {
	case strings.ContainsAny(s.value, "\r\x00"):
		return "the value holds a control character that ends a line"
	case !s.multi && strings.Contains(s.value, "\n"):
		return "the value has several lines, and " + s.name.String() + " takes one"
	case !utf8.ValidString(s.value):
		return "the value is not UTF-8, which oslo.config reads"
	}
	return ""
}

// quoted keeps oslo.config's reader (oslo_config.iniparser) from taking away
// white space at the ends or a pair of quotes that belongs to the value.
func quoted(value string) string {
	first, _ := utf8.DecodeRuneInString(value)
	last, _ := utf8.DecodeLastRuneInString(value)
	if unicode.IsSpace(first) || unicode.IsSpace(last) || (first == last && (first == '"' || first == '\'')) {
		return `"` + value + `"`
	}
	return value
}

// EscapeValue makes a value that is to be taken literally, such as a secret,
// safe from oslo.config's interpolation, where "$name" and "${name}" are
// replaced and "$$" and "\$" both mean "$".
func EscapeValue(value string) (string, error) {
	if strings.Contains(value, `\$`) {
		return "", errors.New(`"\$" cannot be written: oslo.config reads it as "$"`)
	}
	return strings.ReplaceAll(value, "$", "$$"), nil
}
