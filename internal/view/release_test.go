// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"copse/internal/api"
	"copse/internal/plan"
	"copse/internal/tree"
)

func pins() []tree.Pin {
	return []tree.Pin{
		{Host: "n", Container: "keystone", Release: "2025.1", Generation: 9, Change: 12},
		{Host: "n", Container: "mariadb", Release: "2025.1", Change: 11},
	}
}

func upgradePlan() *plan.Plan {
	return &plan.Plan{
		Kind: plan.Upgrade, Unchanged: 5,
		Steps: []plan.Step{
			{Container: "keystone-db-dump", Action: plan.Run, Phase: tree.Dump, Causes: []string{"release 2025.1 → 2026.1"}},
			{Container: "keystone-db-expand", Action: plan.Run, From: 4, Phase: tree.Expand, Causes: []string{"release 2025.1 → 2026.1"}},
			{Container: "keystone", Action: plan.Replace, From: 12, Causes: []string{"release 2025.1 → 2026.1"}, Strategy: tree.StartFirst,
				Rollback: tree.RollbackUntilContract, Window: &tree.Window{Probes: 40}},
			{Container: "rabbitmq", Action: plan.Replace, From: 3, Causes: []string{"release 2025.1 → 2026.1"}, Strategy: tree.StopFirst,
				Rollback: tree.RollbackByRestore, Window: &tree.Window{Probes: 40, Failed: 1, Duration: 0}},
			{Container: "memcached", Action: plan.Replace, From: 5, To: 2, Causes: []string{"image changed"}, Rollback: tree.RollbackFree},
			{Container: "keystone-db-contract", Action: plan.Run, Phase: tree.Contract, Causes: []string{"asked for"}, NoReturn: true},
		},
	}
}

func rollbackPlan() *plan.Plan {
	return &plan.Plan{
		Kind: plan.Rollback, Unchanged: 5,
		Steps: []plan.Step{
			{Container: "keystone-db-restore", Action: plan.Run, Phase: tree.Restore, Causes: []string{"asked for"}, Dangerous: true},
			{Container: "keystone", Action: plan.Replace, From: 12, To: 9, Causes: []string{"rollback to generation 9: release 2026.1 → 2025.1"}, Rollback: tree.RollbackUntilContract},
		},
	}
}

// generations are those of the change that upgraded makes, and some before it.
func generations() []api.Generation {
	none, zero, window, failed := 0.0, 0, 1.5, 12
	return []api.Generation{
		{Host: "n", Set: "identity/keystone", Name: "keystone", Generation: 12, Release: "2025.1", State: "superseded", Change: 9, Cause: "first start", CreatedAt: epoch, Activated: at(10)},
		{Host: "n", Set: "identity", Name: "glance", Generation: 13, Release: "2025.1", State: "active", Change: 9, Cause: "first start", CreatedAt: epoch, Activated: at(20)},
		{Host: "n", Set: "identity/keystone", Name: "keystone-db-expand", Generation: 20, Release: "2026.1", State: "active", Change: 12, Cause: "release 2025.1 → 2026.1", CreatedAt: epoch, Activated: at(30)},
		{Host: "n", Set: "identity/keystone", Name: "keystone", Generation: 21, Release: "2026.1", State: "active", Change: 12, Cause: "release 2025.1 → 2026.1", CreatedAt: epoch, Activated: at(40), WindowSeconds: &none, FailedRequests: &zero, Probes: 63, Of: 12},
		{Host: "n", Set: "database", Name: "mariadb", Generation: 22, Release: "2026.1", State: "failed", Change: 12, Cause: "release 2025.1 → 2026.1", CreatedAt: epoch, WindowSeconds: &window, FailedRequests: &failed, Probes: 40},
	}
}

// upgraded is a change in which keystone was upgraded, mariadb was not, and nova was never begun.
func upgraded() *api.Change {
	step := func(name string, action plan.Action, from int) plan.Step {
		return plan.Step{Host: "n", Container: name, Action: action, From: from}
	}
	return &api.Change{
		ID: 12, Kind: "upgrade", Status: "error", CreatedAt: epoch, EndedAt: at(75), Error: "1 of 3 containers failed",
		Plan: &plan.Plan{Kind: plan.Upgrade, Steps: []plan.Step{
			step("node-1", plan.PrepareHost, 0), step("keystone-db-expand", plan.Run, 0), step("keystone", plan.Replace, 12),
			step("mariadb", plan.Replace, 11), step("nova", plan.Create, 0),
		}},
		Tasks: []api.Task{
			{ID: 1, Subject: "keystone-db-expand", Status: "done", StartedAt: at(0), EndedAt: at(5)},
			{ID: 2, Subject: "keystone", Status: "done", StartedAt: at(5), EndedAt: at(6)},
			{ID: 3, Subject: "keystone", Status: "done", StartedAt: at(6), EndedAt: at(9)},
			{ID: 4, Subject: "mariadb", Status: "undone", StartedAt: at(9), EndedAt: at(70)},
			{ID: 5, Subject: "mariadb", Status: "error", StartedAt: at(10), EndedAt: at(69), Error: "mariadb.22 was not ready after 60s\nits last lines: …"},
			{ID: 6, Subject: "nova", Status: "hold"},
		},
	}
}

