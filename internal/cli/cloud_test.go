// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"copse/internal/agent"
	"copse/internal/api"
	"copse/internal/client"
	"copse/internal/engine"
	"copse/internal/engine/fake"
	"copse/internal/tree"
)

const agentHost = "node-1"

// cloudFile is what an operator declares.
type cloudFile struct{ release, workers string }

// twoReleases resolves a cloud of one service with the jobs of an upgrade, whose images are named
// after the release.
func twoReleases(file *cloudFile) func(context.Context, declaration) (*tree.Document, error) {
	return func(_ context.Context, d declaration) (*tree.Document, error) {
		document := &tree.Document{Version: tree.DocumentVersion, Cloud: "north", Sets: []tree.Set{{Path: "identity"}}}
		job := func(name string, phase tree.Phase, depends ...tree.Dependency) tree.Container {
			return tree.Container{Name: name, Job: &tree.Job{Phase: phase, Timeout: time.Minute}, Depends: depends}
		}
		completed := func(name string) tree.Dependency {
			return tree.Dependency{Name: name, Condition: tree.Completed}
		}
		document.Containers = []tree.Container{
			job("keystone-db-expand", tree.Expand),
			{
				Name: "keystone", Depends: []tree.Dependency{completed("keystone-db-expand")}, Check: &tree.Check{Test: []string{"check"}, StartPeriod: time.Minute},
				Update: tree.Update{Order: tree.StartFirst, Rollback: tree.RollbackUntilContract}, Spec: tree.Spec{Restart: "always"},
			},
			job("keystone-db-contract", tree.Contract, tree.Dependency{Name: "keystone", Condition: tree.Healthy}),
		}
		for i := range document.Containers {
			c := &document.Containers[i]
			c.Host, c.Set, c.Component, c.Release = agentHost, "identity", "keystone", file.release
			for _, pin := range d.Pins {
				if pin.Container != c.Name {
					continue
				}
				c.Release = pin.Release
				pin.Declared = file.release
				if pin.Generation != 0 || pin.Release != file.release {
					document.Pins = append(document.Pins, pin)
				}
			}
			if c.Job == nil {
				c.Spec.Environment = map[string]string{"KEYSTONE_WORKERS": file.workers}
			}
			c.Spec.Image = "copse/keystone:" + c.Release + "-0a1b2c3d4e5f"
		}
		return document, nil
	}
}

// operator works at a cloud: a real agent on an engine without containers.
type operator struct {
	t      *testing.T
	socket string
	parts  parts
}

