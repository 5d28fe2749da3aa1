// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"copse/internal/api"
	"copse/internal/change"
	"copse/internal/deploy"
	"copse/internal/plan"
)

func request(w http.ResponseWriter, r *http.Request) (deploy.Request, error) {
	var body api.ChangeRequest
	if err := decode(w, r, &body); err != nil {
		return deploy.Request{}, err
	}
	return deploy.Request{
		Kind: body.Kind, Document: body.Document, Revision: body.Revision, Atomic: body.Atomic, User: body.User,
		Options: plan.Options{
			Names: body.Names, Volumes: body.Volumes,
			To: body.To, Finalize: body.Finalize, Restore: body.Restore, Unpin: body.Unpin,
		},
	}, nil
}

func (a *Agent) postPlan(w http.ResponseWriter, r *http.Request) error {
	asked, err := request(w, r)
	if err != nil {
		return err
	}
	p, err := a.deployer.Plan(r.Context(), asked)
	if err != nil {
		return err
	}
	a.answer(w, http.StatusOK, p)
	return nil
}

func (a *Agent) postChange(w http.ResponseWriter, r *http.Request) error {
	asked, err := request(w, r)
	if err != nil {
		return err
	}
	c, p, err := a.deployer.Submit(r.Context(), asked)
	if err != nil {
		return err
	}
	if c == nil {
		now := time.Now().UTC()
		a.answer(w, http.StatusOK, api.Change{
			Kind: string(asked.Kind), Summary: "nothing to do", Status: "done", User: asked.User, CreatedAt: now, EndedAt: &now, Plan: p,
		})
		return nil
	}
	a.answer(w, http.StatusAccepted, wireChange(c, true))
	return nil
}

func (a *Agent) getChanges(w http.ResponseWriter, r *http.Request) error {
	changes, err := a.deployer.ListChanges()
	if err != nil {
		return err
	}
	answer := make([]api.Change, 0, len(changes))
	for _, c := range changes {
		answer = append(answer, wireChange(c, false))
	}
	a.answer(w, http.StatusOK, answer)
	return nil
}

func (a *Agent) getChange(w http.ResponseWriter, r *http.Request) error {
	id, err := changeID(r)
	if err != nil {
		return err
	}
	return a.answerChange(w, id)
}

func (a *Agent) answerChange(w http.ResponseWriter, id int) error {
	c, err := a.deployer.Changes().Get(id)
	if err != nil {
		return err
	}
	a.answer(w, http.StatusOK, wireChange(c, true))
	return nil
}

func (a *Agent) postAbort(w http.ResponseWriter, r *http.Request) error {
	return a.onBehalf(w, r, a.deployer.Changes().Abort)
}

func (a *Agent) postRetry(w http.ResponseWriter, r *http.Request) error {
	return a.onBehalf(w, r, a.deployer.Changes().Retry)
}

// onBehalf does something to a change for the one who asks, and answers with what has become of it.
func (a *Agent) onBehalf(w http.ResponseWriter, r *http.Request, do func(id int, by string) error) error {
	id, err := changeID(r)
	if err != nil {
		return err
	}
	by := r.URL.Query().Get("user")
	if by == "" {
		by = "the operator"
	}
	if err := do(id, by); err != nil {
		return err
	}
	return a.answerChange(w, id)
}

func (a *Agent) getEvents(w http.ResponseWriter, r *http.Request) error {
	id, err := changeID(r)
	if err != nil {
		return err
	}
	var after uint64
	if s := r.URL.Query().Get("after"); s != "" {
		if after, err = strconv.ParseUint(s, 10, 64); err != nil {
			return &api.Error{Code: "invalid", Message: fmt.Sprintf("after=%q is not the number of an event", s)}
		}
	}
	c, err := a.deployer.Changes().Get(id)
	if err != nil {
		return err
	}
	out := newStream(w)
	for e := range a.deployer.Changes().Subscribe(r.Context(), id, after) {
		event := wireEvent(c, e)
		if event.Type == "ended" {
			// How a change has ended is for itself to say, not for its last task.
			a.supervisor.Kick()
		}
		if err := out.send(event); err != nil {
			return nil // the client has gone
		}
	}
	return nil
}

func wireEvent(c *change.Change, e change.Event) api.Event {
	event := api.Event{
		Sequence: e.Seq, Time: e.Time, Change: e.Change, Task: int(e.Task), Status: string(e.Status), Text: e.Text,
	}
	if t := c.Task(e.Task); t != nil {
		event.Kind, event.Subject, event.Summary = t.Kind, t.Subject, t.Summary
	}
	switch e.Type {
	case change.TaskStatus:
		event.Type = "task"
	case change.TaskProgress:
		event.Type = "progress"
	case change.TaskLog:
		event.Type = "log"
	case change.ChangeEnded:
		event.Type, event.Summary = "ended", c.Summary
	case change.ChangeAborted:
		event.Type, event.Text = "log", "aborted by "+e.Text
	case change.ChangeRetried:
		event.Type, event.Text = "log", "what was stuck is tried again by "+e.Text
	case change.ChangeCreated:
		event.Type, event.Text = "log", "change "+strconv.Itoa(c.ID)+": "+c.Summary
	}
	return event
}

func wireChange(c *change.Change, full bool) api.Change {
	answer := api.Change{
		ID: c.ID, Kind: c.Kind, Summary: c.Summary, Status: changeStatus(c), User: c.User,
		CreatedAt: c.Created, EndedAt: moment(c.Ended), Subjects: c.Subjects,
	}
	if err := c.Err(); err != nil {
		answer.Error = err.Error()
	}
	if !full {
		return answer
	}
	if raw, found := c.Data["plan"]; found {
		var p plan.Plan
		if err := json.Unmarshal(raw, &p); err == nil {
			answer.Plan = &p
		}
	}
	for _, t := range c.Tasks {
		task := api.Task{
			ID: int(t.ID), Kind: t.Kind, Subject: t.Subject, Summary: t.Summary, Status: string(t.Status),
			StartedAt: moment(t.Started), EndedAt: moment(t.Ended), Error: t.Error,
		}
		if t.UndoError != "" {
			task.Error += "\ncannot undo: " + t.UndoError
		}
		for _, line := range t.Log {
			task.Log = append(task.Log, line.Text)
		}
		answer.Tasks = append(answer.Tasks, task)
	}
	return answer
}

// changeStatus puts a change's status into the API's words.
func changeStatus(c *change.Change) string {
	switch s := c.Status(); {
	case s.Final() && c.Ended.IsZero():
		return "doing" // what is left over is being removed
	case s == change.Do:
		return "doing"
	case s == change.Hold || s == change.Undone:
		return "aborted"
	default:
		return string(s)
	}
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
