// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"copse/test/testcloud"
)

// commands calls each command that looks, for people and for programs.
func (s *suite) commands(t *testing.T) {
	id := s.Latest(t).ID
	for _, call := range []struct {
		args []string
		// plain are parts of the text, fields those of each object.
		plain, fields []string
	}{
		{[]string{"ps"}, []string{"keystone", "healthy", "2025.1", "openstack-interface"},
			[]string{"set", "name", "component", "generation", "release", "image", "engine_id", "state", "health", "started_at", "restarts"}},
		{[]string{"ps", "--all"}, []string{"keystone-db-expand", "completed"}, []string{"job"}},
		{[]string{"tree"}, []string{testcloud.Name, "├── database-control", "mariadb", "healthy"}, []string{"path", "health", "containers"}},
		{[]string{"health"}, []string{"haproxy", "healthy"}, []string{"container", "check", "test", "health", "at", "took_seconds", "failures"}},
		{[]string{"history", "keystone"}, []string{"keystone.", "active", "not created yet"},
			[]string{"name", "generation", "release", "state", "change", "cause", "activated_at", "window_seconds", "failed_requests"}},
		{[]string{"changes"}, []string{"bring up database-control", "done", "root"}, []string{"id", "kind", "summary", "status", "user", "created_at", "ended_at"}},
		{[]string{"change", strconv.Itoa(id)}, []string{"keystone-bootstrap", "done", "by root"}, []string{"tasks", "plan"}},
		{[]string{"top", "mariadb"}, []string{"mariadbd"}, []string{"container", "pid", "ppid", "user", "command"}},
		{[]string{"images"}, []string{"copse/keystone:2025.1-", "yes"}, []string{"name", "release", "reference", "present", "size"}},
		{[]string{"secret", "ls"}, []string{"keystone_admin", "rabbitmq_cookie"}, []string{"name", "version", "created_at", "used_by"}},
		{[]string{"version"}, []string{"copse", "agent", "Docker Engine"}, []string{"version", "level", "agent"}},
		{[]string{"openrc"}, []string{"export OS_PASSWORD=", "export OS_AUTH_URL="}, []string{"variables"}},
		{[]string{"render", "compose"}, []string{"name: " + testcloud.Name, "services:"}, []string{"name", "services", "volumes"}},
		{[]string{"logs", "rabbitmq", "--tail", "3"}, []string{"rabbitmq"}, []string{"time", "host", "set", "container", "generation", "stream", "text"}},
		{[]string{"logs", "openstack-interface", "--since", "1d"}, []string{"keystone"}, []string{"container", "text"}},
	} {
		name := strings.Join(call.args, " ")
		plain := s.Must(t, call.args...)
		for _, want := range call.plain {
			if !strings.Contains(plain, want) {
				t.Errorf("copse %s does not say %q:\n%s", name, want, plain)
			}
		}
		objects := testcloud.Objects[map[string]json.RawMessage](t, s.Must(t, append(call.args, "--format", "json")...))
		if len(objects) == 0 {
			t.Errorf("copse %s --format json gives no object", name)
		}
		for _, field := range call.fields {
			found := false
			for _, object := range objects {
				_, there := object[field]
				found = found || there
			}
			if !found {
				t.Errorf("copse %s --format json has no %q", name, field)
			}
		}
	}
	for _, line := range testcloud.Lines(s.Must(t, "history")) {
		if len(line) > 250 {
			t.Errorf("a line of history has %d bytes:\n%s", len(line), line)
		}
	}
	s.execPasses(t)
	s.completes(t)
	if out := s.Must(t, "build", "mariadb"); strings.Contains(out, "FAILED") {
		t.Errorf("a second build says:\n%s", out)
	}
}

