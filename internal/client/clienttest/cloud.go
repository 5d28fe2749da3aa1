// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package clienttest

import (
	"encoding/json"
	"time"

	"copse/internal/api"
	"copse/internal/plan"
	"copse/internal/tree"
)

// Document is a small cloud: keystone with its job, behind nothing, on mariadb.
func Document() *tree.Document {
	return &tree.Document{
		Version: tree.DocumentVersion, Cloud: "north",
		Values: map[string]string{"ADDRESS": "192.0.2.10"},
		Sets: []tree.Set{
			{Path: "database", Description: "The database of all services"},
			{Path: "identity", Description: "Who is who"},
			{Path: "identity/keystone"},
		},
		Containers: []tree.Container{
			{Host: "node-1", Set: "database", Name: "mariadb", Component: "mariadb", Release: "2025.1"},
			{Host: "node-1", Set: "identity/keystone", Name: "keystone", Component: "keystone", Release: "2025.1",
				Depends: []tree.Dependency{{Name: "mariadb", Condition: tree.Healthy}, {Name: "keystone-migrate", Condition: tree.Completed}}},
			{Host: "node-1", Set: "identity/keystone", Name: "keystone-db-contract", Component: "keystone", Release: "2025.1", Job: &tree.Job{Phase: tree.Contract}},
			{Host: "node-1", Set: "identity/keystone", Name: "keystone-migrate", Component: "keystone", Release: "2025.1", Job: &tree.Job{}},
		},
		Images: []tree.Image{
			{Name: "keystone", Release: "2025.1", Reference: "copse/keystone:2025.1-1f2e3d4c5b6a"},
			{Name: "mariadb", Release: "2025.1", Reference: "copse/mariadb:2025.1-aabbccddeeff"},
		},
	}
}

