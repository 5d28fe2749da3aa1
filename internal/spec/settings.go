// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"copse/internal/nearest"
	"copse/internal/tree"
)

// addressValue is the value that the --address flag sets.
const addressValue = "ADDRESS"

// Value is one value of a cloud, for people who want to know what they can set.
type Value struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Value       string `json:"value"`
	Description string `json:"description"`
	// From is where it was set: a file with its line, "environment", "command line" or "default".
	From string `json:"from"`
}

// Values works out the values of a cloud without resolving the cloud itself, by name.
func Values(opts Options) ([]Value, error) {
	in, err := read(opts)
	if err != nil {
		return nil, err
	}
	resolver, err := in.resolver()
	if err != nil {
		return nil, err
	}
	resolved, faults := resolver.resolve()
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	var values []Value
	for _, name := range tree.SortedKeys(resolved) {
		declared := resolver.declared[name]
		value := Value{Name: name, Type: declared.Type, Value: resolved[name], Description: declared.Description, From: "default"}
		if set := resolver.set[name]; set != nil {
			value.From = set.given.File
			if set.given.Line > 0 {
				value.From = fmt.Sprintf("%s:%d", set.given.File, set.given.Line)
			}
		}
		values = append(values, value)
	}
	return values, nil
}

// values works out the cloud's values: default < cloud file < env files < environment < flag.
func (in *input) values() (map[string]string, error) {
	resolver, err := in.resolver()
	if err != nil {
		return nil, err
	}
	values, faults := resolver.resolve()
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return values, nil
}

// resolver collects what declares and what sets the values.
func (in *input) resolver() (*valueResolver, error) {
	declared, faults := readDeclarations(in.catalogue.values)
	set, more := in.cloud.settings(declared)
	faults = append(faults, more...)

	for _, file := range in.envFiles {
		pairs, more := parseEnvFile(file)
		faults = append(faults, more...)
		for _, pair := range pairs {
			given := &Error{File: file.name, Line: pair.line, Object: pair.key}
			if declared[pair.key] == nil {
				faults = append(faults, unknownValue(given, pair.key, declared))
				continue
			}
			set[pair.key] = &setting{text: pair.value, given: given}
		}
	}
	for _, variable := range in.options.Environment {
		name, text, _ := strings.Cut(variable, "=")
		if declared[name] != nil {
			set[name] = &setting{text: text, given: &Error{File: "environment", Object: name}}
		}
	}
	if in.options.Address != "" {
		set[addressValue] = &setting{text: in.options.Address, given: &Error{File: "command line", Object: "--address"}}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return &valueResolver{declared: declared, set: set, sources: map[string]func() (string, error){
		sourceHostname: func() (string, error) { return in.host, nil },
		sourceRoute: func() (string, error) {
			if in.options.DefaultAddress == nil {
				return "", errors.New("no way to find it was given")
			}
			return in.options.DefaultAddress()
		},
	}}, nil
}

// unknownValue completes an error about a name that no catalogue declares.
func unknownValue(given *Error, name string, declared map[string]*declaration) error {
	names := tree.SortedKeys(declared)
	given.Reason = fmt.Sprintf("no such value%s", nearest.Hint(name, names))
	if nearest.Of(name, names) == "" {
		given.Reason += "; the catalogue's values.yaml declares " + strings.Join(names, ", ")
	}
	return given
}

// pair is one line of an env file.
type pair struct {
	key, value string
	line       int
}

// parseEnvFile reads lines of KEY=VALUE; empty lines and lines that start with # are skipped.
// A value is taken as it stands, without the quotes around the whole of it, if there are any.
func parseEnvFile(src *source) (pairs []pair, faults []error) {
	for i, line := range strings.Split(string(src.content), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, found := strings.Cut(line, "=")
		key = strings.TrimSpace(strings.TrimPrefix(key, "export "))
		if !found || key == "" || strings.ContainsAny(key, " \t\"'") {
			faults = append(faults, &Error{File: src.name, Line: i + 1, Reason: "the line is not of the form KEY=VALUE"})
			continue
		}
		value = strings.TrimSpace(value)
		if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		pairs = append(pairs, pair{key: key, value: value, line: i + 1})
	}
	return pairs, faults
}

// environmentFile reads a shared environment file of the catalogue with the values filled in.
func (b *builder) environmentFile(name string) (map[string]string, []error) {
	if known, ok := b.envFiles[name]; ok {
		return maps.Clone(known), nil
	}
	content, err := readFile(b.input.catalogue.files, name)
	if err != nil {
		return nil, []error{err}
	}
	src := &source{name: b.input.catalogue.files.shownName(name), content: content}
	pairs, faults := parseEnvFile(src)
	environment := map[string]string{}
	for _, p := range pairs {
		value, err := b.interpolate(p.value)
		if err != nil {
			faults = append(faults, &Error{File: src.name, Line: p.line, Object: p.key, Reason: err.Error()})
		}
		environment[p.key] = value
	}
	if len(faults) > 0 {
		return nil, faults
	}
	b.envFiles[name] = environment
	return maps.Clone(environment), nil
}
