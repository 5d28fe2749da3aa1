// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"copse/internal/nearest"
	"copse/internal/tree"
)

// link checks what crosses files: dependencies, front ends and their proxy.
func (b *builder) link() {
	names := tree.SortedKeys(b.byName)
	for _, c := range b.made {
		for _, dependency := range c.Depends {
			on := b.byName[dependency.Name]
			key := "depends_on." + dependency.Name
			switch {
			case on == nil && b.elsewhere[dependency.Name] != nil:
				b.fault(c.fault(key, "is in the set %s, which the cloud leaves out; add it to sets in %s", b.elsewhere[dependency.Name].path, b.input.cloud.src.name))
			case on == nil:
				b.fault(c.fault(key, "there is no container %q%s", dependency.Name, nearest.Hint(dependency.Name, names)))
			case on.Job != nil && dependency.Condition != tree.Completed:
				b.fault(c.fault(key, "%s is a job, which ends; wait for it with condition %s", dependency.Name, tree.Completed))
			case on.Job == nil && dependency.Condition == tree.Completed:
				b.fault(c.fault(key, "%s is no job and never completes; wait for it with condition %s", dependency.Name, tree.Healthy))
			}
		}
	}
	b.linkFrontends()
	b.dependOnProxy()
	b.checkReleases()
	if len(b.faults) > 0 {
		return
	}
	containers := make([]tree.Container, len(b.made))
	for i, c := range b.made {
		containers[i] = c.Container
	}
	if _, err := tree.InOrder(containers); err != nil {
		cycle, ok := err.(*tree.CycleError)
		if !ok {
			b.fault(err)
			return
		}
		first := b.byName[cycle.Path[0]]
		b.fault(first.fault("depends_on."+cycle.Path[1], "%s", cycle.Error()))
		return
	}
	b.linkReplacements(containers)
}

// linkReplacements checks that the order of replacements fits what depends on what, so that any part
// of both has an order. What is named and in a set that the cloud leaves out is no matter: it is never
// replaced.
func (b *builder) linkReplacements(containers []tree.Container) {
	for i := range containers {
		c := &containers[i]
		depends := slices.Clone(c.Depends)
		for _, name := range c.Update.ReplaceAfter {
			switch {
			case b.byName[name] != nil:
				depends = append(depends, tree.Dependency{Name: name})
			case b.elsewhere[name] == nil:
				b.fault(b.byName[c.Name].fault(extension+".replace_after", "there is no container %q%s", name, nearest.Hint(name, tree.SortedKeys(b.byName))))
			}
		}
		c.Depends = depends
	}
	if cycle := (*tree.CycleError)(nil); len(b.faults) == 0 {
		if _, err := tree.InOrder(containers); errors.As(err, &cycle) {
			b.fault(b.byName[cycle.Path[0]].fault(extension+".replace_after", "%s, with what depends on what", cycle.Error()))
		}
	}
}

// dependOnProxy has every container behind the proxy come after it: nothing of it can be
// reached before, and bringing it up alone brings up the proxy too.
func (b *builder) dependOnProxy() {
	at := slices.IndexFunc(b.made, func(c *madeContainer) bool { return c.Proxy != nil })
	if at < 0 {
		return
	}
	proxy := b.made[at]
	on := func(c *madeContainer, name string) bool {
		return slices.ContainsFunc(c.Depends, func(d tree.Dependency) bool { return d.Name == name })
	}
	for _, c := range b.made {
		if c.Frontend != nil && c != proxy && !on(c, proxy.Name) && !on(proxy, c.Name) {
			c.Depends = append(c.Depends, tree.Dependency{Name: proxy.Name, Condition: tree.Healthy})
			slices.SortFunc(c.Depends, func(a, b tree.Dependency) int { return strings.Compare(a.Name, b.Name) })
		}
	}
}

// linkFrontends checks that there is one proxy for all front ends and that no two share a name
// or a place.
func (b *builder) linkFrontends() {
	var proxy *madeContainer
	for _, c := range b.made {
		if c.Proxy == nil {
			continue
		}
		if proxy != nil {
			b.fault(c.fault(extension+".proxy", "%s is a proxy already; a host has one", proxy.Name))
			continue
		}
		proxy = c
	}
	taken := map[string]*madeContainer{}
	for _, c := range b.made {
		if c.Frontend == nil {
			continue
		}
		if proxy == nil {
			b.fault(c.fault(extension+".frontend", "nothing serves front ends: no container of the cloud's sets is a proxy%s", b.proxyHint()))
		}
		keys := []string{"name " + c.Frontend.Name}
		for _, address := range c.Frontend.Addresses {
			keys = append(keys, fmt.Sprintf("port %d at %s", c.Frontend.Port, address))
		}
		for _, key := range keys {
			if other := taken[key]; other != nil {
				b.fault(c.fault(extension+".frontend", "%s has the %s already; give one of them another", other.Name, key))
			}
			taken[key] = c
		}
	}
}

// proxyHint says which set that the cloud leaves out would bring a proxy.
func (b *builder) proxyHint() string {
	for _, name := range tree.SortedKeys(b.elsewhere) {
		set := b.elsewhere[name]
		if ext, ok := set.project.Services[name].Extensions[extension].(map[string]any); ok && ext["proxy"] != nil {
			return fmt.Sprintf("; add %s to sets in %s", set.path, b.input.cloud.src.name)
		}
	}
	return ""
}

// checkReleases refuses releases for components that no container belongs to.
func (b *builder) checkReleases() {
	components := b.components()
	for _, name := range tree.SortedKeys(b.input.cloud.Releases) {
		if !slices.Contains(components, name) {
			b.fault(b.input.cloud.src.fault([]string{"releases", name}, "there is no component %q%s; the cloud has %s", name, nearest.Hint(name, components), strings.Join(components, ", ")))
		}
	}
}

func (b *builder) components() []string {
	seen := map[string]bool{}
	for _, c := range b.made {
		seen[c.Component] = true
	}
	return tree.SortedKeys(seen)
}

var secretPlaceholder = regexp.MustCompile(`\{\{\s*secret\s+([A-Za-z0-9_.-]+)`)

// checkSecrets makes sure that each {{secret NAME}} is mounted where copse-init looks for it.
func (b *builder) checkSecrets() {
	for _, c := range b.made {
		mounted := map[string]bool{}
		for _, m := range c.Secrets {
			mounted[m.Target] = true
		}
		check := func(where, text string, fault func(string, ...any) *Error) {
			for _, match := range secretPlaceholder.FindAllStringSubmatch(text, -1) {
				if !mounted[secretsDirectory+"/"+match[1]] {
					b.fault(fault("%s needs the secret %s, which the container does not have; add it to the service's secrets", where, match[1]))
				}
			}
		}
		for _, key := range tree.SortedKeys(c.Spec.Environment) {
			check(key, c.Spec.Environment[key], func(format string, args ...any) *Error {
				if given := c.given[key]; given != nil {
					fault := *given
					fault.Reason = fmt.Sprintf(format, args...)
					return &fault
				}
				return c.fault("secrets", format, args...)
			})
		}
		for _, file := range c.Files {
			check(file.Target, file.Content, func(format string, args ...any) *Error { return c.fault("secrets", format, args...) })
		}
	}
}
