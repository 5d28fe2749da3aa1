// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package clienttest has an agent without containers for tests of what talks to one: it
// answers on a unix socket from what the test puts into it, and its changes go on as told.
package clienttest

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"copse/internal/api"
	"copse/internal/engine"
	"copse/internal/plan"
	"copse/internal/tree"
)

// Epoch is when everything in a new Agent happened.
var Epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Agent is a fake agent. Its fields may be set before Start, and between Lock and Unlock later.
type Agent struct {
	sync.Mutex
	Version     api.Version
	Document    *tree.Document // nil: none declared
	Containers  []api.Container
	Health      []api.Health
	Generations []api.Generation
	Logs        []api.LogLine
	Processes   []api.Process
	Secrets     []api.Secret
	OpenRC      api.OpenRC
	Pins        []api.Pin
	Jobs        []api.Job
	// Findings are what POST /v1/preflight answers.
	Findings []plan.Finding
	// Prune is what the next POST /v1/prune removes, unless it is a dry run.
	Prune api.Prune
	// Plans are the answers by kind; a kind without one has nothing to do.
	Plans map[plan.Kind]plan.Plan
	// PlanOf, where it is there and answers, goes before Plans.
	PlanOf func(request api.ChangeRequest) *plan.Plan
	// Deny, where it answers, goes before any plan.
	Deny func(request api.ChangeRequest) *api.Error
	// Submitted are the bodies of POST /v1/changes so far.
	Submitted []api.ChangeRequest
	// Changes are those there are, with the events that they have sent and will send.
	Changes []*Change
	// Script makes the events of a change that is submitted; Held is how many of them come
	// before it waits for Release.
	Script func(c *api.Change, request api.ChangeRequest) []api.Event
	Held   int
	// Refuse is the answer to the next POST /v1/changes, once.
	Refuse *api.Error
	// DropAfter closes a stream of events after that many, once; 0 never.
	DropAfter int
	// Exec runs the program of an exec stream.
	Exec func(request api.ExecRequest, conn *json.Decoder, out *json.Encoder)
	// Requests are the calls so far, "METHOD /path?query".
	Requests []string

	socket   string
	server   *http.Server
	released chan struct{}
	watched  chan struct{} // closed with the first stream of events that has come to its hold
	serving  sync.WaitGroup
}

// Change is a change of the fake.
type Change struct {
	api.Change
	Events []api.Event
}

// Start listens on socket.
func (a *Agent) Start(socket string) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	a.socket = socket
	if a.released == nil {
		a.released, a.watched = make(chan struct{}), make(chan struct{})
	}
	server := &http.Server{Handler: a.handler()}
	a.server = server
	a.serving.Go(func() { _ = server.Serve(listener) }) // it ends with Stop
	return nil
}

// Stop goes away as a killed agent does: connections break, the socket is gone.
func (a *Agent) Stop() error {
	if a.server == nil {
		return nil
	}
	err := a.server.Close()
	a.serving.Wait()
	a.server = nil
	if removeErr := os.Remove(a.socket); removeErr != nil && !os.IsNotExist(removeErr) {
		return removeErr
	}
	return err
}

// Release lets held changes go on to their end.
func (a *Agent) Release() {
	a.Lock()
	defer a.Unlock()
	select {
	case <-a.released:
	default:
		close(a.released)
	}
}

// Watched is closed once somebody has seen all of a held change that there is to see.
func (a *Agent) Watched() <-chan struct{} { return a.watched }