// execPasses runs programs inside a container: what they write and how they end comes out.
func (s *suite) execPasses(t *testing.T) {
	t.Helper()
	r := s.Copse(t, "exec", "keystone", "--", "sh", "-c", "echo to-out; echo to-err >&2; id -u; exit 7")
	if r.Code != 7 || r.Stdout != "to-out\n42425\n" || !strings.Contains(r.Stderr, "to-err") {
		t.Errorf("exec ended with %d, wrote %q and %q", r.Code, r.Stdout, r.Stderr)
	}
	type frame struct {
		Stdout string `json:"stdout"`
		Exit   *int   `json:"exit"`
	}
	r = s.Copse(t, "--format", "json", "exec", "keystone", "--", "sh", "-c", "printf hello; exit 3")
	out, last := "", -1
	for _, f := range testcloud.Objects[frame](t, r.Stdout) {
		text, err := base64.StdEncoding.DecodeString(f.Stdout)
		if err != nil {
			t.Fatal(err)
		}
		out += string(text)
		if f.Exit != nil {
			last = *f.Exit
		}
	}
	if out != "hello" || last != 3 || r.Code != 3 {
		t.Errorf("exec in JSON wrote %q and ended with %d, the program with %d", out, last, r.Code)
	}
	cmd := s.Command(t, "exec", "keystone", "--", "cat")
	cmd.Stdin = strings.NewReader("through and back")
	if r := testcloud.Run(t, cmd); r.Stdout != "through and back" {
		t.Errorf("standard input came back as %q:\n%s", r.Stdout, r)
	}
}

// completes completes what only the agent knows.
func (s *suite) completes(t *testing.T) {
	t.Helper()
	for _, shell := range []string{"bash", "fish", "zsh"} {
		if script := s.Must(t, "completion", shell); !strings.Contains(script, "copse") {
			t.Errorf("the completion of %s is:\n%s", shell, script)
		}
	}
	if out := s.Must(t, "__complete", "restart", "key"); !strings.Contains(out, "keystone\n") {
		t.Errorf("key is completed to:\n%s", out)
	}
}

// stopAndStart treats a set as a unit.
func (s *suite) stopAndStart(t *testing.T) {
	before := s.Containers(t)
	others := func(containers map[string]testcloud.Container) map[string]testcloud.Container {
		rest := map[string]testcloud.Container{}
		for name, c := range containers {
			if c.Set != "openstack-interface" {
				rest[name] = c
			}
		}
		return rest
	}
	keystone := before["keystone"]

	s.Must(t, "stop", "openstack-interface")
	after := s.Containers(t)
	if now := after["keystone"]; now.State != "exited" || now.Health != "stopped" || now.EngineID != keystone.EngineID {
		t.Errorf("stopped, keystone is %+v", now)
	}
	mustReplace(t, others(before), others(after))
	mustPlan(t, s.Plan(t), "start keystone: stopped by change "+strconv.Itoa(s.Latest(t).ID))

	s.Must(t, "start", "openstack-interface")
	started := s.Healthy(t)["keystone"]
	if started.EngineID != keystone.EngineID || started.Generation != keystone.Generation || !started.StartedAt.After(keystone.StartedAt) {
		t.Errorf("started again, keystone is %+v after %+v", started, keystone)
	}
	s.mustRemember(t)

	stream := s.Must(t, "restart", "keystone", "--format", "json")
	types := map[string]bool{}
	for _, object := range testcloud.Objects[map[string]json.RawMessage](t, stream) {
		types[strings.Trim(string(object["type"]), `"`)] = true
	}
	for _, want := range []string{"plan", "task", "change"} {
		if !types[want] {
			t.Errorf("the stream of restart has no %s:\n%s", want, stream)
		}
	}
	again := s.Healthy(t)
	if now := again["keystone"]; now.EngineID != keystone.EngineID || !now.StartedAt.After(started.StartedAt) {
		t.Errorf("restarted, keystone is %+v after %+v", now, started)
	}
	mustReplace(t, others(before), others(again))

	s.Must(t, "down", "--yes")
	if left := testcloud.Docker(t, "ps", "--all", "--quiet", "--filter", "label=copse.cloud="+testcloud.Name); left != "" {
		t.Errorf("after down there are still containers: %s", left)
	}
	if r := s.Copse(t, s.With("plan")...); r.Code != 2 || !strings.Contains(r.Stdout, "to create") {
		t.Errorf("after down the plan ends with %d:\n%s", r.Code, r)
	}
	s.Up(t)
	s.Healthy(t)
	s.mustRemember(t)
}