func newOperator(t *testing.T, file *cloudFile) *operator {
	o := &operator{t: t, socket: filepath.Join(t.TempDir(), "s"), parts: fakeParts()}
	o.parts.resolve = twoReleases(file)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- agent.Run(ctx, agent.Options{
			StateDir: t.TempDir(), Socket: o.socket, HostName: agentHost, Version: "test", Log: slog.New(slog.DiscardHandler),
			Engine: &fake.Engine{AnyImage: true, Program: func(_ string, spec tree.Spec) fake.Program {
				p := fake.Program{Exec: func(context.Context, engine.Exec) (int, error) { return 0, nil }}
				if spec.Labels[tree.LabelJob] != "" {
					p.Exit = &fake.Exit{}
				}
				return p
			}},
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the agent ended with %v", err)
		}
	})
	c := client.New(client.Unix(o.socket))
	defer c.Close()
	for {
		if _, err := c.Version(ctx); err == nil {
			return o
		}
		select {
		case err := <-ended:
			ended <- nil
			t.Fatalf("the agent did not start: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// does runs a command that ends with a code, and returns what it said.
func (o *operator) does(code int, command string) string {
	o.t.Helper()
	var out, errs strings.Builder
	args := append([]string{"--socket", o.socket}, strings.Fields(command)...)
	if got := run(context.Background(), args, Streams{In: strings.NewReader(""), Out: &out, Err: &errs}, o.parts); got != code {
		o.t.Fatalf("copse %s: exit code %d, want %d\n%s%s", command, got, code, &out, &errs)
	}
	return out.String() + errs.String()
}

// runs says what runs as keystone: its release, and what pins it.
func (o *operator) runs() (release string, pin *tree.Pin) {
	o.t.Helper()
	var container struct {
		Release string    `json:"release"`
		Pin     *tree.Pin `json:"pin"`
	}
	if err := json.NewDecoder(strings.NewReader(o.does(0, "ps keystone --format json"))).Decode(&container); err != nil {
		o.t.Fatal(err)
	}
	return container.Release, container.Pin
}

// lastAt is the newest generation of keystone at a release.
func (o *operator) lastAt(release string) string {
	o.t.Helper()
	last := ""
	decoder := json.NewDecoder(strings.NewReader(o.does(0, "history keystone --format json")))
	for decoder.More() {
		var g api.Generation
		if err := decoder.Decode(&g); err != nil {
			o.t.Fatal(err)
		}
		if g.Release == release {
			last = tree.GenerationName(g.Name, g.Generation)
		}
	}
	return last
}

// An upgrade and a rollback hold against the cloud file until it agrees or is followed by name, and
// past the point of no return there is no way back.
func TestUpgradeHoldsAgainstTheCloudFile(t *testing.T) {
	t.Parallel()
	declared := cloudFile{release: "2025.1", workers: "2"}
	o := newOperator(t, &declared)
	wants := func(release string, pinned bool) {
		t.Helper()
		if got, pin := o.runs(); got != release || (pin != nil) != pinned {
			t.Fatalf("keystone is at %s with the pin %+v, want %s, pinned: %v", got, pin, release, pinned)
		}
	}
	says := func(text string, words ...string) {
		t.Helper()
		for _, w := range words {
			if !strings.Contains(text, w) {
				t.Errorf("it does not say %q:\n%s", w, text)
			}
		}
	}
	o.does(0, "up --yes")
	wants("2025.1", false)

	says(o.does(2, "upgrade keystone --to 2026.1 --dry-run"), "release 2025.1 → 2026.1", "rollback: without loss until it is finalized", "keystone-db-contract waits")
	wants("2025.1", false)
	says(o.does(0, "upgrade keystone --to 2026.1 --yes"), "(2025.1)", "(2026.1)", "kept", "ran", "`copse rollback keystone` goes back")
	wants("2026.1", true)
	says(o.does(0, "up --yes"), "Nothing to do", "the cloud file says 2025.1")
	wants("2026.1", true)

	says(o.does(0, "rollback keystone --yes"), "kept", "copse up keystone --unpin")
	wants("2025.1", true)
	says(o.does(0, "history keystone"), " OF ", "rollback to generation")
	says(o.does(0, "history identity --versions"), "2026.1")
	o.does(0, "up --yes") // what it was rolled back to is what the cloud file says
	wants("2025.1", false)

	o.does(0, "upgrade keystone --to 2026.1 --yes")
	wants("2026.1", true)
	declared.release = "2026.1"
	o.does(0, "up --yes")
	wants("2026.1", false)

	says(o.does(1, "upgrade keystone --finalize"), "point of no return", "give --yes")
	o.does(0, "upgrade keystone --finalize --yes")
	says(o.does(1, "rollback keystone --to "+o.lastAt("2025.1")), "cannot take keystone from 2026.1 back to 2025.1")
	wants("2026.1", false)
	says(o.does(0, "changes"), "upgrade", "rollback")

	declared.workers = "4"
	o.does(0, "up --yes")
	says(o.does(0, "rollback keystone --yes"), "environment KEYSTONE_WORKERS 4 → 2")
	wants("2026.1", true)
	says(o.does(0, "up --yes"), "Nothing to do", "is held at generation", "environment KEYSTONE_WORKERS 2 → 4")
	wants("2026.1", true)
	says(o.does(0, "up keystone --unpin --yes"), "environment KEYSTONE_WORKERS 2 → 4", "kept")
	wants("2026.1", false)
}
