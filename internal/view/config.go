// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"strings"

	"copse/internal/api"
	"copse/internal/tree"
)

// environmentTitle stands where the path of a file would.
const environmentTitle = "environment"

// ConfigDifference is how one part of a container's configuration differs from what runs.
type ConfigDifference struct {
	Container string `json:"container"`
	// Path is that of the file, or "environment".
	Path string `json:"path"`
	// Lines begin with "-" (runs), "+" (declared) or " " (both, near a difference).
	Lines []string `json:"lines"`
}

// Config renders `copse config`: each file under its path, then the environment.
func (v *View) Config(configs []api.Config) error {
	if v.options.Format == JSON {
		return objects(v, configs)
	}
	if len(configs) == 0 {
		return v.Note("nothing of that runs: `copse ps --all` shows what there is; --diff shows what is declared")
	}
	for i, c := range configs {
		if i > 0 {
			if err := v.printf(""); err != nil {
				return err
			}
		}
		lines := []string{v.theme.strong(fmt.Sprintf("%s (%s)", named(c.Container, c.Generation), clean(c.Image)))}
		for _, problem := range c.Problems {
			lines = append(lines, v.theme.bad("! "+clean(problem)))
		}
		for _, part := range partsOf(&c) {
			title := part.path
			if part.source != "" {
				title += ", from " + part.source
			}
			lines = append(lines, "", v.theme.faint("== "+clean(title)), cleanLines(strings.TrimRight(part.content, "\n")))
		}
		if err := v.printf("%s", strings.Join(lines, "\n")); err != nil {
			return err
		}
	}
	return nil
}

// ConfigDiff renders `copse config --diff`: how what is declared differs from what runs.
func (v *View) ConfigDiff(running, declared []api.Config) error {
	differences := []ConfigDifference{}
	for i := range declared {
		var before *api.Config
		for j := range running {
			if running[j].Container == declared[i].Container {
				before = &running[j]
			}
		}
		differences = append(differences, configDifferences(before, &declared[i])...)
	}
	if v.options.Format == JSON {
		return objects(v, differences)
	}
	if len(differences) == 0 {
		return v.Note("no difference: what runs is configured as declared")
	}
	for i, d := range differences {
		lines := []string{v.theme.strong(clean(d.Container) + ": " + clean(d.Path))}
		if i > 0 {
			lines = append([]string{""}, lines...)
		}
		for _, line := range d.Lines {
			line = clean(line)
			switch {
			case strings.HasPrefix(line, "+"):
				line = v.theme.good(line)
			case strings.HasPrefix(line, "-"):
				line = v.theme.bad(line)
			}
			lines = append(lines, line)
		}
		if err := v.printf("%s", strings.Join(lines, "\n")); err != nil {
			return err
		}
	}
	return nil
}

// configPart is a file, or the environment in the form of one.
type configPart struct{ path, source, content string }

func partsOf(c *api.Config) []configPart {
	if c == nil {
		return nil
	}
	parts := make([]configPart, 0, len(c.Files)+1)
	for _, f := range c.Files {
		parts = append(parts, configPart{f.Path, f.Source, f.Content})
	}
	var environment strings.Builder
	for _, name := range tree.SortedKeys(c.Environment) {
		fmt.Fprintf(&environment, "%s=%s\n", name, strings.ReplaceAll(c.Environment[name], "\n", `\n`))
	}
	if environment.Len() > 0 {
		parts = append(parts, configPart{path: environmentTitle, content: environment.String()})
	}
	return parts
}

// configDifferences compares part by part; before is nil for what does not run.
func configDifferences(before, after *api.Config) []ConfigDifference {
	old, paths := map[string]string{}, []string{}
	for _, part := range partsOf(before) {
		old[part.path] = part.content
		paths = append(paths, part.path)
	}
	now := map[string]string{}
	for _, part := range partsOf(after) {
		now[part.path] = part.content
		if _, there := old[part.path]; !there {
			paths = append(paths, part.path)
		}
	}
	var differences []ConfigDifference
	for _, path := range paths {
		if lines := diffLines(splitLines(old[path]), splitLines(now[path])); len(lines) > 0 {
			differences = append(differences, ConfigDifference{Container: after.Container, Path: path, Lines: lines})
		}
	}
	return differences
}

func splitLines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}
