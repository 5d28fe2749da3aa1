// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package osloconf turns environment variables into the configuration file of
// a service that uses oslo.config, and refuses those that no option answers to.
//
// The variables are oslo.config's own notation, OS_<GROUP>__<OPTION>, in upper
// case and with "-" written "_" (oslo_config.sources._environment). Given to a
// service as they are, misspelt names are ignored, deprecated names are not
// followed, multi-valued options come out wrong and secrets lie open in the
// environment; a file has none of these faults.
//
// Everything here is pure and safe for concurrent use after Parse.
package osloconf

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strings"
)

//go:embed collect_options.py
var collector string

// Collector returns the Python program that writes the list of options while
// an image is built, with the Python of the services in it.
func Collector() string { return collector }

// header is the first line of a list of options; the number is its version.
const header = "copse-options 1"

// Name is where an option stands in a configuration file.
type Name struct {
	Group, Option string
}

// Variable returns the environment variable that sets the option.
func (n Name) Variable() string {
	return prefix + strings.ToUpper(canonical(n.Group)) + separator + strings.ToUpper(canonical(n.Option))
}

func (n Name) String() string { return "[" + n.Group + "] " + n.Option }

// Option is one configuration option of an image's services.
type Option struct {
	Name
	// Type is oslo.config's type in lower case, such as "string", "list",
	// "port"; it is for people to read.
	Type string
	// Multi says that the option may be given several times.
	Multi bool
	// Secret says that the value must not be shown.
	Secret bool
	// Removal says that a later release drops the option.
	Removal bool
	// Required says that the service does not start without it.
	Required bool
	// Deprecated are the names the option had in earlier releases.
	Deprecated []Name
	// Default and Help are shortened, for people to read.
	Default, Help string
}

// group is a section of the configuration file.
type group struct {
	name    string
	options []Option
	// open says that any option is taken.
	open bool
	// owner is the option whose value names further groups with this one's
	// options, such as DEFAULT/enabled_backends; nil for an ordinary group.
	owner *Name
	// also are groups of fixed names with this one's options.
	also []string
}

// Options is what the services of one image can be told. The zero value knows
// no option.
type Options struct {
	groups []group
	// byName has the index into groups of each group's canonical name.
	byName map[string]int
	// renamed has an option for each of its deprecated names, canonical.
	renamed map[Name]renaming
}

type renaming struct{ group, option int }

// All yields every option, in the order of the list.
func (o *Options) All() func(yield func(Option) bool) {
	return func(yield func(Option) bool) {
		for _, g := range o.groups {
			for _, option := range g.options {
				if !yield(option) {
					return
				}
			}
		}
	}
}

// Parse reads a list of options as collect_options.py writes it.
//
// It is text in UTF-8 whose fields are set apart by tabs, so that reading it
// costs a service's start next to nothing:
//
//	copse-options 1
//	[GROUP] <tab> attribute…
//	option <tab> type <tab> flags <tab> deprecated <tab> default <tab> help
//
// An attribute is "open" (takes any option), "owner=GROUP/OPTION" (the groups
// which that option's value names take these options too) or "also=GROUP" (so
// does that group). Flags are m (multi-valued), s (secret), r (deprecated for
// removal), q (required). Deprecated names are GROUP/OPTION, set apart by
// spaces. Lines with # in front and empty ones are passed over; fields after
// the last known one are too.
func Parse(r io.Reader) (*Options, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), 1<<20)
	number := 1
	if !lines.Scan() || lines.Text() != header {
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("cannot read the list of options: %w", err)
		}
		return nil, fmt.Errorf("cannot read the list of options: line 1 is not %q", header)
	}
	options := &Options{byName: map[string]int{}, renamed: map[Name]renaming{}}
	for lines.Scan() {
		number++
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		var err error
		if line[0] == '[' {
			err = options.addGroup(line)
		} else {
			err = options.addOption(line)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the list of options: line %d: %w", number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the list of options: after line %d: %w", number, err)
	}
	return options, nil
}

func (o *Options) addGroup(line string) error {
	heading, attributes, _ := strings.Cut(line, "\t")
	name := strings.TrimSuffix(heading[1:], "]")
	if len(name) != len(heading)-2 || name == "" {
		return fmt.Errorf("%q is not a [group]", heading)
	}
	if !plain(name) {
		return fmt.Errorf("%q cannot be the name of a group", name)
	}
	if _, twice := o.byName[canonical(name)]; twice {
		return fmt.Errorf("group %s is there twice", name)
	}
	added := group{name: name}
	for attribute := range strings.SplitSeq(attributes, "\t") {
		key, value, _ := strings.Cut(attribute, "=")
		switch {
		case attribute == "":
		case attribute == "open":
			added.open = true
		case key == "owner":
			owner, err := parseName(value)
			if err != nil {
				return err
			}
			added.owner = &owner
		case key == "also" && plain(value):
			added.also = append(added.also, value)
		default:
			return fmt.Errorf("group %s has the unknown attribute %q", name, attribute)
		}
	}
	o.byName[canonical(name)] = len(o.groups)
	o.groups = append(o.groups, added)
	return nil
}

func (o *Options) addOption(line string) error {
	if len(o.groups) == 0 {
		return errors.New("an option stands before the first [group]")
	}
	current := &o.groups[len(o.groups)-1]
	name, rest, _ := strings.Cut(line, "\t")
	if !plain(name) {
		return fmt.Errorf("%q cannot be the name of an option", name)
	}
	option := Option{Name: Name{current.name, name}}
	var flags, deprecated string
	option.Type, rest, _ = strings.Cut(rest, "\t")
	flags, rest, _ = strings.Cut(rest, "\t")
	deprecated, rest, _ = strings.Cut(rest, "\t")
	option.Default, rest, _ = strings.Cut(rest, "\t")
	option.Help, _, _ = strings.Cut(rest, "\t")
	for _, flag := range []byte(flags) {
		switch flag {
		case 'm':
			option.Multi = true
		case 's':
			option.Secret = true
		case 'r':
			option.Removal = true
		case 'q':
			option.Required = true
		default:
			return fmt.Errorf("option %s has the unknown flag %q", name, flag)
		}
	}
	for field := range strings.FieldsSeq(deprecated) {
		old, err := parseName(field)
		if err != nil {
			return err
		}
		option.Deprecated = append(option.Deprecated, old)
		key := Name{canonical(old.Group), canonical(old.Option)}
		if _, taken := o.renamed[key]; !taken {
			o.renamed[key] = renaming{len(o.groups) - 1, len(current.options)}
		}
	}
	current.options = append(current.options, option)
	return nil
}

func parseName(text string) (Name, error) {
	groupName, option, _ := strings.Cut(text, "/")
	if !plain(groupName) || !plain(option) {
		return Name{}, fmt.Errorf("%q is not GROUP/OPTION", text)
	}
	return Name{groupName, option}, nil
}

// plain tells whether a name can stand in a configuration file: it is ASCII
// and ends neither its line, its section's bracket nor its key.
func plain(name string) bool {
	for _, c := range []byte(name) {
		if c <= ' ' || c > '~' || strings.IndexByte("[]=:#;", c) >= 0 {
			return false
		}
	}
	return name != ""
}

// canonical is the form in which names of variables and options are compared:
// oslo.config writes variables in upper case with "_" for "-".
func canonical(name string) string {
	return strings.ReplaceAll(strings.ToLower(name), "-", "_")
}
