// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"copse/internal/api"
	"copse/internal/change"
	"copse/internal/deploy"
	"copse/internal/engine"
	"copse/internal/tree"
)

// mostBody bounds a request's body; a document of a large cloud is a few megabytes.
const mostBody = 64 << 20

// handler routes the API; openapi.yaml of package api describes it.
func (a *Agent) handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range a.routes() {
		mux.Handle(r.pattern, a.answering(r.handle))
	}
	mux.Handle("GET /metrics", a.meters)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.fail(w, r, &api.Error{Code: "not-found", Message: "this agent knows no " + r.Method + " " + r.URL.Path + "; its version is " + a.Version})
	})
	return mux
}

// handle answers a request, or returns why it cannot.
type handle func(w http.ResponseWriter, r *http.Request) error

// answering answers with the error where there is one.
func (a *Agent) answering(h handle) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			a.fail(w, r, err)
		}
	})
}

type apiRoute struct {
	pattern string
	handle  handle
}

// routes lists the API in the order of openapi.yaml.
func (a *Agent) routes() []apiRoute {
	return []apiRoute{
		{"GET /v1/version", a.getVersion},
		{"POST /v1/plan", a.postPlan},
		{"POST /v1/preflight", a.postPreflight},
		{"POST /v1/changes", a.postChange},
		{"GET /v1/changes", a.getChanges},
		{"GET /v1/changes/{id}", a.getChange},
		{"POST /v1/changes/{id}/abort", a.postAbort},
		{"POST /v1/changes/{id}/retry", a.postRetry},
		{"GET /v1/changes/{id}/events", a.getEvents},
		{"GET /v1/document", a.getDocument},
		{"GET /v1/pins", a.getPins},
		{"POST /v1/prune", a.postPrune},
		{"GET /v1/tree", a.getTree},
		{"GET /v1/containers", a.getContainers},
		{"GET /v1/health", a.getHealth},
		{"GET /v1/health/{name...}", a.getSetHealth},
		{"GET /v1/jobs", a.getJobs},
		{"POST /v1/config", a.postConfig},
		{"GET /v1/history", a.getHistory},
		{"GET /v1/incidents", a.getIncidents},
		{"GET /v1/logs", a.getLogs},
		{"GET /v1/top", a.getTop},
		{"POST /v1/exec", a.postExec},
		{"GET /v1/secrets", a.getSecrets},
		{"POST /v1/secrets/{name}/rotate", a.postRotate},
		{"GET /v1/openrc", a.getOpenRC},
	}
}

// fail answers with an error's code and message. The codes are package api's.
func (a *Agent) fail(w http.ResponseWriter, r *http.Request, err error) {
	answer := describe(err)
	status := map[string]int{
		"invalid": http.StatusBadRequest, "not-found": http.StatusNotFound, "conflict": http.StatusConflict,
		"stale": http.StatusConflict, "newer-document": http.StatusBadRequest, "unavailable": http.StatusServiceUnavailable,
	}[answer.Code]
	if status == 0 {
		status = http.StatusInternalServerError
		a.Log.Error("a request failed", "request", r.Method+" "+r.URL.Path, "error", err)
	}
	a.answer(w, status, answer)
}

func describe(err error) *api.Error {
	var answer *api.Error
	var conflict *change.ConflictError
	var unknown *tree.UnknownNameError
	var full *http.MaxBytesError
	switch {
	case errors.As(err, &answer):
		return answer
	case errors.As(err, &conflict):
		return &api.Error{Code: "conflict", Message: err.Error(), Change: conflict.Change}
	case errors.As(err, &unknown):
		return &api.Error{Code: "not-found", Message: unknown.Error()}
	case errors.Is(err, deploy.ErrStale):
		return &api.Error{Code: "stale", Message: err.Error()}
	case errors.Is(err, deploy.ErrNewerDocument):
		return &api.Error{Code: "newer-document", Message: err.Error()}
	case errors.Is(err, deploy.ErrInvalid), errors.Is(err, change.ErrEnded), errors.Is(err, change.ErrNotStuck), errors.As(err, &full):
		return &api.Error{Code: "invalid", Message: err.Error()}
	case errors.Is(err, deploy.ErrNothingDeclared), errors.Is(err, change.ErrNotFound), errors.Is(err, engine.ErrNotFound):
		return &api.Error{Code: "not-found", Message: err.Error()}
	case errors.Is(err, engine.ErrUnavailable):
		return &api.Error{Code: "unavailable", Message: err.Error()}
	}
	return &api.Error{Code: "internal", Message: err.Error()}
}

func (a *Agent) answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		a.Log.Debug("a client has gone before its answer", "error", err)
	}
}

func decode(w http.ResponseWriter, r *http.Request, v any) error {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostBody))
	if err := decoder.Decode(v); err != nil {
		var full *http.MaxBytesError
		if errors.As(err, &full) {
			return err
		}
		return &api.Error{Code: "invalid", Message: "cannot read the request: " + err.Error()}
	}
	return nil
}

func changeID(r *http.Request) (int, error) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || id < 1 {
		return 0, &api.Error{Code: "invalid", Message: "a change has a number, not " + strconv.Quote(r.PathValue("id")) + ": \"copse changes\" lists them"}
	}
	return id, nil
}

// sinceOf is the time from which a request asks on, zero where it does not say.
func sinceOf(r *http.Request) (time.Time, error) {
	text := r.URL.Query().Get("since")
	if text == "" {
		return time.Time{}, nil
	}
	since, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return since, &api.Error{Code: "invalid", Message: fmt.Sprintf("since=%q is not a time of RFC 3339, like 2026-01-02T15:04:05Z", text)}
	}
	return since, nil
}

// stream writes JSON lines as they come.
type stream struct {
	encoder *json.Encoder
	flush   func()
}

func newStream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	s := &stream{encoder: json.NewEncoder(w), flush: func() {
		// A writer that cannot flush sends when it is full, which is all that can be had.
		_ = control.Flush()
	}}
	s.flush()
	return s
}

func (s *stream) send(v any) error {
	if err := s.encoder.Encode(v); err != nil {
		return err
	}
	s.flush()
	return nil
}