// Each way in which a container can come out of a change has a word.
func TestReplacements(t *testing.T) {
	outcomes := func(change *api.Change) map[string]string {
		words := map[string]string{}
		for _, one := range Replacements(change, generations()).Containers {
			words[one.Name] = one.Result + ": " + one.Why
		}
		return words
	}
	want := map[string]string{
		"keystone-db-expand": "ran: ", "keystone": "kept: ", "mariadb": "undone: mariadb.22 was not ready after 60s", "nova": "waiting: because of mariadb",
	}
	if diff := cmp.Diff(want, outcomes(upgraded())); diff != "" {
		t.Error(diff)
	}

	stuck := upgraded()
	stuck.Status, stuck.Tasks[3].Status, stuck.Tasks[3].Error = "stuck", "stuck", "cannot undo: the engine is away"
	want["mariadb"] = "stuck: cannot undo: the engine is away"
	if diff := cmp.Diff(want, outcomes(stuck)); diff != "" {
		t.Error(diff)
	}

	aborted := upgraded()
	aborted.Status, aborted.Error = "aborted", ""
	aborted.Tasks[4].Status, aborted.Tasks[4].Error = "undone", ""
	want["mariadb"], want["nova"] = "undone: the change was aborted", "waiting: the change was aborted"
	if diff := cmp.Diff(want, outcomes(aborted)); diff != "" {
		t.Error(diff)
	}

	going := upgraded()
	going.Status, going.EndedAt = "doing", nil
	going.Tasks[3].Status, going.Tasks[4].Status, going.Tasks[4].Error, going.Tasks[5].Status = "done", "doing", "", "do"
	want["mariadb"], want["nova"] = "running: ", "waiting: "
	if diff := cmp.Diff(want, outcomes(going)); diff != "" {
		t.Error(diff)
	}

	for name, change := range map[string]*api.Change{
		"without a plan": {ID: 1}, "that makes no generation": {ID: 1, Plan: &plan.Plan{Steps: []plan.Step{{Action: plan.StopOnly, Container: "keystone"}}}},
	} {
		if got := Replacements(change, generations()); got != nil {
			t.Errorf("a change %s has the outcome %+v", name, got)
		}
	}
}

// A version is numbered by what its change made, leaves out what never served and other sets, and
// adds up what was measured.
func TestVersions(t *testing.T) {
	zero, none := 0, 0.0
	want := []Version{
		{Set: "identity", Version: 13, Change: 9, At: *at(20), Releases: []string{"2025.1"}, Members: []string{"glance.13", "keystone.12"}},
		{Set: "identity", Version: 21, Change: 12, At: *at(40), Releases: []string{"2026.1"}, Members: []string{"keystone-db-expand.20", "keystone.21"}, WindowSeconds: &none, FailedRequests: &zero},
	}
	if diff := cmp.Diff(want, Versions("identity", generations())); diff != "" {
		t.Error(diff)
	}
	if got := Versions("database", generations()); len(got) != 0 {
		t.Errorf("a set of which nothing ever served has the versions %+v", got)
	}
}

// The objects that programs read keep the names that docs/cli.md gives them.
func TestMeasuredInJSON(t *testing.T) {
	v, out := screen(JSON, 0, false)
	c := upgraded()
	c.Plan.Steps = c.Plan.Steps[2:4]
	for _, err := range []error{
		v.History(Versions("identity", generations()), generations()[3:4]),
		v.Changes([]api.Change{{ID: 12, Kind: "upgrade", CreatedAt: epoch}}, generations()),
		v.Containers(containers()[:1], pins()),
		v.ChangeEnded(c, Ending{Outcome: Replacements(c, generations())}),
		v.Change(c, Replacements(c, generations())),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var got []map[string]any
	for line := range bytes.Lines(out.Bytes()) {
		var object map[string]any
		if err := json.Unmarshal(line, &object); err != nil {
			t.Fatal(err)
		}
		got = append(got, object)
	}
	if len(got) != 6 {
		t.Fatalf("%d objects, want 6: %s", len(got), out)
	}
	type object = map[string]any
	checks := []struct {
		from object
		want object
	}{
		{got[0], object{"name": "keystone", "generation": 21.0, "release": "2026.1", "state": "active", "change": 12.0, "of": 12.0, "window_seconds": 0.0, "failed_requests": 0.0, "probes": 63.0}},
		{got[1], object{"id": 12.0, "window_seconds": 1.5, "failed_requests": 12.0}},
		{got[2], object{"name": "keystone", "release": "2025.1", "pin": object{"host": "n", "container": "keystone", "release": "2025.1", "generation": 9.0, "change": 12.0}}},
		{got[3], object{"type": "outcome"}},
		{got[3]["containers"].([]any)[1].(object), object{"name": "mariadb", "from": 11.0, "to": 22.0, "to_release": "2026.1", "seconds": 61.0, "window_seconds": 1.5, "failed_requests": 12.0, "probes": 40.0, "result": "undone"}},
		{got[4], object{"type": "change"}},
		{got[5]["outcome"].([]any)[0].(object), object{"name": "keystone", "from": 12.0, "from_release": "2025.1", "to": 21.0, "result": "kept"}},
	}
	for i, c := range checks {
		for key, want := range c.want {
			if diff := cmp.Diff(want, c.from[key]); diff != "" {
				t.Errorf("check %d, %s: %s", i, key, diff)
			}
		}
	}
}

// What is left of an undoing, and what is not.
func TestRetried(t *testing.T) {
	c := upgraded()
	c.Status = "error"
	v, out := screen(Plain, 0, false)
	if err := v.Retried(c); err != nil {
		t.Fatal(err)
	}
	if want := "✔ what was stuck in change 12 is undone: `copse plan` says what is left to do\n"; out.String() != want {
		t.Errorf("got %q", out)
	}
	c.Status, c.Tasks[3].Status = "stuck", "stuck"
	out.Reset()
	if err := v.Retried(c); err != nil {
		t.Fatal(err)
	}
	if want := "once the cause is gone, `copse retry 12` goes on with it"; !bytes.Contains(out.Bytes(), []byte(want)) {
		t.Errorf("got %q", out)
	}
}
