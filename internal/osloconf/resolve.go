// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package osloconf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

const (
	prefix    = "OS_"
	separator = "__"
)

// IsVariable tells whether an environment variable is one for the service's
// configuration: OS_<GROUP>__<OPTION>. Those of the openstack client
// (OS_AUTH_URL, OS_CLOUD) are not.
func IsVariable(name string) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	at := strings.Index(rest, separator)
	return ok && at > 0 && at+len(separator) < len(rest)
}

// Problem is a variable that cannot become a line of the configuration file.
type Problem struct {
	// Variable is its name in the environment.
	Variable string
	// Reason says what is wrong with it and which variable is meant, as far
	// as that can be told. It never holds the value.
	Reason string
}

func (p Problem) String() string { return p.Variable + ": " + p.Reason }

// Error carries every Problem of one environment.
type Error struct {
	Problems []Problem
}

func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, problem := range e.Problems {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// setting is a variable with the option it sets.
type setting struct {
	variable string
	name     Name
	value    string
	multi    bool
}

// Check tells which of the variables the service would not take. The elements
// of env are NAME=VALUE as in a process's environment, or bare names; others
// than OS_<GROUP>__<OPTION> are passed over. Values matter only where one
// names further groups (DEFAULT/enabled_backends) or is split over lines.
func (o *Options) Check(env []string) []Problem {
	_, problems := o.resolve(env)
	return problems
}

// resolve finds the option of each variable. The settings are in the order of
// the file, the problems in that of the variables' names.
func (o *Options) resolve(env []string) ([]setting, []Problem) {
	variables := variablesOf(env)
	created := o.createdGroups(variables)
	var settings []setting
	var problems []Problem
	for _, v := range variables {
		found, ok := o.find(v.variable, created)
		if !ok {
			problems = append(problems, o.misspelt(v.variable, created))
			continue
		}
		found.value = strings.TrimRight(v.value, "\n")
		if reason := unwritable(found); reason != "" {
			problems = append(problems, Problem{v.variable, reason})
			continue
		}
		settings = append(settings, found)
	}
	slices.SortStableFunc(settings, func(a, b setting) int {
		return cmp.Or(
			cmp.Compare(boolToInt(a.name.Group != "DEFAULT"), boolToInt(b.name.Group != "DEFAULT")),
			cmp.Compare(a.name.Group, b.name.Group),
			cmp.Compare(a.name.Option, b.name.Option))
	})
	for i := 1; i < len(settings); i++ {
		if first, second := settings[i-1], settings[i]; first.name == second.name && first.value != second.value {
			problems = append(problems, Problem{second.variable, fmt.Sprintf(
				"sets %s, as %s does with another value; keep %s", second.name, first.variable, second.name.Variable())})
		}
	}
	settings = slices.CompactFunc(settings, func(a, b setting) bool { return a.name == b.name })
	slices.SortStableFunc(problems, func(a, b Problem) int { return cmp.Compare(a.Variable, b.Variable) })
	return settings, problems
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// variablesOf picks the service's variables out of an environment, sorted. Of
// a variable given twice the last holds, as with a process's environment.
func variablesOf(env []string) []setting {
	var variables []setting
	for _, entry := range slices.Backward(env) {
		name, value, _ := strings.Cut(entry, "=")
		if IsVariable(name) && !slices.ContainsFunc(variables, func(s setting) bool { return s.variable == name }) {
			variables = append(variables, setting{variable: name, value: value})
		}
	}
	slices.SortFunc(variables, func(a, b setting) int { return cmp.Compare(a.variable, b.variable) })
	return variables
}

// createdGroup is a group an operator made by naming it in an owner's value.
type createdGroup struct {
	name  string
	owner Name
}

// createdGroups lists the groups named by the values of owning options, under
// their canonical names.
func (o *Options) createdGroups(variables []setting) map[string]createdGroup {
	created := map[string]createdGroup{}
	for i := range o.groups {
		owner := o.groups[i].owner
		if owner == nil {
			continue
		}
		for _, name := range o.groups[i].also {
			created[canonical(name)] = createdGroup{name, *owner}
		}
		for _, v := range variables {
			if found, ok := o.find(v.variable, nil); !ok || found.name != *owner {
				continue
			}
			for item := range strings.SplitSeq(v.value, ",") {
				// A dict (glance: store:driver) names groups by its keys.
				name, _, _ := strings.Cut(item, ":")
				if name = strings.TrimSpace(name); plain(name) {
					created[canonical(name)] = createdGroup{name, *owner}
				}
			}
		}
	}
	return created
}

// find looks a variable up. A name of a group or option may itself hold "__",
// so each place to split it is tried.
func (o *Options) find(variable string, created map[string]createdGroup) (setting, bool) {
	for groupName, optionName := range splits(variable) {
		if option := o.option(groupName, optionName, created); option != nil {
			return setting{variable: variable, name: option.Name, multi: option.Multi}, true
		}
	}
	for groupName, optionName := range splits(variable) {
		if at, ok := o.renamed[Name{groupName, optionName}]; ok {
			option := &o.groups[at.group].options[at.option]
			return setting{variable: variable, name: option.Name, multi: option.Multi}, true
		}
	}
	for groupName, optionName := range splits(variable) {
		if at, ok := o.byName[groupName]; ok && o.groups[at].open {
			return setting{variable: variable, name: Name{o.groups[at].name, optionName}}, true
		}
	}
	return setting{}, false
}

// option finds an option by canonical names, in the list or in a group that
// was made by naming it.
func (o *Options) option(groupName, optionName string, created map[string]createdGroup) *Option {
	if at, ok := o.byName[groupName]; ok {
		if option := o.groups[at].option(optionName); option != nil {
			return option
		}
	}
	made, ok := created[groupName]
	if !ok {
		return nil
	}
	for i := range o.groups {
		if g := &o.groups[i]; g.owner != nil && *g.owner == made.owner {
			if template := g.option(optionName); template != nil {
				option := *template
				option.Name.Group = made.name
				return &option
			}
		}
	}
	return nil
}

func (g *group) option(canonicalName string) *Option {
	for i := range g.options {
		if name := g.options[i].Option; name == canonicalName || canonical(name) == canonicalName {
			return &g.options[i]
		}
	}
	return nil
}

// splits yields each pair of canonical group and option a variable may mean.
func splits(variable string) func(yield func(string, string) bool) {
	return func(yield func(string, string) bool) {
		rest := canonical(strings.TrimPrefix(variable, prefix))
		for at := 1; at+len(separator) < len(rest); at++ {
			if strings.HasPrefix(rest[at:], separator) && !yield(rest[:at], rest[at+len(separator):]) {
				return
			}
		}
	}
}
