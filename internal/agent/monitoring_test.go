// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"copse/internal/api"
	"copse/internal/plan"
	"copse/internal/tree"
)

// patience bounds the waits of these tests; they end as soon as they can.
const patience = time.Minute

// monitored is the cloud with a job on a timer, health and metrics by TCP, and programs.
func monitored(hooks string) *tree.Document {
	doc := cloud()
	doc.Values = map[string]string{
		tree.ValueMonitoringListen: "127.0.0.1:0", tree.ValueHooksDirectory: hooks, tree.ValueHooksTimeout: "20",
	}
	doc.Containers = append(doc.Containers, tree.Container{
		Host: testHost, Set: "database-control", Name: "db-archive", Component: "db", Release: "2025.1",
		Spec: tree.Spec{Image: "copse/db:1"}, Job: &tree.Job{Every: time.Hour},
		Depends: []tree.Dependency{{Name: "db", Condition: tree.Healthy}},
	})
	return doc
}

// bring brings the monitored cloud up and starts the agent anew, which then offers what it is to at once.
func (h *host) bring(hooks string) (address string) {
	h.t.Helper()
	if c := h.do(api.ChangeRequest{Kind: plan.Up, Document: monitored(hooks), User: "tester"}); c.Status != "done" {
		h.t.Fatalf("up ended %s: %s", c.Status, c.Error)
	}
	h.stop()
	h.run()
	offered := regexp.MustCompile(`health and metrics are offered" address=(\S+)`)
	var found []string
	h.until("health and metrics are offered", func() bool {
		all := offered.FindAllStringSubmatch(h.log.String(), -1)
		if len(all) == 0 {
			return false
		}
		found = all[len(all)-1]
		response, err := http.Get("http://" + found[1] + "/metrics")
		if err != nil {
			return false
		}
		return response.Body.Close() == nil
	})
	return "http://" + found[1]
}

func (h *host) until(what string, is func() bool) {
	h.t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("waited in vain until %s; the agent's log:\n%s", what, h.log)
		}
	}
}