func (a *Agent) handler() http.Handler {
	mux := http.NewServeMux()
	answer := func(pattern string, value func(r *http.Request) any) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			a.Lock()
			defer a.Unlock()
			a.Requests = append(a.Requests, r.Method+" "+r.URL.RequestURI())
			reply(w, value(r))
		})
	}
	answer("GET /v1/version", func(*http.Request) any { return a.Version })
	answer("GET /v1/tree", func(*http.Request) any {
		if a.Document == nil {
			return []tree.Set{}
		}
		return a.Document.Sets
	})
	answer("GET /v1/document", func(*http.Request) any {
		if a.Document == nil {
			return &api.Error{Code: "not-found", Message: "nothing has been declared yet"}
		}
		return a.Document
	})
	answer("GET /v1/containers", func(r *http.Request) any { return a.containers(r) })
	answer("GET /v1/health", func(r *http.Request) any {
		return pick(a, r, a.Health, func(h api.Health) string { return h.Container })
	})
	answer("GET /v1/jobs", func(*http.Request) any { return append([]api.Job{}, a.Jobs...) })
	answer("POST /v1/preflight", func(*http.Request) any { return append([]plan.Finding{}, a.Findings...) })
	answer("POST /v1/config", func(r *http.Request) any { return a.config(r) })
	answer("GET /v1/history", func(r *http.Request) any {
		return pick(a, r, a.Generations, func(g api.Generation) string { return g.Name })
	})
	answer("GET /v1/top", func(r *http.Request) any {
		return pick(a, r, a.Processes, func(p api.Process) string { return p.Container })
	})
	answer("GET /v1/secrets", func(*http.Request) any { return a.Secrets })
	answer("POST /v1/secrets/{name}/rotate", func(r *http.Request) any {
		for i := range a.Secrets {
			if a.Secrets[i].Name == r.PathValue("name") {
				a.Secrets[i].Version++
				return a.Secrets[i]
			}
		}
		return &api.Error{Code: "not-found", Message: "no such secret"}
	})
	answer("GET /v1/openrc", func(*http.Request) any { return a.OpenRC })
	answer("POST /v1/plan", func(r *http.Request) any { return a.plan(r) })
	answer("POST /v1/changes", func(r *http.Request) any { return a.submit(r) })
	answer("GET /v1/changes", func(*http.Request) any {
		changes := []api.Change{}
		for _, c := range a.Changes {
			brief := c.Change
			brief.Tasks, brief.Plan = nil, nil
			changes = append(changes, brief)
		}
		return changes
	})
	answer("GET /v1/changes/{id}", func(r *http.Request) any { return a.change(r) })
	answer("POST /v1/changes/{id}/abort", func(r *http.Request) any { return a.abort(r) })
	answer("POST /v1/changes/{id}/retry", func(r *http.Request) any { return a.retry(r) })
	answer("GET /v1/pins", func(*http.Request) any { return append([]api.Pin{}, a.Pins...) })
	answer("POST /v1/prune", func(r *http.Request) any { return a.prune(r) })
	mux.HandleFunc("GET /v1/changes/{id}/events", a.events)
	mux.HandleFunc("GET /v1/logs", a.logs)
	mux.HandleFunc("POST /v1/exec", a.exec)
	return mux
}

// reply writes a value, or an error with the status that belongs to its code.
func reply(w http.ResponseWriter, value any) {
	status := http.StatusOK
	if failure, ok := value.(*api.Error); ok {
		status = map[string]int{
			"invalid": http.StatusBadRequest, "not-found": http.StatusNotFound, "conflict": http.StatusConflict,
			"stale": http.StatusConflict, "unavailable": http.StatusServiceUnavailable,
		}[failure.Code]
		if status == 0 {
			status = http.StatusInternalServerError
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // a client that has gone does not matter here
}

// choose returns the containers that names stand for, as an agent does.
func (a *Agent) choose(names []string) ([]string, *api.Error) {
	if a.Document == nil {
		return nil, &api.Error{Code: "not-found", Message: "nothing has been declared yet"}
	}
	chosen, err := a.Document.Select(names)
	if err != nil {
		return nil, &api.Error{Code: "not-found", Message: err.Error()}
	}
	return chosen, nil
}

func (a *Agent) containers(r *http.Request) any {
	picked := pick(a, r, a.Containers, func(c api.Container) string { return c.Name })
	if list, ok := picked.([]api.Container); ok && r.URL.Query().Get("all") != "true" {
		return slices.DeleteFunc(slices.Clone(list), func(c api.Container) bool { return c.Job && c.Health == "completed" })
	}
	return picked
}

// pick filters by ?name=.
func pick[T any](a *Agent, r *http.Request, list []T, name func(T) string) any {
	chosen, err := a.choose(r.URL.Query()["name"])
	if err != nil {
		return err
	}
	picked := []T{}
	for _, item := range list {
		if slices.Contains(chosen, name(item)) {
			picked = append(picked, item)
		}
	}
	return picked
}

func (a *Agent) plan(r *http.Request) any {
	var request api.ChangeRequest
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		return &api.Error{Code: "invalid", Message: err.Error()}
	}
	if request.Document == nil {
		if _, err := a.choose(request.Names); err != nil {
			return err
		}
	}
	if a.Deny != nil {
		if refusal := a.Deny(request); refusal != nil {
			return refusal
		}
	}
	return a.planFor(request)
}

// planFor is the plan of a request that is not refused.
func (a *Agent) planFor(request api.ChangeRequest) plan.Plan {
	if a.PlanOf != nil {
		if p := a.PlanOf(request); p != nil {
			return *p
		}
	}
	if p, found := a.Plans[request.Kind]; found {
		return p
	}
	return plan.Plan{Kind: request.Kind, Revision: 7, Steps: []plan.Step{}, Unchanged: len(a.Containers)}
}

func (a *Agent) submit(r *http.Request) any {
	var request api.ChangeRequest
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		return &api.Error{Code: "invalid", Message: err.Error()}
	}
	a.Submitted = append(a.Submitted, request)
	if a.Refuse != nil {
		refusal := a.Refuse
		a.Refuse = nil
		return refusal
	}
	p := a.planFor(request)
	if request.Revision == nil || *request.Revision != p.Revision {
		return &api.Error{Code: "stale", Message: "the cloud has changed since the plan was made: run the command again"}
	}
	if p.Empty() {
		return api.Change{Kind: string(request.Kind), Summary: "nothing to do", Status: "done", CreatedAt: Epoch, EndedAt: &Epoch}
	}
	c := &Change{Change: api.Change{
		ID: len(a.Changes) + 1, Kind: string(request.Kind), Summary: string(request.Kind) + " " + strings.Join(request.Names, " "),
		Status: "doing", User: request.User, CreatedAt: Epoch,
	}}
	c.Summary = strings.TrimSpace(c.Summary)
	if a.Script != nil {
		c.Events = a.Script(&c.Change, request)
	}
	for i := range c.Events {
		c.Events[i].Change, c.Events[i].Sequence = c.ID, uint64(i+1)
		if c.Events[i].Time.IsZero() {
			c.Events[i].Time = Epoch.Add(time.Duration(i) * time.Second)
		}
	}
	a.Changes = append(a.Changes, c)
	return c.Change
}

