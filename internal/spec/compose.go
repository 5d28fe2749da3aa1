// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"copse/internal/tree"
)

// composeCache keeps what Compose files came to, by their content and the values filled in.
type composeCache struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]*types.Project
}

// get returns the cached project; projects are never changed once they are in the cache.
func (c *composeCache) get(key [sha256.Size]byte) *types.Project {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[key]
}

func (c *composeCache) put(key [sha256.Size]byte, project *types.Project) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[[sha256.Size]byte]*types.Project{}
	}
	c.known[key] = project
}

// valuesDigest identifies a set of values.
func valuesDigest(values map[string]string) []byte {
	h := sha256.New()
	for _, name := range tree.SortedKeys(values) {
		fmt.Fprintf(h, "%q=%q\n", name, values[name])
	}
	return h.Sum(nil)
}

// parseCompose reads one Compose file with the values filled in.
func (l *Loader) parseCompose(ctx context.Context, src *source, values map[string]string) (*types.Project, error) {
	key := sha256.Sum256(append(valuesDigest(values), src.content...))
	if project := l.cache.get(key); project != nil {
		return project, nil
	}
	raw, err := src.parse()
	if err != nil {
		return nil, err
	}
	d := decoder{src: src}
	d.checkAttributes(raw, composeAttributes(), nil)
	if len(d.faults) > 0 {
		return nil, errors.Join(d.faults...)
	}
	d.interpolateAll(raw, values)
	if len(d.faults) > 0 {
		return nil, errors.Join(d.faults...)
	}
	kept := takeAside(&d, raw)
	project := &types.Project{}
	if len(raw) > 0 {
		project, err = loader.LoadWithContext(ctx, types.ConfigDetails{
			ConfigFiles: []types.ConfigFile{{Filename: src.name, Config: raw}},
			WorkingDir:  "/",
			Environment: types.Mapping{},
		}, loadOptions)
		if err != nil {
			return nil, &Error{File: src.name, Reason: err.Error()}
		}
	}
	kept.putBack(project)
	if len(d.faults) > 0 {
		return nil, errors.Join(d.faults...)
	}
	l.cache.put(key, project)
	return project, nil
}

// loadOptions leaves to compose-go what it does better: the schema, short forms, types.
// depends_on, secrets and volumes cross files and are checked by the builder.
func loadOptions(o *loader.Options) {
	o.SetProjectName("copse", true)
	o.SkipConsistencyCheck = true
	o.SkipNormalization = true
	o.SkipResolveEnvironment = true
	o.SkipResolveLabels = true
	o.SkipInclude = true
	o.SkipExtends = true
	o.SkipDefaultValues = true // of keys that are not honoured
	o.ResolvePaths = false
	o.Interpolate = nil // done, with the line of each fault
}

// interpolateAll fills the values into every text of a file.
func (d *decoder) interpolateAll(raw map[string]any, values map[string]string) {
	known := tree.SortedKeys(values)
	lookup := func(name string) (string, bool) { value, ok := values[name]; return value, ok }
	var walk func(value any, path []string) any
	walk = func(value any, path []string) any {
		switch v := value.(type) {
		case string:
			if !strings.Contains(v, "$") {
				return v
			}
			text, err := interpolate(v, lookup, known)
			if err != nil {
				d.fault(path, "%v", err)
			}
			return text
		case map[string]any:
			filled := make(map[string]any, len(v))
			for _, key := range tree.SortedKeys(v) {
				filled[key] = walk(v[key], append(path[:len(path):len(path)], key))
			}
			return filled
		case []any:
			filled := make([]any, len(v))
			for i, item := range v {
				filled[i] = walk(item, append(path[:len(path):len(path)], strconv.Itoa(i)))
			}
			return filled
		}
		return value
	}
	for _, key := range tree.SortedKeys(raw) {
		// What stands below another x-… key are anchors; they count where they are used.
		if key == extension || !strings.HasPrefix(key, "x-") {
			raw[key] = walk(raw[key], []string{key})
		}
	}
}

// aside is what is kept from compose-go, which would look at each key of it many times over:
// the extensions, and the environment.
type aside struct {
	set          any
	services     map[string]any
	secrets      map[string]any
	environments map[string]types.MappingWithEquals
	// commands, entrypoints and tests are those that are written as lists.
	commands, entrypoints, tests map[string][]string
}

