// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package e2e brings up the real cloud with the real programs on the real engine, and breaks it.
// Nothing here knows the code: what an operator sees and what the engine shows is all there is.
package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"copse/test/testcloud"
)

// suite is the one cloud that all tests share: bringing up one for each would take too long.
type suite struct {
	*testcloud.Cloud
	// user and project were made in keystone first of all; that they are there is how the tests
	// tell that no data got lost.
	user, project string
	// size is the number of containers below its names, jobs included.
	size int
}

// part is one of the parts of a test that share its cloud.
type part struct {
	name string
	test func(*testing.T)
}

// open takes over the host and brings up all that keystone needs, and the bus: one of each kind, up in a
// quarter of a minute.
func open(t *testing.T) *suite {
	t.Helper()
	s := &suite{Cloud: testcloud.Open(t), user: "e2e-user", project: "e2e-project"}
	s.Names = []string{"database-control", "messaging-control", "high-availability-control", "component/keystone"}
	s.TakeOver(t)
	if !t.Run("FromNothing", s.fromNothing) {
		t.Fatal("there is no cloud to test")
	}
	return s
}

// TestCloud runs in this order. Each part leaves the cloud as it is declared; one that fails is
// tidied up after, so that the next one starts from there.
func TestCloud(t *testing.T) {
	s := open(t)
	for _, p := range []part{
		{"NothingToDo", s.nothingToDo},
		{"Commands", s.commands},
		{"Privileges", s.privileges},
		{"OneRequest", s.oneRequest},
		{"NothingIsWrittenInside", s.nothingIsWrittenInside},
		{"Isolation", s.isolation},
		{"StopAndStart", s.stopAndStart},
		{"Monitoring", s.monitoring},
		{"KeysTurned", s.keysTurned},
		{"BadCalls", s.badCalls},
		{"RemovedByHand", s.removedByHand},
		{"ValueChanged", s.valueChanged},
		{"SecretRotated", s.secretRotated},
		{"FilesChanged", s.filesChanged},
		{"SecretsStaySecret", s.secretsStaySecret},
		{"CrashAtStart", s.crashAtStart},
		{"MisspeltOption", s.misspeltOption},
		{"EngineMissing", s.engineMissing},
		{"AgentReplaced", s.agentReplaced},
		{"Compose", s.compose},
		{"PortTaken", s.portTaken},
		{"CLIKilled", s.cliKilled},
		{"AgentKilled", s.agentKilled},
		{"Aborted", s.aborted},
		{"EngineKilled", s.engineKilled},
		{"Crashed", s.crashed},
		{"Frozen", s.frozen},
		{"CrashLoop", s.crashLoop},
		{"DatabaseStopped", s.databaseStopped},
		{"EngineGone", s.engineGone},
	} {
		s.Declare(t, "")
		s.Up(t)
		s.Healthy(t)
		t.Run(p.name, p.test)
		if t.Failed() {
			s.Declare(t, "")
			if r := s.Copse(t, s.With("up", "--yes")...); r.Code != 0 {
				t.Fatalf("the cloud does not recover from %s:\n%s", p.name, r)
			}
		}
	}
	s.Declare(t, "")
	s.Up(t)
	s.mustRemember(t)
}

