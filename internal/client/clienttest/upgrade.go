// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package clienttest

import (
	"encoding/json"
	"fmt"
	"net/http"

	"copse/internal/api"
)

// retry answers POST /v1/changes/{id}/retry: what is stuck is undone by the rest of the events.
func (a *Agent) retry(r *http.Request) any {
	c := a.find(r)
	if c == nil {
		return a.change(r)
	}
	for i := range c.Tasks {
		if c.Tasks[i].Status == "stuck" {
			c.Tasks[i].Status = "undoing"
			c.Status, c.EndedAt, c.Error = "undoing", nil, ""
		}
	}
	if c.Ended() {
		return &api.Error{Code: "invalid", Message: fmt.Sprintf("cannot retry change %d: nothing of it is stuck", c.ID)}
	}
	return c.Change
}

// prune answers POST /v1/prune.
func (a *Agent) prune(r *http.Request) any {
	var request api.PruneRequest
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		return &api.Error{Code: "invalid", Message: err.Error()}
	}
	answer := a.Prune
	answer.Images = append([]api.PrunedImage{}, answer.Images...)
	answer.DryRun = request.DryRun
	if !request.DryRun {
		a.Prune = api.Prune{}
	}
	return answer
}
