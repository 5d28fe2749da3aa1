// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"copse/test/testcloud"
)

// failure is an error in JSON.
type failure struct {
	Type    string `json:"type"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Change  int    `json:"change"`
}

// mustFail holds that a call in JSON format failed with one error, of that code, that says all of want.
func mustFail(t *testing.T, r testcloud.Result, exitCode int, code string, want ...string) failure {
	t.Helper()
	var failed failure
	for _, f := range testcloud.Objects[failure](t, r.Stderr) {
		if f.Type == "error" {
			failed = f
		}
	}
	if r.Code != exitCode || failed.Code != code {
		t.Errorf("it ended with %d and code %q; want %d and %q:\n%s", r.Code, failed.Code, exitCode, code, r)
	}
	for _, w := range want {
		if !strings.Contains(failed.Message, w) {
			t.Errorf("the error does not say %q:\n%s", w, failed.Message)
		}
	}
	return failed
}

// badCalls makes mistakes that are refused before anything is touched, each with a way out.
func (s *suite) badCalls(t *testing.T) {
	before := s.Containers(t)
	mustFail(t, s.Copse(t, "stop", "keystne", "--format", "json"), 1, "not-found", "keystne", "keystone")
	mustFail(t, s.Copse(t, "pla", "--format", "json"), 2, "usage", "pla", `"plan"`)
	mustFail(t, s.Copse(t, "up", "--adress", "192.0.2.1", "--format", "json"), 2, "usage", "--adress", "--address")
	mustFail(t, s.Copse(t, "change", "4711", "--format", "json"), 1, "not-found", "4711")
	mustFail(t, s.Copse(t, "secret", "rotate", "keystone_databas", "--format", "json"), 1, "not-found", "keystone_database")
	mustFail(t, s.Copse(t, s.With("up", "--yes", "--address", "192.0.2.1", "--format", "json")...), 1, "invalid", "192.0.2.1", "ADDRESS")

	for _, bad := range []struct {
		declared string
		want     []string
	}{
		{"values: {KEYSTONE_PROCESES: 2}\n", []string{"e2e.yaml", "KEYSTONE_PROCESES", "KEYSTONE_PROCESSES"}},
		{"values: {KEYSTONE_PROCESSES: many}\n", []string{"e2e.yaml", "KEYSTONE_PROCESSES", "many"}},
		{"set: [openstack-interface]\n", []string{"e2e.yaml", "set", "sets"}},
		{"sets: [openstack-interfaces]\n", []string{"openstack-interfaces", "openstack-interface"}},
		{"release: \"1999.1\"\n", []string{"1999.1", "2025.1"}},
		{"files: [{containers: [keystone], source: missing.yaml, target: /etc/keystone/x}]\n", []string{"missing.yaml"}},
	} {
		s.Declare(t, bad.declared)
		mustFail(t, s.Copse(t, s.With("up", "--yes", "--format", "json")...), 1, "failed", bad.want...)
	}
	mustReplace(t, before, s.Containers(t))
}

// crashAtStart gives keystone a value with which it ends as soon as it starts. The old
// generation serves on, and the error says enough to mend it.
func (s *suite) crashAtStart(t *testing.T) {
	before := s.Containers(t)
	s.Declare(t, "options: {containers: {keystone: {OS_CACHE__BACKEND: no.such.backend}}}\n")
	mustPlan(t, s.Plan(t), "replace keystone: OS_CACHE__BACKEND")
	r := s.Copse(t, s.With("up", "--yes")...)
	id := s.Latest(t).ID
	if r.Code != 1 {
		t.Errorf("up ended with %d:\n%s", r.Code, r)
	}
	for _, want := range []string{
		"failed after", "keystone.", "ended with status", "its last lines:", "no.such.backend",
		"copse change " + strconv.Itoa(id), "mend what the lines say",
	} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("the error does not say %q:\n%s", want, r)
		}
	}
	if change := s.Change(t, id); change.Status != "error" || !strings.Contains(change.Error, "its last lines") {
		t.Errorf("the change is kept as %s: %s", change.Status, change.Error)
	}
	mustReplace(t, before, s.Healthy(t))
	s.mustBeAlone(t)
	s.mustRemember(t)
}

// misspeltOption gives an option that keystone does not have.
func (s *suite) misspeltOption(t *testing.T) {
	before := s.Containers(t)
	s.Declare(t, "options: {containers: {keystone: {OS_TOKEN__EXPIRATON: 7200}}}\n")
	r := s.Copse(t, s.With("up", "--yes")...)
	if r.Code != 1 {
		t.Errorf("up ended with %d:\n%s", r.Code, r)
	}
	for _, want := range []string{"OS_TOKEN__EXPIRATON", "OS_TOKEN__EXPIRATION"} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("the error does not name %s:\n%s", want, r)
		}
	}
	mustReplace(t, before, s.Healthy(t))
	s.mustBeAlone(t)
}

// engineMissing looks for an engine where there is none.
func (s *suite) engineMissing(t *testing.T) {
	cmd := s.Command(t, s.With("up", "--yes", "--format", "json")...)
	cmd.Env = append(cmd.Env, "DOCKER_HOST=unix://"+s.Dir+"/no-engine.sock")
	mustFail(t, testcloud.Run(t, cmd), 1, "failed", s.Dir+"/no-engine.sock", "systemctl start docker")
}

// portTaken has this process listen where the database is to.
func (s *suite) portTaken(t *testing.T) {
	s.Must(t, "down", "--yes")
	listener, err := net.Listen("tcp", "127.0.0.1:3306")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	r := s.Copse(t, s.With("up", "--yes", "--format", "json")...)
	mustFail(t, r, 1, "invalid", "3306", "mariadb", "process "+strconv.Itoa(os.Getpid()), "e2e.test", "nothing has been touched")
	if left := testcloud.Docker(t, "ps", "--all", "--quiet", "--filter", "label=copse.cloud="+testcloud.Name); left != "" {
		t.Errorf("containers were made all the same: %s", left)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	s.keystonesPort(t)
	s.Up(t)
	s.Healthy(t)
	s.mustRemember(t)
}

// keystonesPort gives keystone's port to the dashboard too, and has this process listen there: who is in
// whose way is named before an image is built or anything else is done.
func (s *suite) keystonesPort(t *testing.T) {
	s.Declare(t, "values: {DASHBOARD_PORT: 5000}\n")
	s.mustRefuse(t, "service keystone", "horizon", "port 5000")
	s.Declare(t, "")
	listener, err := net.Listen("tcp", ":5000")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s.mustRefuse(t, "keystone", ":5000", "process "+strconv.Itoa(os.Getpid()), "e2e.test")
}

// mustRefuse holds that neither preflight nor up goes on, and that both say why.
func (s *suite) mustRefuse(t *testing.T, words ...string) {
	t.Helper()
	for _, args := range [][]string{{"preflight"}, {"up", "--yes"}} {
		r := s.Copse(t, args...)
		for _, want := range words {
			if r.Code != 1 || !strings.Contains(r.String(), want) {
				t.Errorf("copse %s ended with %d, want 1, and with %q in what it says:\n%s", strings.Join(args, " "), r.Code, want, r)
			}
		}
	}
	if left := testcloud.Docker(t, "ps", "--all", "--quiet", "--filter", "label=copse.cloud="+testcloud.Name); left != "" {
		t.Errorf("containers were made all the same: %s", left)
	}
}