// fromNothing brings up the cloud on a host that has none, and uses it.
func (s *suite) fromNothing(t *testing.T) {
	s.Must(t, "build", "mariadb", "rabbitmq", "memcached", "haproxy", "keystone")
	out := s.Must(t, s.With("up", "--yes")...)
	all := testcloud.Objects[testcloud.Container](t, s.Must(t, s.With("ps", "--all", "--format", "json")...))
	s.size = len(all)
	// Jobs for upgrades and rollbacks alone do not run.
	idle := slices.DeleteFunc(all, func(c testcloud.Container) bool { return c.Generation != 0 })
	for _, want := range []string{fmt.Sprintf("is done: %d containers in", s.size-len(idle)), "to create", "to run", "openrc"} {
		if !strings.Contains(out, want) {
			t.Errorf("up does not say %q:\n%s", want, out)
		}
	}
	containers := s.Healthy(t)
	for _, name := range []string{"haproxy", "keystone", "mariadb", "memcached", "rabbitmq"} {
		if c, there := containers[name]; !there || c.State != "running" || c.EngineID == "" || c.Generation == 0 || c.Restarts != 0 {
			t.Errorf("%s is %+v; want it running", name, c)
		}
	}
	if token := s.OpenStack(t, "token", "issue", "-f", "value", "-c", "id"); len(token) < 100 {
		t.Errorf("the token is %q; want a fernet token", token)
	}
	s.OpenStack(t, "project", "create", s.project)
	s.OpenStack(t, "user", "create", "--project", s.project, "--password", "e2e-password", s.user)
	s.OpenStack(t, "role", "add", "--project", s.project, "--user", s.user, "member")
	s.mustRemember(t)
}

// mustRemember holds that what was made at first is there still, which asks everything at once:
// the proxy, keystone, its keys and the database.
func (s *suite) mustRemember(t *testing.T) {
	t.Helper()
	if name := s.OpenStack(t, "user", "show", s.user, "-f", "value", "-c", "name"); name != s.user {
		t.Errorf("keystone knows the user %s as %q", s.user, name)
	}
}

// nothingToDo holds that what is as declared is left alone.
func (s *suite) nothingToDo(t *testing.T) {
	before := s.Containers(t)
	if p := s.Plan(t); len(p.Steps) != 0 || p.Unchanged != s.size {
		t.Errorf("the plan is %+v; want nothing to do for %d containers", p, s.size)
	}
	if r := s.Copse(t, s.With("plan")...); r.Code != 0 || !strings.Contains(r.Stdout, fmt.Sprintf("Nothing to do: %d containers as declared.", s.size)) {
		t.Errorf("copse plan ended with %d:\n%s", r.Code, r)
	}
	changes := s.Latest(t).ID
	if out := s.Must(t, s.With("up", "--yes")...); !strings.Contains(out, "Nothing to do") {
		t.Errorf("a second up says:\n%s", out)
	}
	if latest := s.Latest(t).ID; latest != changes {
		t.Errorf("a second up made change %d", latest)
	}
	mustReplace(t, before, s.Containers(t))
}

// mustReplace holds that exactly the named containers have a new generation, and that no other was touched:
// neither its container in the engine nor its start.
func mustReplace(t *testing.T, before, after map[string]testcloud.Container, names ...string) {
	t.Helper()
	for name, then := range before {
		now, there := after[name]
		switch {
		case !there:
			t.Errorf("%s has gone", name)
		case slices.Contains(names, name):
			if now.Generation <= then.Generation || now.EngineID == then.EngineID {
				t.Errorf("%s has generation %d after %d; want a new one", name, now.Generation, then.Generation)
			}
		case now.EngineID != then.EngineID || !now.StartedAt.Equal(then.StartedAt) || now.Generation != then.Generation || now.Restarts != then.Restarts:
			t.Errorf("%s was touched: it was %+v and is %+v", name, then, now)
		}
	}
	for name := range after {
		if _, there := before[name]; !there {
			t.Errorf("%s is new", name)
		}
	}
}

// mustPlan holds that a plan is about exactly these containers; each is given as
// "action container: cause", the cause as a part of what the plan says.
func mustPlan(t *testing.T, p testcloud.Plan, want ...string) {
	t.Helper()
	for _, step := range p.Steps {
		found := slices.ContainsFunc(want, func(w string) bool {
			head, cause, _ := strings.Cut(w, ": ")
			return head == step.Action+" "+step.Container && strings.Contains(strings.Join(step.Causes, "; "), cause)
		})
		if !found {
			t.Errorf("the plan has %s %s because of %q, which is not wanted", step.Action, step.Container, step.Causes)
		}
	}
	if len(p.Steps) != len(want) {
		t.Errorf("the plan has %d steps, want %d: %q", len(p.Steps), len(want), want)
	}
}