// takeAside takes out of raw what compose-go need not see.
func takeAside(d *decoder, raw map[string]any) *aside {
	kept := &aside{
		set: raw[extension], services: map[string]any{}, secrets: map[string]any{}, environments: map[string]types.MappingWithEquals{},
		commands: map[string][]string{}, entrypoints: map[string][]string{}, tests: map[string][]string{},
	}
	for _, key := range tree.SortedKeys(raw) {
		if strings.HasPrefix(key, "x-") {
			delete(raw, key)
		}
	}
	for name, service := range objects(raw, "services") {
		if ext, ok := service[extension]; ok {
			kept.services[name] = ext
			delete(service, extension)
		}
		if environment, ok := service["environment"]; ok {
			kept.environments[name] = d.environment(environment, []string{"services", name, "environment"})
			delete(service, "environment")
		}
		d.takeList(service, "command", kept.commands, name, []string{"services", name, "command"})
		d.takeList(service, "entrypoint", kept.entrypoints, name, []string{"services", name, "entrypoint"})
		if healthcheck, ok := service["healthcheck"].(map[string]any); ok {
			d.takeList(healthcheck, "test", kept.tests, name, []string{"services", name, "healthcheck", "test"})
		}
	}
	for name, secret := range objects(raw, "secrets") {
		kept.secrets[name] = secret[extension]
		delete(secret, extension)
	}
	return kept
}

// takeList takes out of a mapping what stands there as a list of texts, if it does.
func (d *decoder) takeList(from map[string]any, key string, into map[string][]string, name string, path []string) {
	items, ok := from[key].([]any)
	if !ok {
		return
	}
	delete(from, key)
	texts := make([]string, len(items))
	for i, item := range items {
		if texts[i], ok = scalarText(item); !ok {
			d.fault(append(slices.Clone(path), strconv.Itoa(i)), "a single value is expected, not %v", item)
		}
	}
	into[name] = texts
}

// objects returns the mappings below a key of a file, by name.
func objects(raw map[string]any, key string) map[string]map[string]any {
	found := map[string]map[string]any{}
	section, _ := raw[key].(map[string]any)
	for name, value := range section {
		if object, ok := value.(map[string]any); ok {
			found[name] = object
		}
	}
	return found
}

// environment reads both forms of Compose: a mapping, and a list of KEY=VALUE.
func (d *decoder) environment(value any, path []string) types.MappingWithEquals {
	read := types.MappingWithEquals{}
	switch v := value.(type) {
	case nil:
	case map[string]any:
		for _, key := range tree.SortedKeys(v) {
			at := append(slices.Clone(path), key)
			if v[key] == nil {
				read[key] = nil
			} else if text, ok := scalarText(v[key]); ok {
				read[key] = &text
			} else {
				d.fault(at, "a single value is expected, not %v", v[key])
			}
		}
	case []any:
		for i, item := range v {
			text, _ := item.(string)
			key, value, found := strings.Cut(text, "=")
			if !found || key == "" {
				d.fault(append(slices.Clone(path), strconv.Itoa(i)), "%v is not of the form KEY=VALUE", item)
				continue
			}
			read[key] = &value
		}
	default:
		d.fault(path, "a mapping of names to values is expected, not %v", value)
	}
	return read
}

// putBack gives the project what was taken aside.
func (a *aside) putBack(project *types.Project) {
	if a.set != nil {
		project.Extensions = types.Extensions{extension: a.set}
	}
	for name, service := range project.Services {
		if ext, ok := a.services[name]; ok {
			service.Extensions = types.Extensions{extension: ext}
		}
		service.Environment = a.environments[name]
		if command, ok := a.commands[name]; ok {
			service.Command = command
		}
		if entrypoint, ok := a.entrypoints[name]; ok {
			service.Entrypoint = entrypoint
		}
		if test, ok := a.tests[name]; ok {
			if service.HealthCheck == nil {
				service.HealthCheck = &types.HealthCheckConfig{}
			}
			service.HealthCheck.Test = test
		}
		project.Services[name] = service
	}
	for name, secret := range project.Secrets {
		if ext := a.secrets[name]; ext != nil {
			secret.Extensions = types.Extensions{extension: ext}
		}
		project.Secrets[name] = secret
	}
}
