// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/http"
	"slices"
	"time"

	"copse/internal/api"
	"copse/internal/supervise"
)

// getIncidents answers GET /v1/incidents.
func (a *Agent) getIncidents(w http.ResponseWriter, r *http.Request) error {
	since, err := sinceOf(r)
	if err != nil {
		return err
	}
	doc, selected, err := a.selected(named(r))
	if err != nil {
		return err
	}
	incidents, err := a.incidents(since)
	if err != nil {
		return err
	}
	all := len(named(r)) == 0
	answer := []api.Incident{}
	for _, i := range incidents {
		if !all && !selected[i.Container] {
			continue
		}
		one := api.Incident{
			Host: a.HostName, Time: i.At, Container: i.Container, Generation: i.Generation,
			What: string(i.What), Cause: i.Cause, Output: i.Output,
		}
		if c := doc.Container(i.Container); c != nil {
			one.Set = c.Set
		}
		answer = append(answer, one)
	}
	a.answer(w, http.StatusOK, answer)
	return nil
}

// whyFailed is why a container was given up, "" where it was not.
func (a *Agent) whyFailed(name string) string {
	if !a.supervisor.Failed(name) {
		return ""
	}
	incidents, err := a.incidents(time.Time{})
	if err != nil {
		return ""
	}
	for _, i := range slices.Backward(incidents) {
		if i.Container == name && i.What == supervise.GaveUp {
			if i.Output != "" {
				return i.Cause + "\n" + i.Output
			}
			return i.Cause
		}
	}
	return ""
}
