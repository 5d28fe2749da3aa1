// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
)

// super is what a block calls to have the text of the block that it redefines.
const super = "super"

// layer is one text of templates: an image's Dockerfile or an operator's blocks.
type layer struct {
	name string
	text string
}

// data is what a template sees.
type data struct {
	Name, Component, Release, Suite string
	Kind                            Kind
	// Suites and Serial are in the text of what installs packages, lest BuildKit take the layer
	// of others from its cache.
	Suites []string
	Serial string
	// Borrowed are the packages that come from another suite than the release's.
	Borrowed []borrowed
	// From is the reference of the image below.
	From             string
	User             string
	Packages         []string
	Exclude          []string
	ConfigFile       string
	OptionNamespaces []string
	Variables        map[string]string
}

// functions are those of templates: base of a path, join of a list by a separator, and cut, which
// is a text without its prefix or "" where it does not have it.
func functions() template.FuncMap {
	return template.FuncMap{
		"base": path.Base,
		"join": strings.Join,
		"cut": func(prefix, text string) string {
			if rest, ok := strings.CutPrefix(text, prefix); ok {
				return rest
			}
			return ""
		},
	}
}

// render lays the layers over each other, the layout first, and executes the result.
//
// The first layer's text is the Dockerfile. The others may only define blocks. A block that nothing
// uses is a typing error, and refused.
func render(layers []layer, values data) (string, error) {
	all := template.New("").Funcs(functions()).Option("missingkey=error")
	type defined struct{ block, layer string }
	var definitions []defined
	for i, l := range layers {
		// The name of a layer's own text cannot be that of a block.
		parsed, err := template.New("/" + l.name).Funcs(functions()).Parse(l.text)
		if err != nil {
			return "", err
		}
		for _, t := range parsed.Templates() {
			if t.Name() == parsed.Name() {
				continue
			}
			definitions = append(definitions, defined{t.Name(), l.name})
			if err := keepSuper(all, t, i); err != nil {
				return "", fmt.Errorf("%s: block %q: %w", l.name, t.Name(), err)
			}
			if _, err := all.AddParseTree(t.Name(), t.Tree); err != nil {
				return "", err
			}
		}
		if i == 0 {
			if all, err = all.AddParseTree("", parsed.Tree); err != nil {
				return "", err
			}
		} else if parsed.Tree != nil && !parse.IsEmptyTree(parsed.Root) {
			return "", fmt.Errorf("%s: there is text outside its blocks, but it extends %s", l.name, layers[i-1].name)
		}
	}
	used := usedBlocks(all)
	for _, d := range definitions {
		if !slices.Contains(used, d.block) {
			return "", fmt.Errorf("%s: no template uses its block %q; there are: %s", d.layer, d.block, strings.Join(used, ", "))
		}
	}
	var out strings.Builder
	if err := all.Execute(&out, values); err != nil {
		return "", err
	}
	return tidy(out.String()), nil
}

// keepSuper gives the block that is about to be redefined another name, and lets the new text's
// {{template "super" .}} call it by that.
func keepSuper(all, redefinition *template.Template, depth int) error {
	previous := all.Lookup(redefinition.Name())
	name := fmt.Sprintf("%s below layer %d", redefinition.Name(), depth)
	var calls bool
	walk(redefinition.Root, func(call *parse.TemplateNode) {
		if call.Name == super {
			call.Name = name
			calls = true
		}
	})
	if !calls {
		return nil
	}
	if previous == nil || previous.Tree == nil {
		return fmt.Errorf("it uses %q, but redefines nothing", super)
	}
	_, err := all.AddParseTree(name, previous.Tree)
	return err
}

// usedBlocks lists the blocks that any template calls.
func usedBlocks(all *template.Template) []string {
	var used []string
	for _, t := range all.Templates() {
		if t.Tree == nil {
			continue
		}
		walk(t.Root, func(call *parse.TemplateNode) { used = append(used, call.Name) })
	}
	slices.Sort(used)
	return slices.Compact(used)
}

// walk calls visit for each call of a template below a node.
func walk(node parse.Node, visit func(*parse.TemplateNode)) {
	switch n := node.(type) {
	case *parse.ListNode:
		if n == nil {
			return
		}
		for _, child := range n.Nodes {
			walk(child, visit)
		}
	case *parse.TemplateNode:
		visit(n)
	case *parse.IfNode:
		walk(n.List, visit)
		walk(n.ElseList, visit)
	case *parse.RangeNode:
		walk(n.List, visit)
		walk(n.ElseList, visit)
	case *parse.WithNode:
		walk(n.List, visit)
		walk(n.ElseList, visit)
	}
}

// tidy takes out what empty blocks leave: trailing blanks and repeated empty lines.
func tidy(text string) string {
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, " \t")
		if line == "" && (len(lines) == 0 || lines[len(lines)-1] == "") {
			continue
		}
		lines = append(lines, line)
	}
	return strings.TrimSuffix(strings.Join(lines, "\n"), "\n") + "\n"
}
