// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"copse/internal/change"
	"copse/internal/plan"
	"copse/internal/tree"
)

// hosted is the cloud with two sets that ask something of the host.
func hosted() *tree.Document {
	doc := cloud()
	doc.HostPrep = []tree.HostPrep{
		{Host: testHost, Set: "database-control", SharedMounts: []string{"/run/db"}},
		{Host: "elsewhere", Set: "database-control", SharedMounts: []string{"/run/elsewhere"}},
		{Host: testHost, Set: "openstack-control", SharedMounts: []string{"/run/worker", "/run/db"}},
	}
	return doc
}

// moreHosted is that with something to replace as well.
func moreHosted() *tree.Document {
	doc := hosted()
	mode("better")(doc.Container("worker"))
	return doc
}

func TestPrepareHost(t *testing.T) {
	w := newWorld(t)
	mustPlan(t, w, up(hosted()), `
prepare-host host1: /run/db is not a shared mount; /run/worker is not a shared mount
create db: not created yet
run api-db-sync: has not run yet after db
create api: not created yet after api-db-sync, db
create proxy: not created yet
create worker: not created yet after api
0 unchanged
`)
	// Only what the named containers need, and nothing of other hosts.
	mustPlan(t, w, up(hosted(), "db"), `
prepare-host host1: /run/db is not a shared mount
create db: not created yet
0 unchanged
`)
	mustPlan(t, w, up(hosted(), "proxy"), "create proxy: not created yet\n0 unchanged\n")

	c := w.do(up(hosted()))
	mustEnd(t, c, change.Done)
	w.check()
	if c.Tasks[0].Kind != taskPrepareHost || len(c.Tasks[0].Log) != 2 {
		t.Errorf("the first task is %s, with the log %v", c.Tasks[0].Kind, c.Tasks[0].Log)
	}
	for _, task := range c.Tasks[1:] {
		if task.Kind == taskCreate && !slices.Contains(task.WaitFor, c.Tasks[0].ID) {
			t.Errorf("task %q does not wait for the host", task.Summary)
		}
	}
	mustPlan(t, w, up(hosted()), "5 unchanged\n")

	// After a reboot: what is not on disk is gone.
	delete(w.prepared, "/run/worker")
	mustPlan(t, w, up(hosted()), "prepare-host host1: /run/worker is not a shared mount\n5 unchanged\n")
	mustPlan(t, w, Request{Kind: plan.Start}, "prepare-host host1: /run/worker is not a shared mount\n4 unchanged\n")
	if p := w.plan(Request{Kind: plan.Stop}); len(p.Steps) != 4 {
		t.Errorf("to stop, the host is prepared:\n%s", p)
	}
	mustEnd(t, w.do(Request{Kind: plan.Restart, Options: plan.Options{Names: []string{"worker"}}}), change.Done)
	if !w.prepared["/run/worker"] {
		t.Error("worker was restarted without its host")
	}
}

// TestPrepareHostAtStart is what an agent does first. What was mounted tells it who has to be started again.
func TestPrepareHostAtStart(t *testing.T) {
	w := newWorld(t)
	prepare := func() (mounted, said []string, err error) {
		l := w.begin(0)
		defer l.end()
		mounted, err = l.deployer.PrepareHost(context.Background(), func(text string) { said = append(said, text) })
		return mounted, said, err
	}
	if mounted, said, err := prepare(); err != nil || said != nil || mounted != nil {
		t.Errorf("without a cloud: %q, %q, %v", mounted, said, err)
	}
	mustEnd(t, w.do(up(hosted())), change.Done)
	if mounted, said, err := prepare(); err != nil || said != nil || mounted != nil {
		t.Errorf("of a host that is prepared: %q, %q, %v", mounted, said, err)
	}
	clear(w.prepared)
	w.refused["/run/db"] = true
	mounted, said, err := prepare()
	if err == nil || !strings.Contains(err.Error(), "/run/db is no directory") || !slices.Equal(said, []string{"/run/worker is a shared mount now"}) ||
		!slices.Equal(mounted, []string{"/run/worker"}) {
		t.Errorf("one thing cannot be had: %q, %q, %v", mounted, said, err)
	}
	delete(w.refused, "/run/db")
	mounted, said, err = prepare()
	if err != nil || !slices.Equal(said, []string{"/run/db is a shared mount now"}) || !slices.Equal(mounted, []string{"/run/db"}) {
		t.Errorf("after a reboot: %q, %q, %v", mounted, said, err)
	}
}

func TestRefusedHost(t *testing.T) {
	w := newWorld(t)
	w.refused["/run/db"] = true
	l := w.begin(0)
	defer l.end()
	_, _, err := l.deployer.Submit(context.Background(), up(hosted()))
	if !errors.Is(err, ErrInvalid) || strings.Count(err.Error(), "/run/db is no directory") != 1 {
		t.Errorf("error %v does not say once what is in the way", err)
	}
	if len(w.prepared) > 0 {
		t.Errorf("%v was done all the same", w.prepared)
	}
	if c, _, err := l.deployer.Submit(context.Background(), up(hosted(), "proxy")); err != nil || c == nil {
		t.Errorf("what does not need it is refused as well: %v", err)
	} else {
		l.wait(c.ID)
	}
}

// TestHostStaysPrepared holds that an undone change takes nothing of the host's back.
func TestHostStaysPrepared(t *testing.T) {
	w := newWorld(t)
	doc := hosted()
	mode("never-ready")(doc.Container("worker"))
	c := w.do(Request{Kind: plan.Up, Document: doc, Atomic: true})
	mustEnd(t, c, change.Error)
	w.check()
	if log := c.Tasks[0].Log; len(log) == 0 || log[len(log)-1].Text != "the host stays prepared" {
		t.Errorf("it does not say so: %v", log)
	}
	if !w.prepared["/run/worker"] || !w.prepared["/run/db"] {
		t.Errorf("only %v is left", w.prepared)
	}
}
