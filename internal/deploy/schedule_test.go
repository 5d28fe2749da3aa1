// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"copse/internal/change"
	"copse/internal/plan"
	"copse/internal/tree"
)

// timed is the cloud with a job that turns keys every day.
func timed(modify ...func(*tree.Container)) *tree.Document {
	doc := cloud()
	rotate := *doc.Container("api-db-sync")
	rotate.Name = "api-rotate"
	rotate.Job = &tree.Job{Timeout: time.Minute, Every: 24 * time.Hour, Writes: []string{"copse_db"}}
	for _, m := range modify {
		m(&rotate)
	}
	doc.Containers = append(doc.Containers, rotate)
	return doc
}

// only returns the one job that has a timer.
func (l *life) only(t *testing.T) ScheduledJob {
	t.Helper()
	jobs, err := l.deployer.ScheduledJobs()
	if err != nil {
		t.Fatal(err)
	}
	if len(jobs) != 1 || jobs[0].Container.Name != "api-rotate" {
		t.Fatalf("there are the jobs %v; want api-rotate alone", jobs)
	}
	return jobs[0]
}

func (l *life) last(t *testing.T) *change.Change {
	t.Helper()
	changes, err := l.deployer.ListChanges()
	if err != nil {
		t.Fatal(err)
	}
	c, _ := l.wait(changes[0].ID)
	return c
}

func TestScheduledRun(t *testing.T) {
	w := newWorld(t)
	mustEnd(t, w.do(up(timed())), change.Done)
	l := w.begin(0)
	defer l.end()
	ctx := context.Background()

	job := l.only(t)
	declared := job.Run.Since
	if job.Run.Change != 0 || declared.IsZero() || declared.After(w.clock.Now()) || !job.Succeeded.IsZero() {
		t.Fatalf("before its first run the record is %+v", job.Run)
	}
	before, err := l.deployer.Plan(ctx, up(timed()))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.clock.Sleep(ctx, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := l.deployer.RunDue(ctx, "api-rotate"); err != nil {
		t.Fatal(err)
	}
	c := l.last(t)
	mustEnd(t, c, change.Done)
	if c.Kind != "scheduled" || c.User != "schedule" || c.Summary != "run api-rotate (1 step)" {
		t.Errorf("the change is %q of %q: %q", c.Kind, c.User, c.Summary)
	}
	job = l.only(t)
	if job.Run.Change != c.ID || job.Run.Status != change.Done || job.Run.Kind != plan.Scheduled || job.Run.Ended.IsZero() || job.Succeeded.IsZero() {
		t.Errorf("after its run the record is %+v", job.Run)
	}
	if !job.Run.Since.Equal(declared) {
		t.Errorf("it was first seen at %s, and after a run at %s", declared, job.Run.Since)
	}
	// An operator who looks at a plan meanwhile is not sent back.
	after, err := l.deployer.Plan(ctx, up(timed()))
	if err != nil {
		t.Fatal(err)
	}
	if after.Revision != before.Revision || !after.Empty() {
		t.Errorf("a run on a timer moved the revision from %d to %d, or left %d steps", before.Revision, after.Revision, len(after.Steps))
	}
}

func TestScheduledRunFails(t *testing.T) {
	w := newWorld(t)
	mustEnd(t, w.do(up(timed(mode("fail")))), change.Done)
	c := w.do(Request{Kind: plan.RunNow, User: "kim", Options: plan.Options{Names: []string{"api-rotate"}}})
	mustEnd(t, c, change.Error)
	l := w.begin(0)
	defer l.end()
	job := l.only(t)
	if job.Run.Status != change.Error || job.Run.Error == "" || job.Run.Kind != plan.RunNow || !job.Succeeded.IsZero() {
		t.Errorf("after a run that failed the record is %+v, its last success %s", job.Run, job.Succeeded)
	}
	if serving := w.serving(); len(serving) != 4 {
		t.Errorf("%v run; a job that failed must leave the four services alone", serving)
	}
}

// A stopped database is an operator's wish, and a change at work on the same component has the right of way.
func TestScheduledRunWaits(t *testing.T) {
	w := newWorld(t)
	mustEnd(t, w.do(up(timed())), change.Done)
	ctx := context.Background()
	l := w.begin(0)
	defer l.end()
	going, goOn := make(chan struct{}), make(chan struct{})
	w.engine.Fault = func(op, object string) error {
		if op == "Stop" && strings.HasPrefix(object, "api.") {
			close(going)
			<-goOn
		}
		return nil
	}
	c, _, err := l.deployer.Submit(ctx, Request{Kind: plan.Stop, Options: plan.Options{Names: []string{"api"}}})
	if err != nil {
		t.Fatal(err)
	}
	<-going
	var conflict *change.ConflictError
	if err := l.deployer.RunDue(ctx, "api-rotate"); !errors.As(err, &conflict) || conflict.Change != c.ID {
		t.Errorf("while api is being stopped: %v; want a conflict with change %d", err, c.ID)
	}
	close(goOn)
	l.wait(c.ID)
	w.engine.Fault = nil
	if c, _, err = l.deployer.Submit(ctx, Request{Kind: plan.Stop, Options: plan.Options{Names: []string{"db"}}}); err != nil {
		t.Fatal(err)
	}
	l.wait(c.ID)
	var notNow *plan.NotNowError
	if err := l.deployer.RunDue(ctx, "api-rotate"); !errors.As(err, &notNow) || notNow.Needs[0] != "db" {
		t.Errorf("with the database stopped: %v; want that it needs db", err)
	}
}

func TestAround(t *testing.T) {
	doc := timed()
	got := map[string]bool{}
	for _, s := range around(doc, doc.Container("api-rotate")) {
		got[s] = true
	}
	for name, want := range map[string]bool{"api-rotate": true, "api": true, "api-db-sync": true, "db": true, "worker": false, "proxy": false} {
		if got[containerKey(testHost, name)] != want {
			t.Errorf("%s in %v; want %t", name, got, want)
		}
	}
}

// A secret that was rotated and not brought to the services yet would lock a job out.
func TestRunUsesTheSecretsInUse(t *testing.T) {
	w := newWorld(t)
	mustEnd(t, w.do(up(timed())), change.Done)
	l := w.begin(0)
	defer l.end()
	if err := l.deployer.RotateSecret(cloud().Secrets[0]); err != nil {
		t.Fatal(err)
	}
	if err := l.deployer.RunDue(context.Background(), "api-rotate"); err != nil {
		t.Fatal(err)
	}
	mustEnd(t, l.last(t), change.Done)
	active, err := l.deployer.Active()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := active["api-rotate"].SecretVersions["db_password"], active["db"].SecretVersions["db_password"]; got != want {
		t.Errorf("it ran with version %d of the password, and the database knows %d", got, want)
	}
}
