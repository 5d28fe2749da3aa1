// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"copse/internal/plan"
	"copse/internal/tree"
)

// withJobs is a document of two components with all kinds of jobs.
func withJobs() *tree.Document {
	container := func(name, component string, depends ...string) tree.Container {
		c := tree.Container{Host: "n", Set: "identity", Name: name, Component: component}
		for _, d := range depends {
			c.Depends = append(c.Depends, tree.Dependency{Name: d})
		}
		return c
	}
	job := func(phase tree.Phase, name, component string, depends ...string) tree.Container {
		c := container(name, component, depends...)
		c.Job = &tree.Job{Phase: phase}
		return c
	}
	return &tree.Document{Containers: []tree.Container{
		container("mariadb", "mariadb"),
		job("", "keystone-database", "keystone", "mariadb"),
		job(tree.Dump, "keystone-db-dump", "keystone", "mariadb"),
		job(tree.Expand, "keystone-db-expand", "keystone", "keystone-db-dump", "keystone-database"),
		job(tree.Contract, "keystone-db-contract", "keystone"),
		job("", "keystone-report", "keystone"),
		container("keystone", "keystone", "keystone-db-expand", "mariadb"),
		job(tree.Expand, "glance-db-expand", "glance", "keystone"),
		container("glance-api", "glance", "glance-db-expand", "keystone"),
	}}
}

// What is upgraded with a container: the jobs of its component that it waits for, however far, and
// those that have a part in an upgrade; nothing of another component.
func TestTogether(t *testing.T) {
	jobs := []string{"keystone-database", "keystone-db-contract", "keystone-db-dump", "keystone-db-expand"}
	for name, test := range map[string]struct {
		names        []string
		chosen, jobs []string
	}{
		"a container": {[]string{"keystone"}, []string{"keystone", "keystone-database", "keystone-db-contract", "keystone-db-dump", "keystone-db-expand"}, jobs},
		"a component": {[]string{"component/glance"}, []string{"glance-api", "glance-db-expand"}, nil},
		"without jobs": {
			[]string{"mariadb"}, []string{"mariadb"}, nil,
		},
		"a job": {[]string{"keystone-db-expand"}, jobs, []string{"keystone-database", "keystone-db-contract", "keystone-db-dump"}},
		"everything": {nil, []string{
			"glance-api", "glance-db-expand", "keystone", "keystone-database", "keystone-db-contract", "keystone-db-dump", "keystone-db-expand", "keystone-report", "mariadb",
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			chosen, extra, err := together(withJobs(), test.names)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.chosen, chosen); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(append([]string{}, test.jobs...), append([]string{}, extra...)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, _, err := together(withJobs(), []string{"keyston"}); err == nil {
		t.Error("an unknown name is upgraded")
	}
}

// The way back and the way on after an upgrade are those of what it did.
func TestAfterUpgrade(t *testing.T) {
	for want, steps := range map[string][]plan.Step{
		"`copse rollback keystone` goes back": {{Rollback: tree.RollbackFree}},
		"`copse rollback keystone` goes back; once all is well, `copse upgrade keystone --finalize` ends it":        {{Phase: tree.Expand}, {Rollback: tree.RollbackUntilContract}},
		"`copse rollback keystone --restore` goes back, and loses what is written from now on":                      {{Rollback: tree.RollbackFree}, {Rollback: tree.RollbackByRestore}},
		"the release before is left behind: a rollback to it needs --restore and loses what is written from now on": {{Rollback: tree.RollbackUntilContract}, {NoReturn: true}},
	} {
		if got := afterUpgrade(&plan.Plan{Steps: steps}, []string{"keystone"}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := afterUpgrade(&plan.Plan{}, nil); got != "`copse rollback` goes back" {
		t.Errorf("%q", got)
	}
}

func TestGenerationNumber(t *testing.T) {
	for in, want := range map[string]int{"": 0, "41": 41, "keystone.41": 41, "a.b.7": 7} {
		if got, err := generationNumber(in); err != nil || got != want {
			t.Errorf("%q is read as %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"0", "-1", "keystone", "keystone.", "1.5x", "keystone.0"} {
		if got, err := generationNumber(in); err == nil {
			t.Errorf("%q is read as %d, want an error", in, got)
		}
	}
}

// What a reference says is enough to build the image again.
func TestImageOf(t *testing.T) {
	image, err := imageOf("copse/keystone:2026.1-0f1e2d3c4b5a")
	if want := (tree.Image{Name: "keystone", Release: "2026.1", Reference: "copse/keystone:2026.1-0f1e2d3c4b5a"}); err != nil || image != want {
		t.Errorf("got %+v, %v", image, err)
	}
	for _, foreign := range []string{"registry.example/nginx:1.27", "nginx", "copse/keystone:-1"} {
		if image, err := imageOf(foreign); err == nil {
			t.Errorf("%q is taken for %+v", foreign, image)
		}
	}
}
