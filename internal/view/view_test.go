// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"copse/internal/api"
	"copse/internal/plan"
	"copse/internal/tree"
)

var update = flag.Bool("update", false, "write the golden files")

// epoch is the tests' time.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// screen is a view on a buffer.
func screen(format Format, columns int, color bool) (*View, *bytes.Buffer) {
	var out bytes.Buffer
	return New(Options{
		Out: &out, Err: &out, Format: format, Color: color,
		Size: func() (int, int) { return columns, 24 },
		Now:  func() time.Time { return epoch.Add(26 * time.Hour) },
	}), &out
}

// golden compares with a file under testdata. Escape sequences are written as \e.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	got = strings.ReplaceAll(got, "\x1b", `\e`)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func at(seconds int) *time.Time {
	t := epoch.Add(time.Duration(seconds) * time.Second)
	return &t
}

func containers() []api.Container {
	return []api.Container{
		{Host: "n", Set: "identity/keystone", Name: "keystone", Component: "keystone", Generation: 12, Release: "2025.1", Image: "copse/keystone:2025.1-1f2e3d4c5b6a", State: "running", Health: "healthy", StartedAt: at(60)},
		{Host: "n", Set: "identity/keystone", Name: "keystone-fernet-rotate", Component: "keystone", Generation: 4, Release: "2025.1", Image: "copse/keystone:2025.1-1f2e3d4c5b6a", State: "exited", Health: "failed", StartedAt: at(90), Restarts: 3},
		{Host: "n", Set: "database", Name: "mariadb", Component: "mariadb", Release: "2025.1", State: "missing", Health: "stopped"},
	}
}

func fullPlan() *plan.Plan {
	return &plan.Plan{
		Kind: plan.Up, Revision: 3, Unchanged: 5, Build: []string{"copse/keystone:2025.1-1f2e3d4c5b6a"},
		Notes: []string{"keystone is at 2026.1 by change 12, cloud.yaml says 2025.1"},
		Steps: []plan.Step{
			{Container: "mariadb", Action: plan.Create, Causes: []string{"first start"}},
			{Container: "keystone", Action: plan.Replace, From: 12, Causes: []string{"image changed", "environment KEYSTONE_WORKERS 2 → 4"}, Impact: "start-first: no request fails", Strategy: tree.StartFirst},
			{Container: "rabbitmq", Action: plan.Recreate, From: 3, Causes: []string{"the container has gone"}, Drift: true},
			{Container: "copse_old", Action: plan.RemoveVolume, Causes: []string{"no longer declared"}, Dangerous: true},
		},
	}
}

// Everything that is a table or a text, as an operator sees it on a wide, coloured screen, on
// a narrow one, and in a log.
func TestGolden(t *testing.T) {
	window, failed := 1.5, 12
	pages := map[string]func(*View) error{
		"ps":   func(v *View) error { return v.Containers(containers(), pins()) },
		"plan": func(v *View) error { return v.Plan(fullPlan()) },
		"tree": func(v *View) error {
			return v.Tree("north", []tree.Set{{Path: "database", Description: "The database of all services"}, {Path: "identity"}, {Path: "identity/keystone", Version: 12}, {Path: "network"}}, containers())
		},
		"changes": func(v *View) error {
			return v.Changes([]api.Change{
				{ID: 10, Kind: "up", Summary: "up keystone", Status: "error", User: "root", CreatedAt: epoch, EndedAt: at(75), Error: "keystone did not become ready\nmore"},
				{ID: 9, Kind: "down", Summary: "down", Status: "doing", CreatedAt: epoch},
			}, []api.Generation{{Name: "keystone", Change: 10, WindowSeconds: &window, FailedRequests: &failed}, {Name: "glance", Change: 10, FailedRequests: &failed}})
		},
		"change": func(v *View) error {
			return v.Change(&api.Change{ID: 10, Kind: "up", Summary: "up keystone", Status: "undoing", User: "root", CreatedAt: epoch, Tasks: []api.Task{
				{ID: 1, Subject: "keystone", Summary: "create keystone.13", Status: "undoing", StartedAt: at(0)},
				{ID: 2, Subject: "keystone", Summary: "wait until keystone.13 is ready", Status: "error", StartedAt: at(2), EndedAt: at(62), Error: "not ready after 60s:\n\tGET /v3: 503", Log: []string{"waiting \x1b[2Jfor /v3"}},
			}}, nil)
		},
		"history": func(v *View) error {
			return v.History(nil, []api.Generation{{Name: "keystone", Generation: 12, Release: "2025.1", Image: "copse/keystone:2025.1-1f2e3d4c5b6a", State: "active", Change: 9,
				Cause: "environment KEYSTONE_WORKERS 2 → 4", CreatedAt: epoch, Activated: at(30), WindowSeconds: &window, FailedRequests: &failed}})
		},
		"versions": func(v *View) error {
			again := generations()
			return v.History(Versions("identity", again), again)
		},
		"upgrade":  func(v *View) error { return v.Plan(upgradePlan()) },
		"rollback": func(v *View) error { return v.Plan(rollbackPlan()) },
		"outcome": func(v *View) error {
			c := upgraded()
			return v.ChangeEnded(c, Ending{Outcome: Replacements(c, generations())})
		},
		"prune": func(v *View) error {
			return v.Prune(&api.Prune{Bytes: 3 << 30, Images: []api.PrunedImage{
				{ID: "sha256:1", References: []string{"copse/keystone:2025.1-1f2e3d4c5b6a"}, Size: 2 << 30},
				{ID: "sha256:2", Size: 1 << 30, Error: "a container that is not Copse's uses it\nmore"},
			}})
		},
		"ended": func(v *View) error {
			return v.ChangeEnded(&api.Change{ID: 10, Kind: "up", Status: "error", CreatedAt: epoch, EndedAt: at(75), Error: "1 of 3 containers failed:\nkeystone did not become ready",
				Tasks: []api.Task{{ID: 1, Subject: "keystone", Status: "error"}, {ID: 2, Subject: "mariadb", Status: "done"}}}, Ending{})
		},
	}
	for name, page := range pages {
		for _, look := range []struct {
			name    string
			format  Format
			columns int
			color   bool
		}{{"wide", Human, 140, true}, {"narrow", Human, 60, false}, {"plain", Plain, 60, false}} {
			t.Run(name+"/"+look.name, func(t *testing.T) {
				v, out := screen(look.format, look.columns, look.color)
				if err := page(v); err != nil {
					t.Fatal(err)
				}
				golden(t, name+"-"+look.name, out.String())
				for _, line := range strings.Split(out.String(), "\n") {
					if look.format == Human && name != "ended" && ansi.StringWidth(line) > look.columns {
						t.Errorf("%d columns on a screen of %d: %q", ansi.StringWidth(line), look.columns, line)
					}
				}
			})
		}
	}
}

