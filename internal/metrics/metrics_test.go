// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// monitoring is where rules and dashboard are.
const monitoring = "../../monitoring"

// now is when the snapshot of these tests was made.
var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// everything is a snapshot that has something of all there is.
func everything() Snapshot {
	took := 1.5
	return Snapshot{
		Version: "1.0", Build: "abc", EngineUp: true,
		Containers: []Container{
			{
				Host: "h", Set: "s", Name: "keystone", Component: "keystone", Release: "2025.1", Health: "unhealthy", Running: true, Restarts: 2,
				Generation: 7, Activated: now, Started: now.Add(time.Second),
				Check: &Check{At: now, Took: 20 * time.Millisecond, Failures: 3}, Window: &Window{Seconds: 0.25, Failed: 4},
			},
			{Host: "h", Set: "s", Name: "new", Component: "new", Release: "2025.1", Health: "stopped"},
		},
		Sets: []Set{{Path: "s", Healthy: false}},
		Changes: []Change{
			{Kind: "up", Status: "done", Created: now, Ended: now.Add(time.Minute)},
			{Kind: "up", Status: "done", Created: now.Add(time.Hour), Ended: now.Add(time.Hour + 90*time.Second)},
			{Kind: "up", Status: "error", Created: now, Ended: now.Add(time.Second)},
			{Kind: "upgrade", Status: "doing", Created: now.Add(2 * time.Hour)},
			{Kind: "stop", Status: "doing", Created: now.Add(3 * time.Hour)},
		},
		Jobs: []Job{
			{Host: "h", Set: "s", Name: "rotate", Every: 24 * time.Hour, Result: "error", LastRun: now, Took: &took, Succeeded: now, Next: now, Waiting: true},
			{Host: "h", Set: "s", Name: "never", Every: time.Hour, Next: now},
		},
		ImagesDeclared: 9, ImagesMissing: 1, Transitions: 5, HookRuns: 4, HookFailures: 1,
	}
}

func scrape(t *testing.T, source Source) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(source, time.Second, slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Code, w.Body.String()
}

func scraped(t *testing.T, s Snapshot) string {
	t.Helper()
	code, text := scrape(t, func(context.Context) (Snapshot, error) { return s, nil })
	if code != http.StatusOK {
		t.Fatalf("a scrape answers %d: %s", code, text)
	}
	return text
}

