// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"copse/internal/tree"
)

// TestCatalogueMigrates holds each component that has a database to the phases of an upgrade, their order,
// and what each of them may touch.
func TestCatalogueMigrates(t *testing.T) {
	doc := load(t, defaults(t))
	databases := map[string][]string{
		"glance": {"glance"}, "keystone": {"keystone"}, "neutron": {"neutron"},
		"nova": {"nova_api", "nova_cell0", "nova"}, "placement": {"placement"},
	}
	for component, names := range databases {
		job := func(phase tree.Phase) *tree.Container {
			t.Helper()
			c := doc.Container(component + "-db-" + string(phase))
			if c == nil || c.Job == nil || c.Job.Phase != phase || c.Component != component {
				t.Fatalf("%s has no job %s-db-%s of that phase", component, component, phase)
			}
			return c
		}
		dump, rehearse, expand, contract, restore := job(tree.Dump), job(tree.Rehearse), job(tree.Expand), job(tree.Contract), job(tree.Restore)
		for _, c := range []*tree.Container{dump, restore} {
			want := append([]string{"/bin/bash", "/etc/copse/dump.sh", string(c.Job.Phase), component}, names...)
			if !slices.Equal(c.Spec.Command, want) {
				t.Errorf("%s runs %q, want %q", c.Name, c.Spec.Command, want)
			}
			mustDependOn(t, c, "databases")
		}
		mustDependOn(t, rehearse, dump.Name)
		mustDependOn(t, expand, "databases", rehearse.Name)
		mustDependOn(t, contract, expand.Name)
		// What is rehearsed is rehearsed on copies alone.
		copies := 0
		for name, value := range rehearse.Spec.Environment {
			if strings.Contains(value, "mysql+pymysql://") {
				copies++
				if !strings.Contains(value, "_rehearsal?") {
					t.Errorf("%s: %s is no copy: %s", rehearse.Name, name, value)
				}
			}
		}
		if copies == 0 {
			t.Errorf("%s is not told which database to use", rehearse.Name)
		}
		for _, name := range names {
			if !strings.Contains(strings.Join(rehearse.Spec.Command, " "), " "+name+"_rehearsal") {
				t.Errorf("%s leaves the copy of %s behind", rehearse.Name, name)
			}
		}
	}
	// Whatever uses a database, other than to migrate it, finds it expanded.
	for i := range doc.Containers {
		c := &doc.Containers[i]
		for component := range databases {
			uses := slices.ContainsFunc(c.Secrets, func(m tree.SecretMount) bool { return m.Name == component+"_database" })
			reads := c.Job == nil || slices.ContainsFunc(c.Spec.Command, func(word string) bool { return strings.Contains(word, "bootstrap") })
			if c.Component == component && uses && reads && !reaches(doc, c.Name, component+"-db-expand", false) {
				t.Errorf("%s may start before %s-db-expand has run", c.Name, component)
			}
		}
	}
}

// TestCatalogueSaysHowToGoBack holds each rollback class to the jobs that it takes, and sees that nothing
// waits for what does not run when a cloud is made.
func TestCatalogueSaysHowToGoBack(t *testing.T) {
	doc := load(t, defaults(t))
	phases := map[string]map[tree.Phase]bool{}
	for i := range doc.Containers {
		c := &doc.Containers[i]
		if phases[c.Component] == nil {
			phases[c.Component] = map[tree.Phase]bool{}
		}
		if c.Job != nil {
			phases[c.Component][c.Job.Phase] = true
		}
	}
	until := []string{"keystone", "glance-api", "placement-api", "nova-api", "nova-metadata", "nova-conductor", "nova-scheduler", "nova-novncproxy", "nova-compute", "neutron-api", "neutron-rpc-server", "neutron-periodic-workers"}
	restored := []string{"rabbitmq"}
	for i := range doc.Containers {
		c := &doc.Containers[i]
		want, needs := tree.RollbackFree, []tree.Phase(nil)
		switch {
		case slices.Contains(until, c.Name):
			want, needs = tree.RollbackUntilContract, []tree.Phase{tree.Dump, tree.Expand, tree.Contract, tree.Restore}
		case slices.Contains(restored, c.Name):
			want, needs = tree.RollbackByRestore, []tree.Phase{tree.Expand, tree.Restore}
		}
		if c.Update.Rollback != want {
			t.Errorf("%s: rollback class %q, want %q", c.Name, c.Update.Rollback, want)
		}
		for _, phase := range needs {
			if !phases[c.Component][phase] {
				t.Errorf("%s goes back %q, and %s has no job of phase %s", c.Name, want, c.Component, phase)
			}
		}
		for _, d := range c.Depends {
			if on := doc.Container(d.Name); on.Job != nil && slices.Contains([]tree.Phase{tree.Contract, tree.Revert, tree.Restore}, on.Job.Phase) {
				t.Errorf("%s waits for %s, of phase %s", c.Name, d.Name, on.Job.Phase)
			}
		}
		if c.Update.Monitor > 0 && c.Update.Order != tree.StartFirst {
			t.Errorf("%s is away for the %s that it is on trial", c.Name, c.Update.Monitor)
		}
	}
	if c := doc.Container("mariadb"); !c.Update.Hold || c.Update.Order != tree.StopFirst {
		t.Error("the database is replaced without requests being held")
	}
	if !phases["nova"][tree.Revert] {
		t.Error("nova has no job that sets back what a newer release has registered")
	}
}

