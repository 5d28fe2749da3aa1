// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"copse/internal/engine"
)

// requestPrefix begins the ids of OpenStack's requests; a UUID follows (oslo_context.context,
// generate_request_id).
const requestPrefix = "req-"

// uuidLength is that of a UUID in text (RFC 9562, section 4).
const uuidLength = 36

// parallelReads bounds the logs that are read at the same time.
const parallelReads = 8

// ParseRequestID reads the id of a request, with or without "req-" before it.
func ParseRequestID(s string) (string, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	id := requestPrefix + strings.TrimPrefix(text, requestPrefix)
	if found := RequestIDs(id); len(found) != 1 || found[0] != id {
		return "", fmt.Errorf("%q is no id of a request: they look like req-3f0e9c52-7c1d-4f0a-9d86-0b6c1d0a8a11, and an API gives its own in the header X-Openstack-Request-Id", s)
	}
	return id, nil
}

// RequestIDs returns the ids of requests in a line, each once, in the order they stand there.
func RequestIDs(text string) []string {
	var ids []string
	for {
		at := strings.Index(text, requestPrefix)
		if at < 0 {
			return ids
		}
		text = text[at:]
		end := len(requestPrefix) + uuidLength
		if len(text) < end || !isUUID(text[len(requestPrefix):end]) {
			text = text[len(requestPrefix):]
			continue
		}
		if id := text[:end]; !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
		text = text[end:]
	}
}

func isUUID(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}

// Related returns the ids that belong to a request: its own and those that stand on one line with
// it. A service gives each request that it takes an id of its own and logs it beside that of the
// request that led to it, which goes along from service to service. So one step finds the id that
// all of them share; a second one would reach what merely stands beside it, such as the other
// requests of a list.
//
// The logs are read in parallel; the first failure ends it.
func Related(ctx context.Context, sources []Source, id string) (map[string]bool, error) {
	var mu sync.Mutex
	ids := map[string]bool{id: true}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelReads)
	for _, source := range sources {
		group.Go(func() error {
			found := map[string]bool{}
			err := source.read(ctx, func(line engine.LogLine) {
				if strings.Contains(line.Text, id) {
					for _, other := range RequestIDs(line.Text) {
						found[other] = true
					}
				}
			})
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(ids, found)
			return err
		})
	}
	return ids, group.Wait()
}

// WithoutChecks leaves out the lines about requests that only ask whether a service is there: GET
// of path. They belong to no request of a client, but some services log them with the ids of the
// one before.
func WithoutChecks(source Source, path string) Source {
	if path == "" {
		return source
	}
	ends := []string{`"GET ` + path + `"`, `"GET ` + path + ` HTTP/`}
	return Source{Name: source.Name, Read: func(ctx context.Context, handle func(engine.LogLine)) error {
		return source.Read(ctx, func(line engine.LogLine) {
			if !slices.ContainsFunc(ends, func(end string) bool { return strings.Contains(line.Text, end) }) {
				handle(line)
			}
		})
	}}
}

// OfRequests narrows sources to the lines that speak of one of the ids.
func OfRequests(sources []Source, ids map[string]bool) []Source {
	narrowed := make([]Source, 0, len(sources))
	for _, source := range sources {
		narrowed = append(narrowed, Source{Name: source.Name, Read: func(ctx context.Context, handle func(engine.LogLine)) error {
			return source.Read(ctx, func(line engine.LogLine) {
				if slices.ContainsFunc(RequestIDs(line.Text), func(id string) bool { return ids[id] }) {
					handle(line)
				}
			})
		}})
	}
	return narrowed
}
