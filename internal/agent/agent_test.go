// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"copse/internal/api"
	"copse/internal/client"
	"copse/internal/engine"
	"copse/internal/engine/fake"
	"copse/internal/plan"
	"copse/internal/tree"
)

const testHost = "host1"

// cloud has a database with a volume and a secret, and a job that fills it.
func cloud() *tree.Document {
	mount := []tree.SecretMount{{Name: "db_password", Target: "/run/secrets/db_password", Mode: 0o400, UID: os.Getuid(), GID: os.Getgid()}}
	return &tree.Document{
		Version: tree.DocumentVersion, Cloud: "test", Sets: []tree.Set{{Path: "database-control", Description: "the database"}},
		Containers: []tree.Container{
			{
				Host: testHost, Set: "database-control", Name: "db", Component: "db", Release: "2025.1",
				Spec: tree.Spec{
					Image: "copse/db:1", Restart: "always", Environment: map[string]string{"URL": "db://{{secret db_password}}@"},
					Mounts: []tree.Mount{{Type: tree.NamedVolume, Source: "test_db", Target: "/data"}},
				},
				Secrets: mount, Check: &tree.Check{Test: []string{"check"}, StartPeriod: time.Minute},
			},
			{
				Host: testHost, Set: "database-control", Name: "db-init", Component: "db", Release: "2025.1",
				Spec: tree.Spec{Image: "copse/db:1"}, Job: &tree.Job{Writes: []string{"test_db"}},
				Depends: []tree.Dependency{{Name: "db", Condition: tree.Healthy}},
			},
		},
		Secrets: []tree.Secret{{Name: "db_password", Description: "the account", Generate: tree.Generator{Kind: "password", Length: 32}}},
		Volumes: []tree.Volume{{Host: testHost, Name: "test_db"}},
		OpenRC:  map[string]string{"OS_PASSWORD": "{{secret db_password}}", "OS_USERNAME": "admin"},
	}
}

// host is a running agent with its engine.
type host struct {
	t      *testing.T
	dir    string
	engine *fake.Engine
	client *client.Client
	log    *lockedBuffer
	stop   func()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func program(_ string, spec tree.Spec) fake.Program {
	p := fake.Program{Lines: []fake.Line{{Text: "hello"}, {Stream: "stderr", Text: "world"}}}
	if spec.Labels[tree.LabelJob] != "" {
		p.Exit = &fake.Exit{}
	}
	p.Exec = func(_ context.Context, e engine.Exec) (int, error) {
		switch e.Command[0] {
		case "cat":
			_, err := io.Copy(e.Stdout, e.Stdin)
			return 0, err
		case "fail":
			fmt.Fprint(e.Stderr, "no")
			return 7, nil
		}
		return 0, nil
	}
	return p
}

func start(t *testing.T) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir(), log: &lockedBuffer{}, engine: &fake.Engine{AnyImage: true, Program: program}}
	h.run()
	t.Cleanup(func() { h.stop() })
	return h
}

