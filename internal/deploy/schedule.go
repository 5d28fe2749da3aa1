// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"copse/internal/change"
	"copse/internal/plan"
	"copse/internal/store"
	"copse/internal/tree"
)

// jobBucket has what is known of the runs of jobs with a timer: host/name → JobRun.
const jobBucket = "jobs"

// scheduler is who asks for what is due, in the history.
const scheduler = "schedule"

// JobRun is what is known of the runs of a job that has a timer.
type JobRun struct {
	// Since is when the job was first declared.
	Since time.Time `json:"since"`
	// Change is that of the last run, 0 where there was none.
	Change int `json:"change,omitempty"`
	// Kind is that change's: RunNow or Scheduled.
	Kind    plan.Kind `json:"kind,omitempty"`
	Started time.Time `json:"started,omitzero"`
	// Ended is zero while it runs.
	Ended time.Time `json:"ended,omitzero"`
	// Status and Error are the change's, once it has ended.
	Status change.Status `json:"status,omitempty"`
	Error  string        `json:"error,omitempty"`
	// Aborted is set where an operator has ended it.
	Aborted bool `json:"aborted,omitempty"`
}

// ScheduledJob is a declared job that has a timer, with its last run.
type ScheduledJob struct {
	Container *tree.Container
	Run       JobRun
	// Succeeded is when it last ended well, zero where it never did.
	Succeeded time.Time
}

// ScheduledJobs returns the jobs of this host that have a timer, in the document's order, and brings what
// is known of their runs up to date.
func (d *Deployer) ScheduledJobs() ([]ScheduledJob, error) {
	jobs, changed, err := d.readJobs()
	if err != nil || len(changed) == 0 {
		return jobs, err
	}
	err = d.Store.Update(func(tx *store.Tx) error {
		for _, i := range changed {
			key := containerKey(d.HostName, jobs[i].Container.Name)
			var now JobRun
			if _, err := store.Get(tx, jobBucket, key, &now); err != nil {
				return err
			}
			if now.Change > jobs[i].Run.Change {
				jobs[i].Run = now // it was started meanwhile
				continue
			}
			if err := store.Put(tx, jobBucket, key, jobs[i].Run); err != nil {
				return err
			}
		}
		return nil
	})
	return jobs, err
}

// readJobs reads the jobs, and returns the positions of those whose stored record is out of date.
func (d *Deployer) readJobs() (jobs []ScheduledJob, changed []int, err error) {
	err = d.Store.View(func(tx *store.Tx) error {
		doc, err := loadDocument(tx)
		if err != nil || doc == nil {
			return err
		}
		for i := range doc.Containers {
			c := &doc.Containers[i]
			if c.Host != d.HostName || c.Job == nil || c.Job.Every <= 0 {
				continue
			}
			job := ScheduledJob{Container: c}
			known, err := store.Get(tx, jobBucket, containerKey(d.HostName, c.Name), &job.Run)
			if err != nil {
				return err
			}
			if !known {
				job.Run.Since = d.Clock.Now()
			}
			ended, err := job.Run.settle(tx)
			if err != nil {
				return err
			}
			active, err := loadActive(tx, d.HostName, c.Name)
			if err != nil {
				return err
			}
			if active != nil {
				job.Succeeded = active.Activated
			}
			if ended || !known {
				changed = append(changed, len(jobs))
			}
			jobs = append(jobs, job)
		}
		return nil
	})
	return jobs, changed, err
}

// settle takes over how the last run ended, and reports whether it has now.
func (r *JobRun) settle(tx *store.Tx) (bool, error) {
	if r.Change == 0 || !r.Ended.IsZero() {
		return false, nil
	}
	c, err := change.Load(tx, r.Change)
	if errors.Is(err, change.ErrNotFound) {
		// Forgotten before anybody looked, which takes hundreds of changes.
		r.Ended, r.Status, r.Error = r.Started, change.Error, fmt.Sprintf("how change %d ended is not known any more", r.Change)
		return true, nil
	}
	if err != nil || c.Ended.IsZero() {
		return false, err
	}
	r.Ended, r.Status, r.Aborted = c.Ended, c.Status(), c.Aborted != nil
	if err := c.Err(); err != nil {
		r.Error = err.Error()
	}
	return true, nil
}

// RunDue starts a job whose time has come. It is refused (*change.ConflictError) while another change is
// at work on the job, on its component or on what it needs, and (*plan.NotNowError) while something that
// it needs does not run.
func (d *Deployer) RunDue(ctx context.Context, name string) error {
	doc, err := d.Document()
	if err != nil {
		return err
	}
	if doc == nil {
		return ErrNothingDeclared
	}
	c := doc.Container(name)
	if c == nil {
		return &tree.UnknownNameError{Name: name}
	}
	if err := d.runner.Busy(around(doc, c)); err != nil {
		return err
	}
	_, _, err = d.Submit(ctx, Request{Kind: plan.Scheduled, User: scheduler, Options: plan.Options{Names: []string{name}}})
	return err
}

// around returns the subjects that must rest while a job runs by its timer: those of its component, and
// all that it depends on.
func around(doc *tree.Document, job *tree.Container) []string {
	var subjects []string
	seen := map[string]bool{}
	var visit func(c *tree.Container)
	visit = func(c *tree.Container) {
		if c == nil || seen[c.Name] {
			return
		}
		seen[c.Name] = true
		subjects = append(subjects, containerKey(c.Host, c.Name))
		for _, on := range c.Depends {
			visit(doc.Container(on.Name))
		}
	}
	visit(job)
	for i := range doc.Containers {
		if c := &doc.Containers[i]; c.Component == job.Component && !seen[c.Name] {
			seen[c.Name] = true
			subjects = append(subjects, containerKey(c.Host, c.Name))
		}
	}
	return subjects
}

// recordRuns writes down which change runs the jobs of a plan.
func (d *Deployer) recordRuns(tx *store.Tx, kind plan.Kind, id int, p *plan.Plan) error {
	for _, s := range p.Steps {
		key := containerKey(d.HostName, s.Container)
		run := JobRun{Since: d.Clock.Now()}
		if _, err := store.Get(tx, jobBucket, key, &run); err != nil {
			return err
		}
		run = JobRun{Since: run.Since, Change: id, Kind: kind, Started: d.Clock.Now()}
		if err := store.Put(tx, jobBucket, key, run); err != nil {
			return err
		}
	}
	return nil
}