func TestValues(t *testing.T) {
	text := scraped(t, everything())
	id := `{container="keystone",host="h",set="s"} `
	for _, want := range []string{
		`copse_agent_info{build="abc",version="1.0"} 1`, "copse_engine_up 1",
		`copse_container_health{container="keystone",health="unhealthy",host="h",set="s"} 1`,
		`copse_container_health{container="keystone",health="healthy",host="h",set="s"} 0`,
		"copse_container_running" + id + "1", "copse_container_restarts_total" + id + "2", "copse_container_generation" + id + "7",
		"copse_container_check_duration_seconds" + id + "0.02", "copse_container_check_failures" + id + "3",
		"copse_container_window_seconds" + id + "0.25", "copse_container_window_failed_requests" + id + "4",
		"copse_container_started_timestamp_seconds" + id + "1.767323046e+09",
		`copse_set_healthy{set="s"} 0`, `copse_changes{kind="up",status="done"} 2`, `copse_changes{kind="upgrade",status="doing"} 1`,
		`copse_change_last_duration_seconds{kind="up",status="done"} 90`, "copse_change_oldest_open_timestamp_seconds 1.767330245e+09",
		`copse_job_failed{container="rotate",host="h",set="s"} 1`, `copse_job_waiting{container="never",host="h",set="s"} 0`,
		`copse_job_last_duration_seconds{container="rotate",host="h",set="s"} 1.5`,
		"copse_images_declared 9", "copse_images_missing 1", "copse_hook_failures_total 1",
		"# TYPE copse_container_restarts_total counter",
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
	for _, never := range []string{
		`copse_container_check_failures{container="new"`, `copse_container_window_seconds{container="new"`, `copse_container_started_timestamp_seconds{container="new"`,
		`copse_job_last_run_timestamp_seconds{container="never"`, `copse_change_last_duration_seconds{kind="upgrade"`,
	} {
		if strings.Contains(text, never) {
			t.Errorf("there is a value of what is not known: %s", never)
		}
	}
}

func TestEngineAway(t *testing.T) {
	text := scraped(t, Snapshot{})
	if !strings.Contains(text, "copse_engine_up 0\n") || strings.Contains(text, "copse_images_missing ") {
		t.Errorf("with the engine away:\n%s", text)
	}
}

func TestSourceFails(t *testing.T) {
	if code, text := scrape(t, func(context.Context) (Snapshot, error) { return Snapshot{}, errors.New("no store") }); code != http.StatusInternalServerError {
		t.Errorf("a scrape without a store answers %d: %s", code, text)
	}
}

// Each metric that is declared has a value in a snapshot that has everything.
func TestEveryMetricIsWritten(t *testing.T) {
	text := scraped(t, everything())
	for _, name := range Names() {
		if !strings.Contains(text, "\n"+name+"{") && !strings.Contains(text, "\n"+name+" ") {
			t.Errorf("%s is declared and never written", name)
		}
	}
}

// Each metric in the rules and on the dashboard exists, those of the process included.
func TestRulesAndDashboardNameWhatExists(t *testing.T) {
	text := scraped(t, everything())
	names := regexp.MustCompile(`\b(copse|process|go)_[a-z0-9_]+\b`)
	for _, file := range []string{"alerts.yaml", "alerts_test.yaml", "dashboard.json"} {
		content, err := os.ReadFile(filepath.Join(monitoring, file))
		if err != nil {
			t.Fatal(err)
		}
		found := names.FindAllString(string(content), -1)
		if len(found) < 10 {
			t.Errorf("%s names %d metrics", file, len(found))
		}
		for _, name := range found {
			if !strings.Contains(text, "\n"+name+"{") && !strings.Contains(text, "\n"+name+" ") {
				t.Errorf("%s names %s, which does not exist", file, name)
			}
		}
	}
}

// firingAlerts are those of which a case of alerts_test.yaml expects that they fire.
func firingAlerts(t *testing.T) map[string]bool {
	t.Helper()
	var cases struct {
		Tests []struct {
			Alerts []struct {
				Name     string `yaml:"alertname"`
				Expected []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
			Expressions []struct {
				Expression string `yaml:"expr"`
				Expected   []struct {
					Labels string  `yaml:"labels"`
					Value  float64 `yaml:"value"`
				} `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		} `yaml:"tests"`
	}
	content, err := os.ReadFile(filepath.Join(monitoring, "alerts_test.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(content, &cases); err != nil {
		t.Fatal(err)
	}
	firing := map[string]bool{}
	name := regexp.MustCompile(`alertname="(\w+)"`)
	for _, test := range cases.Tests {
		for _, alert := range test.Alerts {
			firing[alert.Name] = firing[alert.Name] || len(alert.Expected) > 0
		}
		for _, expression := range test.Expressions {
			for _, sample := range expression.Expected {
				for _, found := range name.FindAllStringSubmatch(expression.Expression+sample.Labels, -1) {
					firing[found[1]] = firing[found[1]] || sample.Value > 0
				}
			}
		}
	}
	return firing
}

// Each alert has a case in which it fires.
func TestEveryAlertHasATest(t *testing.T) {
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert       string            `yaml:"alert"`
				Labels      map[string]string `yaml:"labels"`
				Annotations map[string]string `yaml:"annotations"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	content, err := os.ReadFile(filepath.Join(monitoring, "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(content, &rules); err != nil {
		t.Fatal(err)
	}
	firing := firingAlerts(t)
	alerts := 0
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			alerts++
			if !firing[rule.Alert] {
				t.Errorf("alerts_test.yaml has no case in which %s fires", rule.Alert)
			}
			if !slices.Contains([]string{"critical", "warning"}, rule.Labels["severity"]) || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
				t.Errorf("%s lacks a severity, a summary or what to do", rule.Alert)
			}
		}
	}
	if alerts < 10 {
		t.Errorf("%d alerts were found in alerts.yaml", alerts)
	}
}

func TestDashboard(t *testing.T) {
	var dashboard struct {
		UID    string
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
			GridPos struct{ X, Y, W, H int }
		}
	}
	content, err := os.ReadFile(filepath.Join(monitoring, "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &dashboard); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d (%q) has an ID that is taken, no title or nothing to show", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%q lies over %q, or beside the screen", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

// TestPromtool has Prometheus' own program look at rules and metrics. COPSE_PROMTOOL names it where it is
// not found by its name. A plain "go test" may go without: it is a package of the distribution, and nothing
// else here needs it. "make test" fetches it, fails where it cannot, and always sets the variable, so that
// it never goes without; archtest holds the Makefile to that.
func TestPromtool(t *testing.T) {
	program := os.Getenv("COPSE_PROMTOOL")
	if program == "" {
		var err error
		if program, err = exec.LookPath("promtool"); err != nil {
			t.Skip("promtool is not installed; scripts/fetch-promtool.sh gets it, and COPSE_PROMTOOL names it")
		}
	}
	promtool := func(stdin string, arguments ...string) {
		t.Helper()
		command := exec.Command(program, arguments...)
		command.Stdin = strings.NewReader(stdin)
		if output, err := command.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, output)
		}
	}
	promtool("", "check", "rules", filepath.Join(monitoring, "alerts.yaml"))
	promtool("", "test", "rules", filepath.Join(monitoring, "alerts_test.yaml"))
	var own strings.Builder
	for line := range strings.Lines(scraped(t, everything())) {
		// What is said of the rest is client_golang's to mend.
		if strings.Contains(line, "copse_") {
			own.WriteString(line)
		}
	}
	promtool(own.String(), "check", "metrics")

	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	content, err := os.ReadFile(filepath.Join(monitoring, "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &dashboard); err != nil {
		t.Fatal(err)
	}
	// Grafana's own variables stand for a selection and a range.
	fill := strings.NewReplacer("$instance", ".*", "$__rate_interval", "5m")
	rules := "groups:\n- name: dashboard\n  rules:\n"
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			expr, err := json.Marshal(fill.Replace(target.Expr))
			if err != nil {
				t.Fatal(err)
			}
			rules += "  - {record: 'panel:x', labels: {n: '" + strconv.Itoa(len(rules)) + "'}, expr: " + string(expr) + "}\n"
		}
	}
	file := filepath.Join(t.TempDir(), "panels.yaml")
	if err := os.WriteFile(file, []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	promtool("", "check", "rules", file)
}
