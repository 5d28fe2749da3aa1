// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"copse/test/testcloud"
)

// compose has docker compose run the rendered cloud, on the same data: it is the same cloud.
func (s *suite) compose(t *testing.T) {
	compose := s.ComposeProgram(t)
	file := filepath.Join(s.Dir, "compose.yaml")
	if err := os.WriteFile(file, []byte(s.Must(t, "render", "compose")), 0o644); err != nil {
		t.Fatal(err)
	}
	s.PlaceSecrets(t)

	var config struct {
		Name     string                     `json:"name"`
		Services map[string]json.RawMessage `json:"services"`
	}
	if err := json.Unmarshal([]byte(testcloud.Must(t, compose, "--file", file, "config", "--format", "json")), &config); err != nil {
		t.Fatal(err)
	}
	if config.Name != testcloud.Name || len(config.Services) < s.size {
		t.Errorf("docker compose reads the cloud %q with %d services; want %q with %d at least", config.Name, len(config.Services), testcloud.Name, s.size)
	}

	rc := s.Must(t, "openrc")
	s.Must(t, "down", "--yes")
	defer func() {
		testcloud.Must(t, compose, "--file", file, "down")
		s.Up(t)
		s.Healthy(t)
		s.mustRemember(t)
	}()
	testcloud.Must(t, compose, "--file", file, "up", "--detach", "haproxy", "keystone", "rabbitmq-accounts")
	script := `eval "$0" && exec openstack user list -f value -c Name`
	testcloud.Until(t, "keystone below docker compose", func() string {
		r := testcloud.Run(t, testcloud.Command(t, s.Dir, nil, "sh", "-c", script, rc))
		if r.Code != 0 || !strings.Contains(r.Stdout, s.user) {
			return r.String()
		}
		return ""
	})
}
