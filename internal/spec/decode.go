// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"

	"copse/internal/nearest"
	"copse/internal/tree"
)

// decoder fills structs from the plain values of a YAML file. Unlike a YAML library it names
// the nearest known key for one that is unknown, collects every fault, and takes "5000" for a
// number, since interpolated values are text.
type decoder struct {
	src    *source
	faults []error
}

func (d *decoder) fault(path []string, format string, args ...any) {
	d.faults = append(d.faults, d.src.fault(path, format, args...))
}

// decode fills what into points to. Struct fields are named by their yaml tags.
func (d *decoder) decode(value any, into any, path []string) {
	d.fill(value, reflect.ValueOf(into).Elem(), path)
}

var durationType = reflect.TypeFor[time.Duration]()

func (d *decoder) fill(value any, into reflect.Value, path []string) {
	if value == nil {
		return
	}
	if into.Type() == durationType {
		text, isText := value.(string)
		duration, err := time.ParseDuration(text)
		if !isText || err != nil || duration < 0 {
			d.fault(path, "%v is no duration; write it like 30s or 1m30s", value)
			return
		}
		into.SetInt(int64(duration))
		return
	}
	switch into.Kind() {
	case reflect.Pointer:
		made := reflect.New(into.Type().Elem())
		d.fill(value, made.Elem(), path)
		into.Set(made)
	case reflect.Interface:
		into.Set(reflect.ValueOf(value))
	case reflect.Struct:
		d.fillStruct(value, into, path)
	case reflect.Map:
		d.fillMap(value, into, path)
	case reflect.Slice:
		d.fillSlice(value, into, path)
	default:
		d.fillScalar(value, into, path)
	}
}

func (d *decoder) fillStruct(value any, into reflect.Value, path []string) {
	keys, ok := value.(map[string]any)
	if !ok {
		d.fault(path, "a mapping of keys to values is expected, not %v", value)
		return
	}
	fields := map[string]int{}
	for i := range into.NumField() {
		fields[into.Type().Field(i).Tag.Get("yaml")] = i
	}
	for _, key := range tree.SortedKeys(keys) {
		at := append(slices.Clone(path), key)
		field, known := fields[key]
		if !known {
			names := tree.SortedKeys(fields)
			d.fault(at, "unknown key%s; known are %v", nearest.Hint(key, names), names)
			continue
		}
		d.fill(keys[key], into.Field(field), at)
	}
}

func (d *decoder) fillMap(value any, into reflect.Value, path []string) {
	keys, ok := value.(map[string]any)
	if !ok {
		d.fault(path, "a mapping of names to values is expected, not %v", value)
		return
	}
	made := reflect.MakeMap(into.Type())
	for _, key := range tree.SortedKeys(keys) {
		element := reflect.New(into.Type().Elem()).Elem()
		d.fill(keys[key], element, append(slices.Clone(path), key))
		made.SetMapIndex(reflect.ValueOf(key), element)
	}
	into.Set(made)
}

func (d *decoder) fillSlice(value any, into reflect.Value, path []string) {
	items, ok := value.([]any)
	if !ok {
		d.fault(path, "a list is expected, not %v", value)
		return
	}
	made := reflect.MakeSlice(into.Type(), len(items), len(items))
	for i, item := range items {
		d.fill(item, made.Index(i), append(slices.Clone(path), strconv.Itoa(i)))
	}
	into.Set(made)
}

func (d *decoder) fillScalar(value any, into reflect.Value, path []string) {
	text, ok := scalarText(value)
	if !ok {
		d.fault(path, "a single value is expected, not %v", value)
		return
	}
	switch into.Kind() {
	case reflect.String:
		into.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			d.fault(path, "%q is neither true nor false", text)
			return
		}
		into.SetBool(b)
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			d.fault(path, "%q is no whole number", text)
			return
		}
		into.SetInt(int64(n))
	default:
		panic(fmt.Sprintf("spec: no rule to decode into %s", into.Type()))
	}
}

// scalarText writes a YAML scalar as the text that a program would read from its environment.
func scalarText(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case int:
		return strconv.Itoa(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case uint64:
		return strconv.FormatUint(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	case float32:
		return strconv.FormatFloat(float64(v), 'g', -1, 32), true
	}
	return "", false
}