// A table is never wider than the screen as long as its columns may give way, and never cuts
// what a pipe reads.
func TestTableFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		columns := rapid.IntRange(40, 200).Draw(t, "columns")
		v, _ := screen(Human, columns, true)
		word := rapid.StringMatching(`[a-zé→]{1,80}`)
		row := []cell{text("a"), text(word.Draw(t, "b")), {text: word.Draw(t, "c"), paint: v.theme.bad}}
		table := v.table([]column{{title: "A"}, {title: "B", least: 4}, {title: "C", least: 4, drop: 1}}, []group{{heading: "g", rows: [][]cell{row}}})
		for _, line := range strings.Split(table, "\n") {
			if ansi.StringWidth(line) > columns {
				t.Fatalf("%d columns on a screen of %d: %q", ansi.StringWidth(line), columns, line)
			}
		}
		p, _ := screen(Plain, columns, false)
		if full := p.table([]column{{title: "A"}, {title: "B", least: 4}, {title: "C", least: 4, drop: 1}}, []group{{rows: [][]cell{row}}}); !strings.Contains(full, row[1].text) || !strings.Contains(full, row[2].text) {
			t.Fatalf("a plain table is cut: %q", full)
		}
	})
}

// A real shell reads back what was quoted.
func TestShellQuote(t *testing.T) {
	for _, s := range []string{"", "plain", "it's", `a "b" $c \d`, "two\nlines", "`id`", "'", "''", "ü → $(reboot)"} {
		out, err := exec.Command("sh", "-c", "printf %s "+shellQuote(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("%q came back as %q, %v", s, out, err)
		}
	}
}

// What a container wrote cannot move the cursor, change colours or ring the bell.
func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"\x1b[31mred\x1b[0m":           "red",
		"\x1b]0;title\x07text":         "text",
		"a\rb\tc":                      "a b c",
		"bell\x07 nul\x00 del\x7f":     "bell nul del",
		"wide 漢字 stays":                "wide 漢字 stays",
		"\u009b31mC1":                  "31mC1", // the introducer alone is what has power
		"a\x1b[2J\x1b[1;1Hb":           "ab",
		"\x1b]8;;http://x\x1b\\l\x1b]": "l",
	} {
		if got := clean(in); got != want {
			t.Errorf("%q is cleaned to %q, want %q", in, got, want)
		}
	}
}

func TestDurations(t *testing.T) {
	for in, want := range map[time.Duration]string{
		-time.Second: "0.0s", 1250 * time.Millisecond: "1.2s", 59 * time.Second: "59s", 61 * time.Second: "1m01s",
		3*time.Hour + 7*time.Minute: "3h07m", 75 * time.Hour: "3d3h",
	} {
		if got := Duration(in); got != want {
			t.Errorf("%v is %q, want %q", in, got, want)
		}
	}
	for in, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 3 << 30: "3.0 GiB"} {
		if got := Bytes(in); got != want {
			t.Errorf("%d is %q, want %q", in, got, want)
		}
	}
}

func TestErrorsInJSON(t *testing.T) {
	v, out := screen(JSON, 0, false)
	if err := v.Error(&api.Error{Code: "conflict", Message: "change 9 <up> runs", Change: 9}, ""); err != nil {
		t.Fatal(err)
	}
	if want := `{"type":"error","code":"conflict","message":"change 9 <up> runs","change":9}` + "\n"; out.String() != want {
		t.Errorf("got %s", out)
	}
}

// TestOpenRCIsForTheClientAlone: what another host's agent answers goes into the operator's own shell.
func TestOpenRCIsForTheClientAlone(t *testing.T) {
	for name, fine := range map[string]bool{
		"OS_PASSWORD": true, "OS_AUTH_URL": true,
		"PATH": false, "LD_PRELOAD": false, "PROMPT_COMMAND": false, "OS_X=1; touch /tmp/x; Y": false, "OS_X\nPATH": false, "os_x": false, "OS_": false, "": false,
	} {
		v, out := screen(Human, 80, false)
		err := v.OpenRC(&api.OpenRC{Variables: map[string]string{"OS_USERNAME": "admin", name: "x"}})
		if (err == nil) != fine || !fine && out.Len() > 0 {
			t.Errorf("%q: %v, %q", name, err, out)
		}
	}
}
