// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Error is one fault in what an operator or the catalogue declares.
type Error struct {
	File string
	Line int // from 1; 0 where the form of the file does not tell
	// Object is what is at fault, e.g. "service keystone" or "values.ADDRESS".
	Object string
	// Reason says what is wrong with it, and the way out.
	Reason string
}

// Error reads "FILE:LINE: OBJECT: REASON".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	if e.Object != "" {
		b.WriteString(e.Object + ": ")
	}
	b.WriteString(e.Reason)
	return b.String()
}

// source is a YAML file that has been read, with what it takes to name a place in it.
type source struct {
	name    string // as shown to the operator
	content []byte
	root    *yaml.Node
}

// parse reads the file's YAML into plain values, with aliases and merge keys resolved.
func (s *source) parse() (map[string]any, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(s.content, &root); err != nil {
		return nil, &Error{File: s.name, Reason: err.Error()}
	}
	s.root = &root
	values := map[string]any{}
	if root.Kind == 0 {
		return values, nil
	}
	if err := root.Decode(&values); err != nil {
		return nil, &Error{File: s.name, Line: 1, Reason: "a mapping of keys to values is expected: " + err.Error()}
	}
	return values, nil
}

// fault makes an error about the place in the file that path leads to.
func (s *source) fault(path []string, format string, args ...any) *Error {
	return &Error{File: s.name, Line: s.line(path), Object: objectName(path), Reason: fmt.Sprintf(format, args...)}
}

// objectName tells an operator which object a path in a Compose or cloud file leads to.
func objectName(path []string) string {
	if len(path) >= 2 && path[0] == "services" {
		if rest := strings.Join(path[2:], "."); rest != "" {
			return "service " + path[1] + ": " + rest
		}
		return "service " + path[1]
	}
	return strings.Join(path, ".")
}

// line returns the line of the deepest part of path that the file has, 0 for none.
func (s *source) line(path []string) int {
	if s.root == nil {
		var root yaml.Node
		if yaml.Unmarshal(s.content, &root) != nil {
			return 0
		}
		s.root = &root
	}
	if len(s.root.Content) == 0 {
		return 0
	}
	node, line := s.root.Content[0], 0
	for _, key := range path {
		keyNode, value := child(node, key)
		if value == nil {
			return line
		}
		node, line = value, keyNode.Line
	}
	return line
}

// child returns the nodes of a key and its value, looking through aliases and merge keys.
func child(node *yaml.Node, key string) (keyNode, value *yaml.Node) {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch node.Kind {
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(key); err == nil && i >= 0 && i < len(node.Content) {
			return node.Content[i], node.Content[i]
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == key {
				return node.Content[i], node.Content[i+1]
			}
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value != "<<" {
				continue
			}
			merged := node.Content[i+1]
			if merged.Kind == yaml.SequenceNode {
				for _, one := range merged.Content {
					if k, v := child(one, key); v != nil {
						return k, v
					}
				}
			} else if k, v := child(merged, key); v != nil {
				return k, v
			}
		}
	}
	return nil, nil
}
