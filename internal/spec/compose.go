// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/compose-spec/compose-go/v2/interpolation"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/template"
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
	if len(raw) == 0 {
		return &types.Project{}, nil
	}
	known := tree.SortedKeys(values)
	lookup := func(name string) (string, bool) { value, ok := values[name]; return value, ok }
	project, err := loader.LoadWithContext(ctx, types.ConfigDetails{
		ConfigFiles: []types.ConfigFile{{Filename: src.name, Config: raw}},
		WorkingDir:  "/",
		Environment: types.Mapping{},
	}, func(o *loader.Options) {
		o.SetProjectName("copse", true)
		o.SkipConsistencyCheck = true // depends_on crosses files; see link
		o.SkipNormalization = true
		o.SkipResolveEnvironment = true
		o.SkipResolveLabels = true
		o.SkipInclude = true
		o.SkipExtends = true
		o.ResolvePaths = false
		o.Interpolate = &interpolation.Options{
			LookupValue:     lookup,
			TypeCastMapping: o.Interpolate.TypeCastMapping,
			Substitute: func(text string, _ template.Mapping) (string, error) {
				return interpolate(text, lookup, known)
			},
		}
	})
	if err != nil {
		return nil, &Error{File: src.name, Reason: err.Error()}
	}
	l.cache.put(key, project)
	return project, nil
}
