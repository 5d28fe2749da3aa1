// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"copse/internal/api"
	"copse/internal/engine"
	"copse/internal/logs"
	"copse/internal/tree"
)

// getLogs streams the lines of containers in the order of time.
func (a *Agent) getLogs(w http.ResponseWriter, r *http.Request) error {
	_, selected, err := a.selected(named(r))
	if err != nil {
		return err
	}
	options, err := logOptions(r)
	if err != nil {
		return err
	}
	if id := r.URL.Query().Get("request"); id != "" {
		return a.getRequestLogs(w, r, id, selected, options)
	}
	sources, err := a.logSources(r.Context(), selected, options)
	if err != nil {
		return err
	}
	origins := map[string]api.LogLine{}
	var read []logs.Source
	for _, source := range sources {
		origins[source.Name] = source.origin
		read = append(read, source.Source)
	}
	out := newStream(w)
	emit := func(l logs.Line) error {
		line := origins[l.Container]
		line.Time, line.Stream, line.Text = l.Time, l.Stream, l.Text
		return out.send(line)
	}
	if options.Follow {
		err = logs.Follow(r.Context(), read, emit, func(err error) { a.Log.Warn("the log of a container ended early", "error", err) })
	} else {
		err = logs.Merge(r.Context(), read, emit)
	}
	if err != nil && r.Context().Err() == nil {
		// The answer has begun: all that can still be said is said in the log.
		a.Log.Warn("a stream of logs ended early", "error", err)
	}
	return nil
}

func logOptions(r *http.Request) (engine.LogOptions, error) {
	query := r.URL.Query()
	options := engine.LogOptions{Follow: query.Get("follow") == "true"}
	var err error
	if options.Since, err = sinceOf(r); err != nil {
		return options, err
	}
	if s := query.Get("tail"); s != "" {
		tail, err := strconv.Atoi(s)
		if err != nil || tail < 0 {
			return options, &api.Error{Code: "invalid", Message: fmt.Sprintf("tail=%q is not a number of lines", s)}
		}
		options.Tail = tail
	}
	return options, nil
}

// logSource is a container's log and what is known of the container.
type logSource struct {
	logs.Source
	origin api.LogLine
}

// logSources are the selected containers that the engine has, jobs that have ended among them.
func (a *Agent) logSources(ctx context.Context, selected map[string]bool, options engine.LogOptions) ([]logSource, error) {
	containers, err := a.Engine.List(ctx, map[string]string{tree.LabelHost: a.HostName})
	if err != nil {
		return nil, err
	}
	var sources []logSource
	for _, c := range containers {
		if !selected[c.Labels[tree.LabelContainer]] {
			continue
		}
		generation, err := strconv.Atoi(c.Labels[tree.LabelGeneration])
		if err != nil {
			continue // not one of ours
		}
		read := func(ctx context.Context, handle func(engine.LogLine)) error {
			err := a.Engine.Logs(ctx, c.ID, options, handle)
			if errors.Is(err, engine.ErrNotFound) {
				return nil // it has been removed meanwhile
			}
			return err
		}
		sources = append(sources, logSource{
			Source: logs.Source{Name: c.Name, Read: read},
			origin: api.LogLine{
				Host: a.HostName, Set: c.Labels[tree.LabelSet], Container: c.Labels[tree.LabelContainer], Generation: generation,
			},
		})
	}
	return sources, nil
}