// Cloud is an agent that runs Document, with something of everything.
func Cloud() *Agent {
	at := func(seconds int) *time.Time {
		t := Epoch.Add(time.Duration(seconds) * time.Second)
		return &t
	}
	window, failures := 0.25, 3
	a := &Agent{
		Version:  api.Version{Version: "1.0.0", Level: api.Level, Build: "abc", Schema: 1, Host: "node-1", Engine: Info()},
		Document: Document(),
		Containers: []api.Container{
			{Host: "node-1", Set: "database", Name: "mariadb", Component: "mariadb", Generation: 1, Release: "2025.1", Image: "copse/mariadb:2025.1-aabbccddeeff",
				EngineID: "aa11", State: "running", Health: "healthy", StartedAt: at(0)},
			{Host: "node-1", Set: "identity/keystone", Name: "keystone", Component: "keystone", Generation: 3, Release: "2025.1", Image: "copse/keystone:2025.1-1f2e3d4c5b6a",
				EngineID: "bb22", State: "running", Health: "unhealthy", StartedAt: at(60), Restarts: 2, Address: "192.0.2.10:5000"},
			{Host: "node-1", Set: "identity/keystone", Name: "keystone-migrate", Component: "keystone", Generation: 2, Release: "2025.1", Image: "copse/keystone:2025.1-1f2e3d4c5b6a",
				EngineID: "cc33", State: "exited", Health: "completed", StartedAt: at(30), Job: true},
		},
		Health: []api.Health{
			{Host: "node-1", Set: "database", Container: "mariadb", Check: "health", Test: []string{"copse-init", "check", "tcp", "127.0.0.1:3306"}, Health: "healthy", At: at(90), Took: 0.012},
			{Host: "node-1", Set: "identity/keystone", Container: "keystone", Check: "ready", Test: []string{"copse-init", "check", "http", "/v3"}, Health: "unhealthy",
				Output: "GET /v3: 503\n\x1b[31mno database\x1b[0m", At: at(91), Took: 1.5, Failures: 4},
		},
		Generations: []api.Generation{
			{Host: "node-1", Set: "identity/keystone", Name: "keystone", Generation: 3, Release: "2025.1", Image: "copse/keystone:2025.1-1f2e3d4c5b6a", State: "active",
				Change: 2, Cause: "image changed", CreatedAt: Epoch, Activated: at(60), WindowSeconds: &window, FailedRequests: &failures},
			{Host: "node-1", Set: "database", Name: "mariadb", Generation: 1, Release: "2025.1", Image: "copse/mariadb:2025.1-aabbccddeeff", State: "active",
				Change: 1, Cause: "first start", CreatedAt: Epoch, Activated: at(0)},
		},
		Logs: []api.LogLine{
			{Time: *at(1), Host: "node-1", Set: "database", Container: "mariadb", Generation: 1, Stream: "stderr", Text: "ready for connections"},
			{Time: *at(61), Host: "node-1", Set: "identity/keystone", Container: "keystone", Generation: 3, Stream: "stdout", Text: "\x1b[32mGET /v3\x1b[0m 200"},
		},
		Processes: []api.Process{
			{Container: "keystone", PID: 101, PPID: 1, User: "keystone", Command: "/usr/bin/uwsgi --ini keystone.ini",
				Usage: &api.Usage{CPUSeconds: 12.5, Memory: 200 << 20, MemoryLimit: 1 << 30, Pids: 2}},
			{Container: "keystone", PID: 102, PPID: 101, User: "keystone", Command: "uwsgi worker 1"},
			{Container: "mariadb", PID: 90, PPID: 1, User: "mysql", Command: "mariadbd"},
		},
		Jobs: []api.Job{
			{Host: "node-1", Set: "identity/keystone", Name: "keystone-rotate", Component: "keystone", EverySeconds: 86400, Change: 2, Kind: "scheduled",
				LastRun: at(60), TookSeconds: &window, Result: "error", Error: "keystone-rotate.4 failed with status 1\nits last lines:", NextRun: at(3660)},
			{Host: "node-1", Set: "database", Name: "mariadb-archive", Component: "mariadb", EverySeconds: 5400, NextRun: at(-60), Waits: "change 3 is at work on mariadb"},
		},
		Secrets: []api.Secret{
			{Name: "keystone-admin-password", Version: 1, CreatedAt: Epoch, Description: "the administrator's password", UsedBy: []string{"keystone"}},
			{Name: "mariadb-root-password", Version: 2, CreatedAt: Epoch},
		},
		OpenRC: api.OpenRC{Variables: map[string]string{"OS_USERNAME": "admin", "OS_PASSWORD": "it's $ecret", "OS_AUTH_URL": "http://192.0.2.10:5000/v3"}},
		Plans: map[plan.Kind]plan.Plan{
			plan.Restart: {Kind: plan.Restart, Revision: 7, Unchanged: 2, Steps: []plan.Step{
				{Host: "node-1", Set: "identity/keystone", Container: "keystone", Component: "keystone", Action: plan.RestartOnly, From: 3, Causes: []string{"asked for"}},
			}},
			plan.Down: {Kind: plan.Down, Revision: 7, Notes: []string{"no virtual machines run"}, Steps: []plan.Step{
				{Host: "node-1", Set: "identity/keystone", Container: "keystone", Action: plan.Remove, From: 3, Causes: []string{"asked for"}},
				{Host: "node-1", Set: "database", Container: "mariadb", Action: plan.Remove, From: 1, Causes: []string{"asked for"}, After: []string{"keystone"}},
			}},
		},
		Exec: Echo,
	}
	ended := Epoch.Add(42 * time.Second)
	a.Changes = []*Change{{Change: api.Change{ID: 1, Kind: "up", Summary: "up", Status: "done", User: "root", CreatedAt: Epoch, EndedAt: &ended,
		Subjects: []string{"mariadb"}, Tasks: []api.Task{{ID: 1, Kind: "start", Subject: "mariadb", Summary: "start mariadb.1", Status: "done", StartedAt: &Epoch, EndedAt: &ended}}}}}
	a.Script = Up
	return a
}

// UpPlan is a plan that replaces keystone and builds its image.
func UpPlan() plan.Plan {
	return plan.Plan{
		Kind: plan.Up, Revision: 7, Unchanged: 2, Build: []string{"copse/keystone:2025.1-1f2e3d4c5b6a"},
		Steps: []plan.Step{{
			Host: "node-1", Set: "identity/keystone", Container: "keystone", Component: "keystone", Action: plan.Replace, From: 3,
			Causes: []string{"image changed", "environment KEYSTONE_WORKERS 2 → 4"}, Impact: "no request fails", Strategy: tree.StartFirst,
		}},
	}
}