func ask(t *testing.T, method, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestSetHealth(t *testing.T) {
	h := start(t)
	url := h.bring("")
	state := func(name string, want int) (s api.SetHealth) {
		t.Helper()
		status, body := ask(t, http.MethodGet, url+"/v1/health/"+name)
		if status != want {
			t.Fatalf("%q answers %d: %s", name, status, body)
		}
		if err := json.Unmarshal([]byte(body), &s); err != nil {
			t.Fatalf("%q answers %s: %v", name, body, err)
		}
		return s
	}
	if s := state("database-control", http.StatusOK); s.Name != "database-control" || s.State != "healthy" || s.Containers != 1 || len(s.Unhealthy) != 0 {
		t.Errorf("a set that is well: %+v", s)
	}
	if s := state("", http.StatusOK); s.Name != "test" {
		t.Errorf("the whole cloud: %+v", s)
	}
	if status, _ := ask(t, http.MethodGet, url+"/v1/health"); status != http.StatusOK {
		t.Errorf("the whole cloud without a slash answers %d", status)
	}
	if status, body := ask(t, http.MethodGet, url+"/v1/health/databse-control"); status != http.StatusNotFound || !strings.Contains(body, "did you mean") {
		t.Errorf("an unknown set answers %d: %s", status, body)
	}
	h.do(api.ChangeRequest{Kind: plan.Stop, Names: []string{"db"}})
	for _, name := range []string{"database-control", "db", ""} {
		s := state(name, http.StatusServiceUnavailable)
		if s.State != "stopped" || len(s.Unhealthy) != 1 || s.Unhealthy[0].Name != "db" || s.Unhealthy[0].Why != "stopped by change 2" {
			t.Errorf("%q with its database stopped: %+v", name, s)
		}
	}
}

// What strangers reach can be read, changes nothing and shows nothing that is secret.
func TestMonitoringListenerIsReadOnly(t *testing.T) {
	h := start(t)
	url := h.bring("")
	for _, path := range []string{"/v1/document", "/v1/openrc", "/v1/secrets", "/v1/logs", "/v1/jobs", "/v1/version", "/debug/pprof/", "/"} {
		if status, _ := ask(t, http.MethodGet, url+path); status != http.StatusNotFound {
			t.Errorf("GET %s answers %d to a stranger", path, status)
		}
	}
	for _, path := range []string{"/v1/changes", "/v1/exec", "/metrics", "/v1/health/db"} {
		if status, _ := ask(t, http.MethodPost, url+path); status < 400 {
			t.Errorf("POST %s answers %d to a stranger", path, status)
		}
	}
	rc, err := h.client.OpenRC(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	status, text := ask(t, http.MethodGet, url+"/metrics")
	if status != http.StatusOK || strings.Contains(text, rc.Variables["OS_PASSWORD"]) {
		t.Errorf("a scrape answers %d, or shows a password", status)
	}
	for _, want := range []string{
		`copse_container_health{container="db",health="healthy",host="host1",set="database-control"} 1`,
		`copse_set_healthy{set="database-control"} 1`, `copse_changes{kind="up",status="done"} 1`, "copse_engine_up 1",
		`copse_job_every_seconds{container="db-archive",host="host1",set="database-control"} 3600`,
		"go_goroutines ", "process_resident_memory_bytes ",
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("missing in a scrape: %s", want)
		}
	}
}

func TestListenerFollowsTheCloud(t *testing.T) {
	h := start(t)
	url := h.bring("")
	doc := monitored("")
	doc.Values[tree.ValueMonitoringListen] = ""
	h.do(api.ChangeRequest{Kind: plan.Up, Document: doc})
	h.until("nothing is offered any more", func() bool {
		response, err := http.Get(url + "/v1/health")
		if err != nil {
			return true
		}
		_ = response.Body.Close() // it only has to be let go
		return false
	})
	doc.Values[tree.ValueMonitoringListen] = "192.0.2.77:9"
	h.do(api.ChangeRequest{Kind: plan.Up, Document: doc})
	h.until("an address that cannot be had is told of", func() bool {
		return strings.Contains(h.log.String(), "cannot offer health and metrics: give MONITORING_LISTEN an address")
	})
}

func TestJobsThroughTheAPI(t *testing.T) {
	h := start(t)
	h.bring("")
	ctx := context.Background()
	jobs, err := h.client.Jobs(ctx)
	if err != nil || len(jobs) != 1 || jobs[0].Name != "db-archive" || jobs[0].EverySeconds != 3600 || jobs[0].Change != 0 ||
		jobs[0].Result != "" || jobs[0].NextRun == nil {
		t.Fatalf("before its first run: %+v, %v", jobs, err)
	}
	if c := h.do(api.ChangeRequest{Kind: plan.RunNow, Names: []string{"db-archive"}, User: "kim"}); c.Status != "done" || c.Kind != "run" {
		t.Fatalf("running it by hand ended %s: %s", c.Status, c.Error)
	}
	jobs, err = h.client.Jobs(ctx)
	if err != nil || jobs[0].Change != 2 || jobs[0].Result != "done" || jobs[0].Kind != "run" || jobs[0].TookSeconds == nil || jobs[0].LastSuccess == nil ||
		!jobs[0].NextRun.Equal(jobs[0].LastRun.Add(time.Hour)) {
		t.Errorf("after its run: %+v, %v", jobs, err)
	}
	if _, err := h.client.Submit(ctx, api.ChangeRequest{Kind: plan.RunNow, Names: []string{"db"}}); err == nil || !strings.Contains(err.Error(), "it is a service and no job") {
		t.Errorf("running a service: %v", err)
	}
}

func TestHookOnTransition(t *testing.T) {
	h := start(t)
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	hooks := filepath.Join(dir, "hooks.d")
	if err := os.Mkdir(hooks, 0o755); err != nil {
		t.Fatal(err)
	}
	body := "#!/bin/sh\n{ echo \"$COPSE_SET $COPSE_OLD_STATE $COPSE_NEW_STATE\"; cat; } >> " + out + "\n"
	if err := os.WriteFile(filepath.Join(hooks, "10-note"), []byte(body), 0o755); err != nil {
		t.Fatal(err)
	}
	h.bring(hooks)
	told := func(part string) {
		t.Helper()
		h.until("a program was told: "+part, func() bool {
			content, err := os.ReadFile(out)
			return err == nil && strings.Contains(string(content), part)
		})
	}
	told("database-control unknown healthy\n")
	h.do(api.ChangeRequest{Kind: plan.Stop, Names: []string{"db"}})
	told("database-control healthy stopped\n")
	told(`"cause":"db is stopped: stopped by change 2"`)
	h.do(api.ChangeRequest{Kind: plan.Start, Names: []string{"db"}})
	told(" healthy\n{\"cloud\":\"test\",\"host\":\"host1\",\"set\":\"database-control\"")
}
