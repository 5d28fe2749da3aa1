// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Both decoders give the same model: map[string]any, []any, string, bool,
// number, nil. Of a key given twice the last counts, as in Python.

func decodeJSON(data []byte) (any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("it is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var document any
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it is empty")
		}
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the end of the object")
	}
	return plainNumbers(document), nil
}

func plainNumbers(value any) any {
	switch value := value.(type) {
	case json.Number:
		return number(value)
	case []any:
		for i := range value {
			value[i] = plainNumbers(value[i])
		}
	case map[string]any:
		for key := range value {
			value[key] = plainNumbers(value[key])
		}
	}
	return value
}

func decodeYAML(data []byte) (any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("it is not UTF-8")
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it is empty")
		}
		return nil, err
	}
	var second yaml.Node
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, err
		}
		return nil, errors.New("it holds more than one document")
	}
	reader := yamlReader{
		scalars: yaml11Numbers(),
		// Aliases may repeat their target; a real file is far below this.
		nodesLeft: 100_000,
	}
	return reader.value(&document, 0)
}

// yamlReader turns nodes into values by the rules of YAML 1.1, which the
// original's reader follows and ours does not.
type yamlReader struct {
	scalars   *regexp.Regexp
	nodesLeft int
}

const yamlDepthLimit = 1000

func (r *yamlReader) value(node *yaml.Node, depth int) (any, error) {
	r.nodesLeft--
	if r.nodesLeft < 0 || depth > yamlDepthLimit {
		return nil, fmt.Errorf("line %d: it is nested too deeply or repeats itself too often", node.Line)
	}
	switch node.Kind {
	case yaml.DocumentNode:
		if len(node.Content) != 1 {
			return nil, errors.New("it is empty")
		}
		return r.value(node.Content[0], depth+1)
	case yaml.AliasNode:
		return r.value(node.Alias, depth+1)
	case yaml.SequenceNode:
		list := make([]any, 0, len(node.Content))
		for _, item := range node.Content {
			value, err := r.value(item, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, nil
	case yaml.MappingNode:
		return r.mapping(node, depth)
	case yaml.ScalarNode:
		return r.scalar(node)
	}
	return nil, fmt.Errorf("line %d: it cannot be understood", node.Line)
}

func (r *yamlReader) mapping(node *yaml.Node, depth int) (any, error) {
	mapping, merged := map[string]any{}, map[string]any{}
	for pair := range slices.Chunk(node.Content, 2) {
		if len(pair) != 2 {
			return nil, fmt.Errorf("line %d: a key without a value", node.Line)
		}
		value, err := r.value(pair[1], depth+1)
		if err != nil {
			return nil, err
		}
		if pair[0].Kind == yaml.ScalarNode && pair[0].Value == "<<" && plain(pair[0]) {
			if err := mergeInto(merged, value); err != nil {
				return nil, fmt.Errorf("line %d: %w", pair[0].Line, err)
			}
			continue
		}
		key, err := r.value(pair[0], depth+1)
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("line %d: a key must be a string, not %s", pair[0].Line, describe(key))
		}
		mapping[name] = value
	}
	for key, value := range merged {
		if _, own := mapping[key]; !own {
			mapping[key] = value
		}
	}
	return mapping, nil
}

// mergeInto adds what "<<" names; of several mappings the first counts.
func mergeInto(merged map[string]any, value any) error {
	sources, ok := value.([]any)
	if !ok {
		sources = []any{value}
	}
	for _, source := range sources {
		mapping, ok := source.(map[string]any)
		if !ok {
			return fmt.Errorf("\"<<\" needs a mapping, not %s", describe(source))
		}
		for key, value := range mapping {
			if _, earlier := merged[key]; !earlier {
				merged[key] = value
			}
		}
	}
	return nil
}

func plain(node *yaml.Node) bool {
	const quoted = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	return node.Style&quoted == 0
}

func (r *yamlReader) scalar(node *yaml.Node) (any, error) {
	if node.Style&yaml.TaggedStyle != 0 {
		switch node.ShortTag() {
		case "!!str", "!":
			return node.Value, nil
		case "!!bool", "!!int", "!!float", "!!null":
			return r.plainScalar(node.Value), nil
		default:
			return nil, fmt.Errorf("line %d: the tag %s is not known", node.Line, node.Tag)
		}
	}
	if !plain(node) {
		return node.Value, nil
	}
	return r.plainScalar(node.Value), nil
}

func (r *yamlReader) plainScalar(text string) any {
	if flag, ok := yamlBool(text); ok {
		return flag
	}
	switch text {
	case "", "~", "null", "Null", "NULL":
		return nil
	}
	if r.scalars.MatchString(text) {
		return number(text)
	}
	return text
}

// yamlBool reads the booleans of https://yaml.org/type/bool.html, without the
// one-letter forms, which no reader has.
func yamlBool(text string) (value, ok bool) {
	switch text {
	case "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON":
		return true, true
	case "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF":
		return false, true
	}
	return false, false
}

// yaml11Numbers matches what YAML 1.1 does not take for a string although it
// has no quotes: https://yaml.org/type/int.html, float.html, timestamp.html.
// "0o640" is none of these and therefore a string.
func yaml11Numbers() *regexp.Regexp {
	return regexp.MustCompile(`^(?:` + strings.Join([]string{
		`[-+]?0b[01_]+`, `[-+]?0[0-7_]+`, `[-+]?(?:0|[1-9][0-9_]*)`, `[-+]?0x[0-9a-fA-F_]+`,
		`[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+`,
		`[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?`, `\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?`,
		`[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*`, `[-+]?\.(?:inf|Inf|INF)`, `\.(?:nan|NaN|NAN)`,
		`[0-9]{4}-[0-9]{2}-[0-9]{2}`,
		`[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?`,
	}, `|`) + `)$`)
}
