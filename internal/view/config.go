// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"slices"
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
		name := clean(c.Container)
		if c.Generation > 0 {
			name = tree.GenerationName(name, c.Generation)
		}
		lines := []string{v.theme.strong(fmt.Sprintf("%s (%s)", name, clean(c.Image)))}
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

// diffLines returns what it takes to make b of a, with the group of an INI file and one line
// around each difference; nothing where they are the same.
func diffLines(a, b []string) []string {
	marked := align(a, b)
	keep := make([]bool, len(marked))
	changed := false
	for i, line := range marked {
		if line[0] == ' ' {
			continue
		}
		changed = true
		for j := max(i-1, 0); j <= min(i+1, len(marked)-1); j++ {
			keep[j] = true
		}
		// The group that the line belongs to.
		for j := i - 1; j >= 0; j-- {
			if strings.HasPrefix(marked[j][1:], "[") {
				keep[j] = true
				break
			}
		}
	}
	if !changed {
		return nil
	}
	var lines []string
	for i, line := range marked {
		if keep[i] && line != " " {
			lines = append(lines, line)
		}
	}
	return lines
}

// align marks the lines of a and b that are in both (by their longest common subsequence) and
// those that are in one.
func align(a, b []string) []string {
	// What both begin and end with needs no table; configuration files are short besides.
	begin := 0
	for begin < len(a) && begin < len(b) && a[begin] == b[begin] {
		begin++
	}
	end := 0
	for end < len(a)-begin && end < len(b)-begin && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	var marked []string
	for _, line := range a[:begin] {
		marked = append(marked, " "+line)
	}
	x, y := a[begin:len(a)-end], b[begin:len(b)-end]
	common := make([][]int, len(x)+1) // of x[i:] and y[j:]
	for i := range common {
		common[i] = make([]int, len(y)+1)
	}
	for i := range slices.Backward(x) {
		for j := range slices.Backward(y) {
			if x[i] == y[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(x) || j < len(y) {
		switch {
		case i < len(x) && j < len(y) && x[i] == y[j]:
			marked = append(marked, " "+x[i])
			i, j = i+1, j+1
		case j == len(y) || (i < len(x) && common[i+1][j] >= common[i][j+1]):
			marked = append(marked, "-"+x[i])
			i++
		default:
			marked = append(marked, "+"+y[j])
			j++
		}
	}
	for _, line := range a[len(a)-end:] {
		marked = append(marked, " "+line)
	}
	return marked
}