func (a *Agent) find(r *http.Request) *Change {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || id < 1 || id > len(a.Changes) {
		return nil
	}
	return a.Changes[id-1]
}

func (a *Agent) change(r *http.Request) any {
	if c := a.find(r); c != nil {
		return c.Change
	}
	return &api.Error{Code: "not-found", Message: fmt.Sprintf("there is no change %s: `copse changes` lists them", r.PathValue("id"))}
}

func (a *Agent) abort(r *http.Request) any {
	c := a.find(r)
	if c == nil {
		return a.change(r)
	}
	if c.Ended() {
		return &api.Error{Code: "conflict", Message: fmt.Sprintf("change %d has ended already", c.ID), Change: c.ID}
	}
	at := Epoch.Add(time.Minute)
	c.Status, c.EndedAt = "aborted", &at
	return c.Change
}

// events sends the events of a change, holds where it is told to, and ends the change with
// the last one.
func (a *Agent) events(w http.ResponseWriter, r *http.Request) {
	a.Lock()
	a.Requests = append(a.Requests, r.Method+" "+r.URL.RequestURI())
	c := a.find(r)
	if c == nil {
		reply(w, a.change(r))
		a.Unlock()
		return
	}
	events, hold, drop, ended := slices.Clone(c.Events), a.Held, a.DropAfter, c.Ended()
	a.DropAfter = 0
	a.Unlock()
	after, _ := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64) // none is 0
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w)
	encoder := json.NewEncoder(w)
	sent := 0
	for i, event := range events {
		if hold > 0 && i == hold && !ended {
			a.Lock()
			select {
			case <-a.watched:
			default:
				close(a.watched)
			}
			released := a.released
			a.Unlock()
			select {
			case <-r.Context().Done():
				return
			case <-released:
			}
		}
		if event.Sequence <= after {
			continue
		}
		if drop > 0 && sent == drop {
			panic(http.ErrAbortHandler)
		}
		if event.Type == "ended" {
			a.Lock()
			if !c.Ended() {
				at := event.Time
				c.Status, c.EndedAt, c.Error = event.Status, &at, event.Text
			}
			a.Unlock()
		}
		if encoder.Encode(event) != nil || flush.Flush() != nil {
			return
		}
		sent++
	}
}

func (a *Agent) logs(w http.ResponseWriter, r *http.Request) {
	a.Lock()
	defer a.Unlock()
	a.Requests = append(a.Requests, r.Method+" "+r.URL.RequestURI())
	picked := pick(a, r, a.Logs, func(l api.LogLine) string { return l.Container })
	lines, ok := picked.([]api.LogLine)
	if !ok {
		reply(w, picked)
		return
	}
	since, _ := time.Parse(time.RFC3339Nano, r.URL.Query().Get("since")) // none is the zero time
	encoder := json.NewEncoder(w)
	for _, line := range lines {
		if line.Time.Before(since) {
			continue
		}
		if r.URL.Query().Get("request") != "" {
			elapsed := line.Time.Sub(lines[0].Time).Seconds()
			line.Elapsed = &elapsed
		}
		if encoder.Encode(line) != nil {
			return
		}
	}
}

func (a *Agent) exec(w http.ResponseWriter, r *http.Request) {
	var request api.ExecRequest
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		reply(w, &api.Error{Code: "invalid", Message: err.Error()})
		return
	}
	a.Lock()
	a.Requests = append(a.Requests, r.Method+" "+r.URL.RequestURI())
	_, err := a.choose([]string{request.Container})
	program := a.Exec
	a.Unlock()
	if err != nil {
		reply(w, err)
		return
	}
	if r.Header.Get("Upgrade") != "copse-exec" || program == nil {
		reply(w, &api.Error{Code: "invalid", Message: "not an upgrade to copse-exec"})
		return
	}
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "copse-exec")
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, buffer, hijackErr := http.NewResponseController(w).Hijack()
	if hijackErr != nil {
		return
	}
	defer conn.Close()
	program(request, json.NewDecoder(buffer), json.NewEncoder(conn))
}

// Info is an engine for versions.
func Info() engine.Info {
	return engine.Info{Name: "Docker Engine", Version: "29.1.0", APIVersion: "1.52", StorageDriver: "overlayfs", CgroupVersion: "2", Hostname: "node-1"}
}