// TestCatalogueUpgradesInOrder follows the order of an upgrade of everything: what others use before those who use it.
func TestCatalogueUpgradesInOrder(t *testing.T) {
	doc := load(t, defaults(t))
	order := [][]string{
		{"rabbitmq"}, {"mariadb"}, {"memcached"}, {"keystone"}, {"glance-api", "placement-api"}, {"nova-conductor"}, {"nova-scheduler"},
		{"nova-api", "nova-metadata"}, {"neutron-api", "neutron-rpc-server", "neutron-periodic-workers"},
		{"neutron-openvswitch-agent", "neutron-dhcp-agent", "neutron-l3-agent", "neutron-metadata-agent"}, {"nova-libvirt"}, {"nova-compute"},
	}
	for i := range order[1:] {
		for _, later := range order[i+1] {
			for _, earlier := range order[i] {
				if !reaches(doc, later, earlier, true) {
					t.Errorf("%s may be replaced before %s", later, earlier)
				}
			}
		}
	}
}

// TestRenderComposeLeavesUpgradesOut sees that Compose runs no job of an upgrade or a rollback.
func TestRenderComposeLeavesUpgradesOut(t *testing.T) {
	rendered, err := RenderCompose(load(t, defaults(t)), RenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"keystone-db-dump", "keystone-db-rehearse", "keystone-db-restore", "nova-revert", "rabbitmq-reset"} {
		if strings.Contains(string(rendered), name) {
			t.Errorf("%s is rendered", name)
		}
	}
	if !strings.Contains(string(rendered), "keystone-db-expand:") {
		t.Error("keystone-db-expand is not rendered")
	}
}

// TestProgramsKeepTheirDollars gives a set a program as a config.
func TestProgramsKeepTheirDollars(t *testing.T) {
	for program, want := range map[string]string{
		"#!/bin/sh\necho ${WORKERS} $1\n": "#!/bin/sh\necho ${WORKERS} $1\n",
		"echo ${WORKERS} $$1\n":           "echo 2 $1\n",
	} {
		opts := defaults(t)
		files := with(t, baseFile, `{content: "workers=${WORKERS}"}`, "{file: program}").(fstest.MapFS)
		files["sets/base/program"] = &fstest.MapFile{Data: []byte(program)}
		opts.Catalogue = files
		if got := load(t, opts).Container("db").Files[0].Content; got != want {
			t.Errorf("%q becomes %q, want %q", program, got, want)
		}
	}
}

func mustDependOn(t *testing.T, c *tree.Container, names ...string) {
	t.Helper()
	for _, name := range names {
		if !slices.Contains(c.Depends, tree.Dependency{Name: name, Condition: tree.Completed}) {
			t.Errorf("%s does not wait until %s has completed: %s", c.Name, name, fmt.Sprint(c.Depends))
		}
	}
}

// reaches reports whether a container comes after another, by what it depends on and, for replacements, by
// the order that is declared for these.
func reaches(doc *tree.Document, from, to string, replaced bool) bool {
	seen := map[string]bool{}
	var visit func(name string) bool
	visit = func(name string) bool {
		c := doc.Container(name)
		if c == nil || seen[name] {
			return false
		}
		seen[name] = true
		next := []string{}
		for _, d := range c.Depends {
			next = append(next, d.Name)
		}
		if replaced {
			next = append(next, c.Update.ReplaceAfter...)
		}
		return slices.Contains(next, to) || slices.ContainsFunc(next, visit)
	}
	return visit(from)
}