// FirstPlan is a plan that creates everything.
func FirstPlan() plan.Plan {
	p := UpPlan()
	p.Unchanged = 0
	p.Steps = []plan.Step{
		{Host: "node-1", Set: "database", Container: "mariadb", Component: "mariadb", Action: plan.Create, Causes: []string{"first start"}},
		{Host: "node-1", Set: "identity/keystone", Container: "keystone-migrate", Component: "keystone", Action: plan.Run, Causes: []string{"first start"}, After: []string{"mariadb"}},
		{Host: "node-1", Set: "identity/keystone", Container: "keystone", Component: "keystone", Action: plan.Create, Causes: []string{"first start"}, After: []string{"keystone-migrate"}},
	}
	return p
}

// First is a Script for FirstPlan: its tasks have run already, one after the other but for mariadb.
func First(c *api.Change, _ api.ChangeRequest) []api.Event {
	c.Subjects = []string{"mariadb", "keystone-migrate", "keystone"}
	for i, task := range []struct {
		kind, subject string
		from, to      int
	}{
		{"start", "mariadb", 0, 1}, {"ready", "mariadb", 1, 5}, {"run", "keystone-migrate", 5, 12},
		{"start", "keystone", 3, 4}, {"ready", "keystone", 12, 15}, {"commit", "keystone", 15, 16},
	} {
		from, to := Epoch.Add(time.Duration(task.from)*time.Second), Epoch.Add(time.Duration(task.to)*time.Second)
		c.Tasks = append(c.Tasks, api.Task{
			ID: i + 1, Kind: task.kind, Subject: task.subject, Summary: task.kind + " " + task.subject, Status: "done", StartedAt: &from, EndedAt: &to,
		})
	}
	return []api.Event{{Type: "ended", Status: "done", Time: Epoch.Add(16 * time.Second)}}
}

// Up is a Script in which keystone is started in two tasks.
func Up(c *api.Change, _ api.ChangeRequest) []api.Event {
	c.Subjects = []string{"keystone"}
	c.Tasks = []api.Task{
		{ID: 1, Kind: "create", Subject: "keystone", Summary: "create keystone.4", Status: "do"},
		{ID: 2, Kind: "ready", Subject: "keystone", Summary: "wait until keystone.4 is ready", Status: "do"},
	}
	return []api.Event{
		{Type: "task", Task: 1, Kind: "create", Subject: "keystone", Summary: "create keystone.4", Status: "doing"},
		{Type: "task", Task: 1, Kind: "create", Subject: "keystone", Summary: "create keystone.4", Status: "done"},
		{Type: "task", Task: 2, Kind: "ready", Subject: "keystone", Summary: "wait until keystone.4 is ready", Status: "doing"},
		{Type: "progress", Task: 2, Subject: "keystone", Text: "GET /v3 → 503"},
		{Type: "task", Task: 2, Kind: "ready", Subject: "keystone", Summary: "wait until keystone.4 is ready", Status: "done"},
		{Type: "ended", Status: "done"},
	}
}

// Failing is a Script in which keystone does not become ready and is put back.
func Failing(c *api.Change, r api.ChangeRequest) []api.Event {
	events := Up(c, r)[:4]
	return append(events,
		api.Event{Type: "task", Task: 2, Subject: "keystone", Summary: "wait until keystone.4 is ready", Status: "error", Text: "not ready after 60 s: GET /v3 → 503"},
		api.Event{Type: "task", Task: 1, Subject: "keystone", Summary: "create keystone.4", Status: "undoing"},
		api.Event{Type: "task", Task: 1, Subject: "keystone", Summary: "create keystone.4", Status: "undone"},
		api.Event{Type: "ended", Status: "error", Text: "keystone did not become ready: GET /v3 → 503; keystone.3 still runs"},
	)
}

// Echo is an Exec that says what it was asked for, gives back its input and ends with the
// status 3 for the command "false".
func Echo(request api.ExecRequest, in *json.Decoder, out *json.Encoder) {
	send := func(f api.Frame) { _ = out.Encode(f) } // a client that has gone does not matter here
	if request.Command[0] == "missing" {
		send(api.Frame{Error: "cannot run missing in " + request.Container + ": no such program"})
		return
	}
	for _, word := range request.Command {
		send(api.Frame{Stdout: []byte(word + "\n")})
	}
	send(api.Frame{Stderr: []byte("user=" + request.User + "\n")})
	status := 0
	if request.Command[0] == "false" {
		status = 3
	}
	if request.Command[0] == "cat" {
		for {
			var frame api.Frame
			if in.Decode(&frame) != nil || frame.EOF {
				break
			}
			send(api.Frame{Stdout: frame.Stdin})
		}
	}
	send(api.Frame{Exit: &status})
}
