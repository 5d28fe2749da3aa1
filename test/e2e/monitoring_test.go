// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"copse/test/testcloud"
)

// monitoring has the cloud watched from outside: by HTTP and by a program that is told of transitions.
func (s *suite) monitoring(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	hooks, told := t.TempDir(), filepath.Join(t.TempDir(), "told")
	program := "#!/bin/sh\necho \"$COPSE_SET $COPSE_OLD_STATE $COPSE_NEW_STATE: $COPSE_CAUSE\" >> " + told + "\n"
	if err := os.WriteFile(filepath.Join(hooks, "10-note"), []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	before := s.Containers(t)
	s.Declare(t, fmt.Sprintf("values: {MONITORING_LISTEN: %q, HOOKS_DIRECTORY: %q}\n", address, hooks))
	s.Up(t)
	mustReplace(t, before, s.Containers(t)) // nothing

	ask := func(path string) (status int, body string) {
		response, err := http.Get("http://" + address + path)
		if err != nil {
			return 0, err.Error()
		}
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		if err != nil {
			return 0, err.Error()
		}
		return response.StatusCode, string(content)
	}
	answers := func(path string, status int, want ...string) {
		t.Helper()
		testcloud.Until(t, fmt.Sprintf("%d for %s", status, path), func() string {
			got, body := ask(path)
			if got != status {
				return fmt.Sprintf("it is %d: %s", got, body)
			}
			for _, w := range want {
				if !strings.Contains(body, w) {
					return fmt.Sprintf("it lacks %q: %s", w, body)
				}
			}
			return ""
		})
	}
	answers("/v1/health/high-availability-control", http.StatusOK, `"state":"healthy"`)
	answers("/metrics", http.StatusOK, "\ncopse_engine_up 1\n", `copse_container_health{container="keystone",health="healthy"`, "process_resident_memory_bytes ")

	s.Must(t, "stop", "haproxy")
	answers("/v1/health/high-availability-control", http.StatusServiceUnavailable, `"state":"stopped"`, "stopped by change")
	if r := s.Copse(t, "health", "high-availability-control"); r.Code != 1 {
		t.Errorf("copse health of a set that is stopped ended with %d:\n%s", r.Code, r)
	}
	s.wasTold(t, told, "high-availability-control healthy stopped: haproxy is stopped")
	s.Must(t, "start", "haproxy")
	answers("/v1/health/high-availability-control", http.StatusOK)
	s.wasTold(t, told, "high-availability-control unhealthy healthy:", "high-availability-control stopped healthy:")

	s.Declare(t, "")
	s.Up(t)
	testcloud.Until(t, "an end of what is offered", func() string {
		if status, _ := ask("/metrics"); status != 0 {
			return fmt.Sprintf("it still answers %d", status)
		}
		return ""
	})
	s.Healthy(t)
}

// wasTold waits until a file has one of the lines.
func (s *suite) wasTold(t *testing.T, file string, lines ...string) {
	t.Helper()
	testcloud.Until(t, "a program that is told "+strings.Join(lines, " or "), func() string {
		content, err := os.ReadFile(file)
		if err != nil {
			return err.Error()
		}
		for _, line := range lines {
			if strings.Contains(string(content), line) {
				return ""
			}
		}
		return "it was told:\n" + string(content)
	})
}

// jobResult is a line of copse jobs.
type jobResult struct {
	Name        string `json:"name"`
	Change      int    `json:"change"`
	Result      string `json:"result"`
	LastSuccess string `json:"last_success"`
	NextRun     string `json:"next_run"`
}

// keysTurned turns the keys for tokens: one that was made before is good afterwards, without the
// cache as well, and keystone is not replaced.
func (s *suite) keysTurned(t *testing.T) {
	before := s.Containers(t)
	keys := func() string { return s.Must(t, "exec", "keystone", "--", "ls", "/var/lib/keystone/fernet-keys") }
	token := strings.TrimSpace(s.OpenStack(t, "token", "issue", "--format", "value", "--column", "id"))
	had := keys()
	s.Must(t, "run", "keystone-fernet-rotate")
	if has := keys(); has == had {
		t.Errorf("the keys are %q before and after", has)
	}
	var job jobResult
	for _, one := range testcloud.Objects[jobResult](t, s.Must(t, "jobs", "--format", "json")) {
		if one.Name == "keystone-fernet-rotate" {
			job = one
		}
	}
	if latest := s.Latest(t); job.Result != "done" || job.Change != latest.ID || latest.Kind != "run" || job.LastSuccess == "" || job.NextRun == "" {
		t.Errorf("the run is listed as %+v; the last change is %+v", job, latest)
	}
	mustReplace(t, before, s.Containers(t)) // nothing
	s.Must(t, "restart", "memcached")
	s.Healthy(t)
	testcloud.Until(t, "an old token that is good", func() string {
		request, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:5000/v3/auth/tokens", nil)
		if err != nil {
			return err.Error()
		}
		request.Header.Set("X-Auth-Token", token)
		request.Header.Set("X-Subject-Token", token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err.Error()
		}
		if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusOK {
			return fmt.Sprintf("keystone answers %s", response.Status)
		}
		return ""
	})
	if r := s.Copse(t, "run", "keystone"); r.Code != 1 || !strings.Contains(r.String(), "it is a service and no job") {
		t.Errorf("running a service ended with %d:\n%s", r.Code, r)
	}
}
