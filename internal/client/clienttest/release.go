// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package clienttest

import (
	"fmt"
	"strings"
	"time"

	"copse/internal/api"
	"copse/internal/plan"
	"copse/internal/tree"
)

// newImage is keystone's at the newer release.
const newImage = "copse/keystone:2026.1-0f1e2d3c4b5a"

// UpgradePlan is a plan that brings keystone from 2025.1 to 2026.1.
func UpgradePlan() plan.Plan {
	return plan.Plan{
		Kind: plan.Upgrade, Revision: 7, Unchanged: 1, Build: []string{newImage},
		Notes: []string{"keystone-db-contract waits: until `copse upgrade keystone --finalize` a rollback to 2025.1 is possible"},
		Steps: []plan.Step{
			{Host: "node-1", Set: "identity/keystone", Container: "keystone-migrate", Component: "keystone", Action: plan.Run, From: 2, Release: "2026.1",
				Causes: []string{"release 2025.1 → 2026.1"}, Phase: tree.Expand},
			{Host: "node-1", Set: "identity/keystone", Container: "keystone", Component: "keystone", Action: plan.Replace, From: 3, Release: "2026.1",
				Causes: []string{"release 2025.1 → 2026.1"}, Impact: "no request fails", Strategy: tree.StartFirst, Rollback: tree.RollbackUntilContract,
				Window: &tree.Window{Failed: 3, Duration: 250 * time.Millisecond, Probes: 40}, After: []string{"keystone-migrate"}},
		},
	}
}

// FinalizePlan is a plan that passes keystone's point of no return.
func FinalizePlan() plan.Plan {
	return plan.Plan{Kind: plan.Upgrade, Revision: 7, Unchanged: 3, Steps: []plan.Step{
		{Host: "node-1", Set: "identity/keystone", Container: "keystone-db-contract", Component: "keystone", Action: plan.Run, Release: "2026.1",
			Causes: []string{"release 2025.1 → 2026.1"}, Phase: tree.Contract, NoReturn: true},
	}}
}

// RollbackPlan is a plan that puts keystone back to the content of generation 1.
func RollbackPlan() plan.Plan {
	return plan.Plan{Kind: plan.Rollback, Revision: 7, Unchanged: 3, Steps: []plan.Step{
		{Host: "node-1", Set: "identity/keystone", Container: "keystone", Component: "keystone", Action: plan.Replace, From: 3, To: 1, Release: "2025.1",
			Causes: []string{"rollback to generation 1: environment KEYSTONE_WORKERS 4 → 2"}, Impact: "no request fails", Strategy: tree.StartFirst},
	}}
}

// Replacing makes a Script in which the steps of the agent's plan have been done one after the other,
// each in a second and, but for jobs, seen to answer 63 requests of 63.
func Replacing(a *Agent) func(*api.Change, api.ChangeRequest) []api.Event {
	return func(c *api.Change, r api.ChangeRequest) []api.Event {
		p := a.Plans[r.Kind]
		c.Plan = &p
		next := 0
		for _, g := range a.Generations {
			next = max(next, g.Generation)
		}
		for i, step := range p.Steps {
			c.Subjects = append(c.Subjects, step.Container)
			from, to := Epoch.Add(time.Duration(i)*time.Second), Epoch.Add(time.Duration(i+1)*time.Second)
			c.Tasks = append(c.Tasks, api.Task{
				ID: i + 1, Kind: "commit", Subject: step.Container, Summary: fmt.Sprintf("%s is the one", step.Container), Status: "done", StartedAt: &from, EndedAt: &to,
			})
			next++
			made := api.Generation{
				Host: step.Host, Set: step.Set, Name: step.Container, Generation: next, Release: step.Release, Image: newImage,
				State: "active", Change: c.ID, Cause: strings.Join(step.Causes, ", "), CreatedAt: from, Activated: &to, Of: step.To,
			}
			if step.Action == plan.Replace {
				window, failed := 0.0, 0
				made.WindowSeconds, made.FailedRequests, made.Probes = &window, &failed, 63
			}
			a.Generations = append(a.Generations, made)
		}
		return []api.Event{{Type: "ended", Status: "done", Time: Epoch.Add(time.Duration(len(p.Steps)) * time.Second)}}
	}
}

// Undoing makes a Script in which the last step of the agent's plan fails and is undone, after 12 of
// 63 requests had failed.
func Undoing(a *Agent) func(*api.Change, api.ChangeRequest) []api.Event {
	return func(c *api.Change, r api.ChangeRequest) []api.Event {
		events := Replacing(a)(c, r)
		task, made := &c.Tasks[len(c.Tasks)-1], &a.Generations[len(a.Generations)-1]
		task.Status, task.Error = "error", "keystone was not ready after 60s: GET /v3 → 503\nlast lines: …"
		window, failed := 1.5, 12
		made.State, made.Activated, made.WindowSeconds, made.FailedRequests = "failed", nil, &window, &failed
		events[len(events)-1].Status, events[len(events)-1].Text = "error", "keystone did not become ready; keystone.3 serves"
		return events
	}
}
