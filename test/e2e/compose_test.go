// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"copse/test/testcloud"
)

// rendered is what of a rendered file the test has to know: which secrets whose containers read.
type rendered struct {
	Services map[string]struct {
		User    string `json:"user"`
		Secrets []struct {
			Source string `json:"source"`
		} `json:"secrets"`
	} `json:"services"`
	Secrets map[string]struct {
		File string `json:"file"`
	} `json:"secrets"`
}

// compose has docker compose run the rendered cloud, on the same data: it is the same cloud.
func (s *suite) compose(t *testing.T) {
	compose := s.ComposeProgram(t)
	file := filepath.Join(s.Dir, "compose.yaml")
	if err := os.WriteFile(file, []byte(s.Must(t, "render", "compose")), 0o644); err != nil {
		t.Fatal(err)
	}
	placeSecrets(t, testcloud.Object[rendered](t, s.Must(t, "render", "compose", "--format", "json")))

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

// placeSecrets puts the secrets where the rendered file expects them, readable by who reads them.
func placeSecrets(t *testing.T, file rendered) {
	t.Helper()
	for name, service := range file.Services {
		if len(service.Secrets) == 0 {
			continue
		}
		uid, _, _ := strings.Cut(service.User, ":")
		owner, err := strconv.Atoi(uid)
		if err != nil {
			t.Fatalf("service %s runs as %q, which is no number", name, service.User)
		}
		for _, use := range service.Secrets {
			path := file.Secrets[use.Source].File
			if path == "" {
				t.Fatalf("service %s uses the secret %s, which the file does not define", name, use.Source)
			}
			versions, err := filepath.Glob(filepath.Join(testcloud.StateDir, "secrets", filepath.Base(path), "*"))
			if err != nil || len(versions) == 0 {
				t.Fatalf("no version of the secret %s is kept: %v", filepath.Base(path), err)
			}
			value, err := os.ReadFile(newest(t, versions))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(path)) }) // of no use to anybody else
			if err := os.WriteFile(path, value, 0o400); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(path, owner, owner); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// newest picks the file with the highest number.
func newest(t *testing.T, files []string) string {
	t.Helper()
	best, file := 0, ""
	for _, f := range files {
		version, err := strconv.Atoi(filepath.Base(f))
		if err != nil {
			t.Fatalf("%s is no version of a secret", f)
		}
		if version > best {
			best, file = version, f
		}
	}
	return file
}
