// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"copse/internal/api"
	"copse/internal/plan"
	"copse/internal/tree"
)

// property is what the test compares of a field.
type property struct {
	Ref      string               `yaml:"$ref,omitempty"`
	Type     string               `yaml:"type,omitempty"`
	Format   string               `yaml:"format,omitempty"`
	Nullable bool                 `yaml:"nullable,omitempty"`
	Items    *property            `yaml:"items,omitempty"`
	Values   *property            `yaml:"additionalProperties,omitempty"`
	Required []string             `yaml:"required,omitempty"`
	Fields   map[string]*property `yaml:"properties,omitempty"`
}

type description struct {
	Paths      map[string]map[string]any `yaml:"paths"`
	Components struct {
		Schemas map[string]*property `yaml:"schemas"`
	} `yaml:"components"`
}

func read(t *testing.T) (description, string) {
	t.Helper()
	data, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var d description
	if err := yaml.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return d, string(data)
}

// The schemas are the wire's types: the same fields, types and which may be missing.
func TestSchemasAreTheTypes(t *testing.T) {
	want := map[string]*property{}
	for _, v := range []any{
		api.Version{}, api.Error{}, api.ChangeRequest{}, api.Change{}, api.Event{}, api.Container{}, api.Health{}, api.SetHealth{}, api.Job{}, api.Generation{}, api.Incident{}, api.LogLine{},
		api.Process{}, api.ExecRequest{}, api.Frame{}, api.Secret{}, api.OpenRC{}, api.ConfigRequest{}, api.PreflightRequest{}, api.Config{}, plan.Plan{}, tree.Set{},
		api.Pin{}, api.PruneRequest{}, api.Prune{},
	} {
		object(reflect.TypeOf(v), want)
	}
	got, _ := read(t)
	if diff := cmp.Diff(want, got.Components.Schemas); diff != "" {
		t.Errorf("openapi.yaml does not describe the types (-types +openapi.yaml):\n%s", diff)
	}
}

// Every reference leads somewhere, and every schema is used.
func TestReferencesLeadToSchemas(t *testing.T) {
	d, text := read(t)
	used := map[string]bool{}
	for _, after := range strings.Split(text, `"#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(after, `"`)
		used[name] = true
		if d.Components.Schemas[name] == nil {
			t.Errorf("there is no schema %s", name)
		}
	}
	for name := range d.Components.Schemas {
		// Frames go over the stream of exec, which OpenAPI cannot describe.
		if !used[name] && name != "Frame" {
			t.Errorf("the schema %s is not used", name)
		}
	}
	if len(d.Paths) == 0 {
		t.Error("there are no paths")
	}
	for path := range d.Paths {
		if !strings.HasPrefix(path, "/v1/") {
			t.Errorf("the path %s is not below /v1", path)
		}
	}
}

// object adds the schema of a struct and of those in it.
func object(t reflect.Type, schemas map[string]*property) {
	name := schemaName(t)
	if schemas[name] != nil {
		return
	}
	schema := &property{Type: "object", Fields: map[string]*property{}}
	schemas[name] = schema
	for i := range t.NumField() {
		field := t.Field(i)
		key, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		p := value(field.Type, schemas)
		if !strings.Contains(options, "omit") {
			schema.Required = append(schema.Required, key)
			p.Nullable = field.Type.Kind() == reflect.Pointer && p.Ref == ""
		}
		schema.Fields[key] = p
	}
}

func value(t reflect.Type, schemas map[string]*property) *property {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return &property{Type: "string", Format: "date-time"}
	case t.Kind() == reflect.Pointer:
		return value(t.Elem(), schemas)
	case t == reflect.TypeFor[[]byte]():
		return &property{Type: "string", Format: "byte"}
	case t.Kind() == reflect.Slice:
		return &property{Type: "array", Items: value(t.Elem(), schemas)}
	case t.Kind() == reflect.Map:
		return &property{Type: "object", Values: value(t.Elem(), schemas)}
	case t.Kind() == reflect.Struct:
		object(t, schemas)
		return &property{Ref: "#/components/schemas/" + schemaName(t)}
	}
	kinds := map[reflect.Kind]property{
		reflect.String: {Type: "string"}, reflect.Bool: {Type: "boolean"}, reflect.Float64: {Type: "number"},
		reflect.Int64: {Type: "integer", Format: "int64"}, reflect.Uint64: {Type: "integer", Format: "int64"},
		reflect.Int: {Type: "integer"}, reflect.Uint: {Type: "integer"}, reflect.Uint32: {Type: "integer"},
	}
	p, ok := kinds[t.Kind()]
	if !ok {
		panic("no schema for the kind " + t.Kind().String() + "; known: " + strings.Join(kindNames(kinds), ", "))
	}
	return &p
}

func kindNames(kinds map[reflect.Kind]property) []string {
	var names []string
	for kind := range maps.Keys(kinds) {
		names = append(names, kind.String())
	}
	slices.Sort(names)
	return names
}

// schemaName keeps the same name in two packages apart: tree's are the parts of a document.
func schemaName(t reflect.Type) string {
	switch t.PkgPath() {
	case reflect.TypeFor[tree.Document]().PkgPath():
		return "Document" + strings.TrimPrefix(t.Name(), "Document")
	case reflect.TypeFor[api.Version]().PkgPath(), reflect.TypeFor[plan.Plan]().PkgPath():
		return t.Name()
	}
	return "Engine" + t.Name()
}
