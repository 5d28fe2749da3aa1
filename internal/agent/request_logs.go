// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"net/http"
	"time"

	"copse/internal/api"
	"copse/internal/engine"
	"copse/internal/logs"
	"copse/internal/tree"
)

// getRequestLogs streams the lines about one request of OpenStack, from all services that it went
// through. The logs are read twice: first for the other ids that the request goes by, then for
// the lines, so that no line has to be kept.
func (a *Agent) getRequestLogs(w http.ResponseWriter, r *http.Request, asked string, selected map[string]bool, options engine.LogOptions) error {
	id, err := logs.ParseRequestID(asked)
	if err != nil {
		return &api.Error{Code: "invalid", Message: err.Error()}
	}
	if options.Follow || options.Tail > 0 {
		return &api.Error{Code: "invalid", Message: "the lines of one request are asked for as a whole: leave follow and tail out"}
	}
	found, err := a.logSources(r.Context(), selected, options)
	if err != nil {
		return err
	}
	document, err := a.deployer.Document()
	if err != nil {
		return err
	}
	origins := make(map[string]api.LogLine, len(found))
	sources := make([]logs.Source, 0, len(found))
	for _, source := range found {
		origins[source.Name] = source.origin
		sources = append(sources, logs.WithoutChecks(source.Source, checkPath(document, source.origin.Container)))
	}
	ids, err := logs.Related(r.Context(), sources, id)
	if err != nil {
		return err
	}
	out := newStream(w)
	var first time.Time
	err = logs.Merge(r.Context(), logs.OfRequests(sources, ids), func(l logs.Line) error {
		if first.IsZero() {
			first = l.Time
		}
		line := origins[l.Container]
		line.Time, line.Stream, line.Text = l.Time, l.Stream, l.Text
		elapsed := l.Time.Sub(first).Seconds()
		line.Elapsed, line.Requests = &elapsed, logs.RequestIDs(l.Text)
		return out.send(line)
	})
	if err != nil && !errors.Is(err, r.Context().Err()) {
		// The answer has begun: all that can still be said is said in the log.
		a.Log.Warn("the lines of a request ended early", "request", id, "error", err)
	}
	return nil
}

// checkPath is what the proxy asks of a container to see that it is there, "" for nothing.
func checkPath(document *tree.Document, name string) string {
	if document == nil {
		return ""
	}
	if c := document.Container(name); c != nil && c.Frontend != nil {
		return c.Frontend.CheckPath
	}
	return ""
}
