// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"slices"
	"strconv"
	"strings"

	"copse/internal/nearest"
	"copse/internal/tree"
)

// applyOptions lays the operator's options over the environment of containers: those of the
// component, then those of the sets from the outermost in, then those of the container.
func (b *builder) applyOptions() {
	options := b.input.cloud.file.Options
	b.applyGroup("components", options.Components, b.components(), func(c *madeContainer) []string { return []string{c.Component} })
	b.applyGroup("sets", options.Sets, b.selectedSets(), func(c *madeContainer) []string { return tree.Ancestors(c.Set) })
	b.applyGroup("containers", options.Containers, tree.SortedKeys(b.byName), func(c *madeContainer) []string { return []string{c.Name} })
}

// applyGroup applies one group of options. ranks names what a container may be listed as, the
// weakest first.
func (b *builder) applyGroup(group string, options map[string]map[string]any, known []string, ranks func(*madeContainer) []string) {
	cloud := b.input.cloud
	for _, name := range tree.SortedKeys(options) {
		at := []string{"options", group, name}
		if !slices.Contains(known, name) {
			b.fault(cloud.src.fault(at, "there is no %s %q%s; the cloud has %s", strings.TrimSuffix(group, "s"), name, nearest.Hint(name, known), strings.Join(known, ", ")))
			continue
		}
		for _, key := range tree.SortedKeys(options[name]) {
			if _, err := b.optionText(options[name][key]); err != nil {
				b.fault(cloud.src.fault(append(slices.Clone(at), key), "%v", err))
			}
		}
	}
	if len(b.faults) > 0 {
		return
	}
	for _, c := range b.made {
		for _, name := range ranks(c) {
			for key, value := range options[name] {
				if value == nil {
					delete(c.Spec.Environment, key)
					delete(c.given, key)
					continue
				}
				// The same text was read without a fault above.
				c.Spec.Environment[key], _ = b.optionText(value)
				c.given[key] = cloud.src.fault([]string{"options", group, name, key}, "")
			}
		}
	}
}

// optionText writes an option's value as text, with the cloud's values filled in.
func (b *builder) optionText(value any) (string, error) {
	if value == nil {
		return "", nil
	}
	text, err := valueText(value)
	if err != nil {
		return "", err
	}
	return b.interpolate(text)
}

func (b *builder) selectedSets() []string {
	var paths []string
	for _, set := range b.sets {
		if set.selected {
			paths = append(paths, set.path)
		}
	}
	return paths
}

// applyFiles gives containers the operator's files; one takes the place of a config with the
// same target.
func (b *builder) applyFiles() {
	cloud := b.input.cloud
	for i, entry := range cloud.file.Files {
		here := []string{"files", strconv.Itoa(i)}
		for _, check := range []struct {
			key   string
			names []string
			known []string
		}{
			{"containers", entry.Containers, tree.SortedKeys(b.byName)},
			{"components", entry.Components, b.components()},
			{"sets", entry.Sets, b.selectedSets()},
		} {
			for j, name := range check.names {
				if !slices.Contains(check.known, name) {
					b.fault(cloud.src.fault(append(slices.Clone(here), check.key, strconv.Itoa(j)), "there is no such name %q%s; the cloud has %s", name, nearest.Hint(name, check.known), strings.Join(check.known, ", ")))
				}
			}
		}
		for _, c := range b.made {
			if !slices.Contains(entry.Containers, c.Name) && !slices.Contains(entry.Components, c.Component) &&
				!slices.ContainsFunc(entry.Sets, func(set string) bool { return tree.InSet(c.Set, set) }) {
				continue
			}
			uid, gid, _ := userIDs(c.Spec.User)
			mode, _ := parseMode(entry.Mode, 0o440) // checked when the cloud file was read
			file := tree.File{Target: entry.Target, Content: cloud.content[entry.Source], Mode: mode, UID: uid, GID: gid, Source: entry.Source}
			c.Files = slices.DeleteFunc(c.Files, func(f tree.File) bool { return f.Target == entry.Target })
			c.Files = append(c.Files, file)
		}
	}
	for _, c := range b.made {
		slices.SortFunc(c.Files, func(x, y tree.File) int { return strings.Compare(x.Target, y.Target) })
	}
}

// checkOptions has the configuration options that the operator gave looked at.
func (b *builder) checkOptions() {
	check := b.input.options.CheckOptions
	if check == nil {
		return
	}
	said := map[string]bool{} // one line of the cloud file may be given to many containers
	for _, c := range b.made {
		var names []string
		for _, name := range tree.SortedKeys(c.given) {
			if strings.HasPrefix(name, "OS_") && strings.Contains(name, "__") {
				names = append(names, name)
			}
		}
		if len(names) == 0 {
			continue
		}
		found := check(&c.Container, names)
		for _, name := range tree.SortedKeys(found) {
			fault := *c.given[name]
			fault.Reason = found[name].Error()
			if !said[fault.Error()] {
				said[fault.Error()] = true
				b.fault(&fault)
			}
		}
	}
}