// run starts an agent on the host's state; stop ends it.
func (h *host) run() {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	socket := filepath.Join(h.dir, "run", "copse.sock")
	go func() {
		ended <- Run(ctx, Options{
			StateDir: filepath.Join(h.dir, "state"), Socket: socket, Engine: h.engine, HostName: testHost, Version: "test",
			Log: slog.New(slog.NewTextHandler(h.log, nil)),
		})
	}()
	h.client = client.New(client.Unix(socket))
	h.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			h.t.Errorf("the agent ended with %v", err)
		}
		ended <- nil
	}
	for {
		if _, err := h.client.Version(context.Background()); err == nil {
			return
		}
		select {
		case err := <-ended:
			h.t.Fatalf("the agent did not start: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// do submits a change and follows it to its end.
func (h *host) do(r api.ChangeRequest) *api.Change {
	h.t.Helper()
	c, err := h.client.Submit(context.Background(), r)
	if err != nil {
		h.t.Fatal(err)
	}
	if c.Ended() {
		return c
	}
	for e, err := range h.client.Events(context.Background(), c.ID, 0) {
		if err != nil {
			h.t.Fatal(err)
		}
		if e.Change != c.ID {
			h.t.Errorf("an event of change %d among those of %d", e.Change, c.ID)
		}
	}
	c, err = h.client.Change(context.Background(), c.ID)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

func (h *host) up() {
	h.t.Helper()
	if c := h.do(api.ChangeRequest{Kind: plan.Up, Document: cloud(), User: "tester"}); c.Status != "done" {
		h.t.Fatalf("up ended %s: %s", c.Status, c.Error)
	}
}

func TestUpThroughTheAPI(t *testing.T) {
	h := start(t)
	ctx := context.Background()
	if _, err := h.client.Containers(ctx, nil, false); err == nil || !strings.Contains(err.Error(), "copse up") {
		t.Errorf("before the first up: %v; want the way on", err)
	}
	h.up()

	containers, err := h.client.Containers(ctx, nil, false)
	if err != nil || len(containers) != 1 || containers[0].Name != "db" || containers[0].State != "running" || containers[0].Generation == 0 {
		t.Errorf("containers %+v, %v; want db alone", containers, err)
	}
	if containers, err = h.client.Containers(ctx, nil, true); err != nil || len(containers) != 2 || containers[1].Health != "completed" {
		t.Errorf("all containers %+v, %v; want db and its job, completed", containers, err)
	}
	checks, err := h.client.Health(ctx, []string{"db"})
	if err != nil || len(checks) != 1 || checks[0].Health != "healthy" {
		t.Errorf("health %+v, %v", checks, err)
	}
	history, err := h.client.History(ctx, nil)
	if err != nil || len(history) != 2 || history[0].State != "active" || history[0].Change != 1 {
		t.Errorf("history %+v, %v", history, err)
	}
	changes, err := h.client.Changes(ctx)
	if err != nil || len(changes) != 1 || changes[0].User != "tester" || changes[0].Tasks != nil {
		t.Errorf("changes %+v, %v", changes, err)
	}
	p, err := h.client.Plan(ctx, api.ChangeRequest{Kind: plan.Up})
	if err != nil || !p.Empty() {
		t.Errorf("the next plan is %v, %v; want nothing", p, err)
	}
	processes, err := h.client.Top(ctx, nil)
	if err != nil || len(processes) == 0 || processes[0].Usage == nil {
		t.Errorf("top %+v, %v", processes, err)
	}
	sets, err := h.client.Tree(ctx)
	if err != nil || len(sets) != 1 || sets[0].Path != "database-control" {
		t.Errorf("tree %+v, %v", sets, err)
	}
}

func TestLogs(t *testing.T) {
	h := start(t)
	h.up()
	var texts []string
	for l, err := range h.client.Logs(context.Background(), client.LogQuery{Names: []string{"db"}}) {
		if err != nil {
			t.Fatal(err)
		}
		if l.Set != "database-control" || l.Host != testHost || l.Generation == 0 {
			t.Errorf("line %+v does not say where it is from", l)
		}
		texts = append(texts, l.Container+" "+l.Stream+" "+l.Text)
	}
	if len(texts) < 2 || texts[len(texts)-2] != "db stdout hello" && texts[0] != "db stdout hello" {
		t.Errorf("lines %q", texts)
	}
}

func TestExec(t *testing.T) {
	h := start(t)
	h.up()
	run := func(command []string, stdin string) (stdout, stderr string, exit int) {
		t.Helper()
		s, err := h.client.Exec(context.Background(), api.ExecRequest{Container: "db", Command: command})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		// A program that has ended reads no more; what it says then is read below.
		_ = s.Send(api.Frame{Stdin: []byte(stdin)})
		_ = s.Send(api.Frame{EOF: true})
		for {
			f, err := s.Receive()
			if err != nil {
				t.Fatal(err)
			}
			stdout, stderr = stdout+string(f.Stdout), stderr+string(f.Stderr)
			if f.Exit != nil {
				return stdout, stderr, *f.Exit
			}
			if f.Error != "" {
				t.Fatal(f.Error)
			}
		}
	}
	if out, _, code := run([]string{"cat"}, "over and back"); out != "over and back" || code != 0 {
		t.Errorf("cat: %q, status %d", out, code)
	}
	if _, errors, code := run([]string{"fail"}, ""); errors != "no" || code != 7 {
		t.Errorf("fail: %q, status %d", errors, code)
	}
	if _, err := h.client.Exec(context.Background(), api.ExecRequest{Container: "bd", Command: []string{"x"}}); err == nil || !strings.Contains(err.Error(), `did you mean "db"?`) {
		t.Errorf("unknown container: %v", err)
	}
}

// TestSecretsStaySecret: the value is in the files and in openrc, and nowhere else.
func TestSecretsStaySecret(t *testing.T) {
	h := start(t)
	h.up()
	ctx := context.Background()
	rc, err := h.client.OpenRC(ctx)
	if err != nil {
		t.Fatal(err)
	}
	password := rc.Variables["OS_PASSWORD"]
	if len(password) != 32 || rc.Variables["OS_USERNAME"] != "admin" {
		t.Fatalf("openrc %v", rc.Variables)
	}
	rotated, err := h.client.RotateSecret(ctx, "db_password")
	if err != nil || rotated.Version != 2 || len(rotated.UsedBy) != 1 {
		t.Errorf("rotated %+v, %v", rotated, err)
	}
	p, err := h.client.Plan(ctx, api.ChangeRequest{Kind: plan.Up})
	if err != nil || len(p.Steps) != 1 || p.Steps[0].Causes[0] != "secret db_password rotated (version 1 → 2)" {
		t.Errorf("after a rotation the plan is %+v, %v", p, err)
	}
	h.up()

	var shown []any
	collect := func(v any, err error) {
		if err != nil {
			t.Fatal(err)
		}
		shown = append(shown, v)
	}
	collect(h.client.Changes(ctx))
	collect(h.client.Change(ctx, 1))
	collect(h.client.Change(ctx, 2))
	collect(h.client.History(ctx, nil))
	collect(h.client.Containers(ctx, nil, true))
	collect(h.client.Secrets(ctx))
	collect(h.client.Document(ctx))
	collect(h.client.Plan(ctx, api.ChangeRequest{Kind: plan.Restart}))
	containers, err := h.engine.List(ctx, nil)
	collect(containers, err)
	for _, c := range containers {
		collect(h.engine.Inspect(ctx, c.ID))
	}
	encoded, err := json.Marshal(shown)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(encoded), h.log.String()} {
		if strings.Contains(text, password) {
			t.Errorf("the secret shows in %.2000s", text)
		}
	}
}

// TestLeakedSecretsStaySecret: a service that fails may write down what it was given, in its log or
// in answer to its check.
func TestLeakedSecretsStaySecret(t *testing.T) {
	var leaked atomic.Pointer[string]
	leaky := func(name string, spec tree.Spec) fake.Program {
		p := program(name, spec)
		if value := leaked.Load(); value != nil {
			p.Lines = append(p.Lines, fake.Line{Text: "cannot connect to mysql://db:" + *value + "@db/"})
			if spec.Labels[tree.LabelJob] != "" {
				p.Exit = &fake.Exit{Code: 1}
			}
		}
		p.Exec = func(_ context.Context, e engine.Exec) (int, error) {
			value := leaked.Load()
			if value == nil {
				return 0, nil
			}
			fmt.Fprintf(e.Stdout, "access denied (password: %s)\n", *value)
			return 1, nil
		}
		return p
	}
	h := &host{t: t, dir: t.TempDir(), log: &lockedBuffer{}, engine: &fake.Engine{AnyImage: true, Program: leaky}}
	h.run()
	t.Cleanup(func() { h.stop() })
	h.up()
	ctx := context.Background()
	rc, err := h.client.OpenRC(ctx)
	if err != nil {
		t.Fatal(err)
	}
	password := rc.Variables["OS_PASSWORD"]
	leaked.Store(&password)

	again := cloud()
	again.Containers[1].Spec.Environment = map[string]string{"AGAIN": "yes"}
	failed := h.do(api.ChangeRequest{Kind: plan.Up, Document: again})
	if failed.Status != "error" || !strings.Contains(failed.Error, "mysql://db:(secret db_password)@db/") {
		t.Errorf("the change ended %s: %s", failed.Status, failed.Error)
	}
	var checks []api.Health
	var incidents []api.Incident
	h.until("an incident is written down", func() bool {
		if checks, err = h.client.Health(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if incidents, err = h.client.Incidents(ctx, nil, time.Time{}); err != nil {
			t.Fatal(err)
		}
		return len(incidents) > 0
	})
	if len(checks) != 1 || checks[0].Output != "access denied (password: (secret db_password))" {
		t.Errorf("checks: %+v", checks)
	}
	encoded, err := json.Marshal([]any{failed, checks, incidents})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(encoded), h.log.String()} {
		if strings.Contains(text, password) {
			t.Errorf("the secret shows in %.2000s", text)
		}
	}
}

// TestErrors holds the codes that programs go by.
func TestErrors(t *testing.T) {
	h := start(t)
	ctx := context.Background()
	newer := cloud()
	newer.Version++
	revision := uint64(7)
	for _, c := range []struct {
		name, code string
		call       func() error
	}{
		{"unknown change", "not-found", func() error { _, err := h.client.Change(ctx, 99); return err }},
		{"nothing declared", "not-found", func() error {
			_, err := h.client.Plan(ctx, api.ChangeRequest{Kind: plan.Up})
			return err
		}},
		{"newer document", "newer-document", func() error {
			_, err := h.client.Plan(ctx, api.ChangeRequest{Kind: plan.Up, Document: newer})
			return err
		}},
		{"stale", "stale", func() error {
			_, err := h.client.Submit(ctx, api.ChangeRequest{Kind: plan.Up, Document: cloud(), Revision: &revision})
			return err
		}},
		{"unknown name", "not-found", func() error {
			_, err := h.client.Plan(ctx, api.ChangeRequest{Kind: plan.Up, Document: cloud(), Names: []string{"bd"}})
			return err
		}},
		{"unknown kind", "invalid", func() error {
			_, err := h.client.Plan(ctx, api.ChangeRequest{Kind: "sideways", Document: cloud()})
			return err
		}},
	} {
		var answer *api.Error
		if err := c.call(); !errors.As(err, &answer) || answer.Code != c.code {
			t.Errorf("%s: %v; want code %s", c.name, err, c.code)
		}
	}
	h.engine.Down()
	var answer *api.Error
	if _, err := h.client.Plan(ctx, api.ChangeRequest{Kind: plan.Up, Document: cloud()}); !errors.As(err, &answer) || answer.Code != "unavailable" {
		t.Errorf("engine away: %v; want code unavailable", err)
	}
	h.engine.Boot()
}

// TestRestart: what the agent knows outlives it.
func TestRestart(t *testing.T) {
	h := start(t)
	h.up()
	h.stop()
	h.run()
	p, err := h.client.Plan(context.Background(), api.ChangeRequest{Kind: plan.Up, Document: cloud()})
	if err != nil || !p.Empty() {
		t.Errorf("after a restart the plan is %v, %v; want nothing", p, err)
	}
	info, err := os.Stat(filepath.Join(h.dir, "run", "copse.sock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v, %v; want 0600", info.Mode().Perm(), err)
	}
	if err := Run(context.Background(), Options{
		StateDir: filepath.Join(h.dir, "other"), Socket: filepath.Join(h.dir, "run", "copse.sock"), Engine: h.engine, HostName: testHost,
	}); err == nil || !strings.Contains(err.Error(), "another agent answers there") {
		t.Errorf("a second agent on the socket: %v", err)
	}
}

// TestRoutesAreDescribed holds openapi.yaml and the handlers together.
func TestRoutesAreDescribed(t *testing.T) {
	file, err := os.ReadFile("../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	path := ""
	for line := range strings.Lines(string(file)) {
		line = strings.TrimRight(line, "\n")
		if p, ok := strings.CutPrefix(line, "  /v1"); ok {
			path = "/v1" + strings.TrimSuffix(p, ":")
		} else if line == "    get:" || line == "    post:" {
			described[strings.ToUpper(strings.Trim(line, " :"))+" "+path] = true
		}
	}
	for _, r := range (&Agent{}).routes() {
		// A name that may have slashes in it is no different in openapi.yaml.
		pattern := strings.ReplaceAll(r.pattern, "...}", "}")
		if !described[pattern] {
			t.Errorf("openapi.yaml does not describe %s", pattern)
		}
		delete(described, pattern)
	}
	for pattern := range described {
		t.Errorf("openapi.yaml describes %s, and there is no handler", pattern)
	}
}
