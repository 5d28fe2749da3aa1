// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"copse/test/testcloud"
)

// apply carries out what is declared now and holds that it does what the plan said.
func (s *suite) apply(t *testing.T, want []string, replaced ...string) {
	t.Helper()
	before := s.Healthy(t)
	mustPlan(t, s.Plan(t), want...)
	s.Up(t)
	after := s.Healthy(t)
	mustReplace(t, before, after, replaced...)
	if p := s.Plan(t); len(p.Steps) != 0 {
		t.Errorf("what was done is still to do: %+v", p.Steps)
	}
	s.mustBeAlone(t)
	s.mustRemember(t)
}

func (s *suite) valueChanged(t *testing.T) {
	s.Declare(t, "values: {KEYSTONE_PROCESSES: 3}\n")
	s.apply(t, []string{"replace keystone: command --processes=2 → --processes=3"}, "keystone")
	if top := s.Must(t, "top", "keystone"); !strings.Contains(top, "--processes=3") {
		t.Errorf("keystone runs with other processes:\n%s", top)
	}
}

func (s *suite) secretRotated(t *testing.T) {
	type secret struct {
		Name    string `json:"name"`
		Version int    `json:"version"`
	}
	version := func() int {
		for _, one := range testcloud.Objects[secret](t, s.Must(t, "secret", "ls", "--format", "json")) {
			if one.Name == "keystone_database" {
				return one.Version
			}
		}
		return 0
	}
	old := version()
	s.Must(t, "secret", "rotate", "keystone_database")
	if now := version(); now != old+1 {
		t.Errorf("the secret has version %d after %d", now, old)
	}
	cause := ": secret keystone_database"
	s.apply(t, []string{
		"run databases" + cause, "run keystone-db-expand" + cause, "run keystone-fernet-setup" + cause,
		"run keystone-credential-setup" + cause, "run keystone-bootstrap" + cause, "replace keystone" + cause,
		"run keystone-db-contract" + cause,
	}, "keystone")
}

// filesChanged gives one container a file of the operator's, and lays another over the catalogue's.
func (s *suite) filesChanged(t *testing.T) {
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(s.Dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	catalogued, err := os.ReadFile(filepath.Join(s.Repository, "catalog/sets/messaging-control/rabbitmq.conf"))
	if err != nil {
		t.Fatal(err)
	}
	write("policy.yaml", `"identity:list_regions": "rule:admin_required"`+"\n")
	write("ours/sets/messaging-control/rabbitmq.conf", string(catalogued)+"\nlog.console.level = warning\n")
	declared := `
files:
  - {containers: [keystone], source: policy.yaml, target: /etc/keystone/policy.yaml}
`
	s.Declare(t, declared)
	s.apply(t, []string{"replace keystone: /etc/keystone/policy.yaml"}, "keystone")
	if got := s.Must(t, "exec", "keystone", "--", "cat", "/etc/keystone/policy.yaml"); !strings.Contains(got, "identity:list_regions") {
		t.Errorf("keystone sees another policy:\n%s", got)
	}

	write("policy.yaml", `"identity:list_regions": "rule:admin_required or role:reader"`+"\n")
	s.Declare(t, declared+"catalogue: [ours]\n")
	s.apply(t, []string{
		"replace keystone: /etc/keystone/policy.yaml", "replace rabbitmq: /etc/copse/rabbitmq.conf",
	}, "keystone", "rabbitmq")
}
