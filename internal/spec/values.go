// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"copse/internal/nearest"
	"copse/internal/tree"
)

// declaration is one value as a catalogue's values.yaml declares it.
type declaration struct {
	Type        string `yaml:"type"`
	Default     any    `yaml:"default"`
	Description string `yaml:"description"`
	// Source names what gives a default that only the host knows: "default-route" (the address
	// of the default route) or "hostname".
	Source string `yaml:"source"`

	src  *source
	name string
}

func (d *declaration) fault(format string, args ...any) *Error {
	return d.src.fault([]string{d.name}, format, args...)
}

// The sources of defaults.
const (
	sourceRoute    = "default-route"
	sourceHostname = "hostname"
)

var valueTypes = []string{"string", "int", "bool", "address", "cidr", "list"}

// setting is a value as somebody gave it, and where.
type setting struct {
	text  string
	given *Error // names the place; its Reason is filled in when it turns out wrong
}

func (s *setting) fault(format string, args ...any) *Error {
	e := *s.given
	e.Reason = fmt.Sprintf(format, args...)
	return &e
}

// readDeclarations merges the values.yaml files of a catalogue, later ones first in rank.
func readDeclarations(files []*source) (map[string]*declaration, []error) {
	all := map[string]*declaration{}
	var faults []error
	for _, src := range files {
		raw, err := src.parse()
		if err != nil {
			faults = append(faults, err)
			continue
		}
		d := decoder{src: src}
		for _, name := range tree.SortedKeys(raw) {
			declared := &declaration{src: src, name: name}
			fields := struct {
				Type        string `yaml:"type"`
				Default     any    `yaml:"default"`
				Description string `yaml:"description"`
				Source      string `yaml:"source"`
			}{}
			d.decode(raw[name], &fields, []string{name})
			declared.Type, declared.Default, declared.Description, declared.Source = fields.Type, fields.Default, fields.Description, fields.Source
			if !slices.Contains(valueTypes, declared.Type) {
				d.fault([]string{name, "type"}, "unknown type %q%s; known are %v", declared.Type, nearest.Hint(declared.Type, valueTypes), valueTypes)
			}
			if declared.Source != "" && declared.Source != sourceRoute && declared.Source != sourceHostname {
				d.fault([]string{name, "source"}, "unknown source %q; known are %s and %s", declared.Source, sourceRoute, sourceHostname)
			}
			all[name] = declared
		}
		faults = append(faults, d.faults...)
	}
	return all, faults
}

// valueResolver works out the values: what was set, else the default, which may name others.
type valueResolver struct {
	declared map[string]*declaration
	set      map[string]*setting
	sources  map[string]func() (string, error)
	resolved map[string]string
	visiting []string
}

func (r *valueResolver) resolve() (map[string]string, []error) {
	r.resolved = map[string]string{}
	var faults []error
	for _, name := range tree.SortedKeys(r.declared) {
		if _, err := r.value(name); err != nil && !slices.ContainsFunc(faults, func(e error) bool { return e.Error() == err.Error() }) {
			faults = append(faults, err)
		}
	}
	return r.resolved, faults
}

func (r *valueResolver) value(name string) (string, error) {
	if text, ok := r.resolved[name]; ok {
		return text, nil
	}
	declared := r.declared[name]
	if slices.Contains(r.visiting, name) {
		return "", declared.fault("its default refers to itself: %s", strings.Join(append(slices.Clone(r.visiting), name), " → "))
	}
	r.visiting = append(r.visiting, name)
	defer func() { r.visiting = r.visiting[:len(r.visiting)-1] }()

	text, fault, err := r.raw(name, declared)
	if err != nil {
		return "", err
	}
	canonical, err := canonicalValue(declared.Type, text)
	if err != nil {
		return "", fault("%v", err)
	}
	r.resolved[name] = canonical
	return canonical, nil
}

// raw returns the text of a value before its type is checked, and how to say what is wrong with it.
func (r *valueResolver) raw(name string, declared *declaration) (string, func(string, ...any) *Error, error) {
	if given := r.set[name]; given != nil {
		return given.text, given.fault, nil
	}
	if declared.Default != nil {
		text, err := valueText(declared.Default)
		if err != nil {
			return "", nil, declared.fault("%v", err)
		}
		var inner error
		text, err = interpolate(text, func(other string) (string, bool) {
			if r.declared[other] == nil {
				return "", false
			}
			value, err := r.value(other)
			inner = errors.Join(inner, err)
			return value, true
		}, tree.SortedKeys(r.declared))
		if inner != nil {
			return "", nil, inner
		}
		if err != nil {
			return "", nil, declared.fault("%v", err)
		}
		return text, declared.fault, nil
	}
	if find := r.sources[declared.Source]; find != nil {
		text, err := find()
		if err != nil {
			return "", nil, declared.fault("cannot find its default (%s): %v; set it in cloud.yaml, an env file or the environment", declared.Source, err)
		}
		return text, declared.fault, nil
	}
	return "", nil, declared.fault("has no default and is not set; set it below values in cloud.yaml, in an env file or in the environment")
}

// valueText writes a value as it stands in YAML as text; a list becomes comma-separated.
func valueText(value any) (string, error) {
	if items, ok := value.([]any); ok {
		texts := make([]string, len(items))
		for i, item := range items {
			text, ok := scalarText(item)
			if !ok || strings.Contains(text, ",") {
				return "", fmt.Errorf("%v cannot be an item of a list; an item is one value without a comma", item)
			}
			texts[i] = text
		}
		return strings.Join(texts, ","), nil
	}
	text, ok := scalarText(value)
	if !ok {
		return "", fmt.Errorf("a single value or a list is expected, not %v", value)
	}
	return text, nil
}

// canonicalValue checks text against a value's type and writes it in the type's one form.
func canonicalValue(kind, text string) (string, error) {
	switch kind {
	case "int":
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return "", fmt.Errorf("%q is no whole number", text)
		}
		return strconv.FormatInt(n, 10), nil
	case "bool":
		b, err := strconv.ParseBool(strings.ToLower(text))
		if err != nil {
			return "", fmt.Errorf("%q is neither true nor false", text)
		}
		return strconv.FormatBool(b), nil
	case "address":
		address, err := netip.ParseAddr(text)
		if err != nil {
			return "", fmt.Errorf("%q is no IP address; write it like 192.0.2.10", text)
		}
		if address.IsUnspecified() {
			return "", fmt.Errorf("%s is not one address; give the one that clients shall use", text)
		}
		return address.String(), nil
	case "cidr":
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return "", fmt.Errorf("%q is no network; write it like 192.0.2.0/24", text)
		}
		if prefix != prefix.Masked() {
			return "", fmt.Errorf("%s has bits set beyond its prefix; did you mean %s?", text, prefix.Masked())
		}
		return prefix.String(), nil
	case "list":
		if strings.TrimSpace(text) == "" {
			return "", nil
		}
		items := strings.Split(text, ",")
		for i := range items {
			if items[i] = strings.TrimSpace(items[i]); items[i] == "" {
				return "", fmt.Errorf("%q has an empty item", text)
			}
		}
		return strings.Join(items, ","), nil
	}
	return text, nil
}
