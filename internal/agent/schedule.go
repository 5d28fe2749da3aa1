// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"net/http"
	"time"

	"copse/internal/api"
	"copse/internal/change"
	"copse/internal/deploy"
	"copse/internal/plan"
	"copse/internal/schedule"
)

// timetable is what the scheduler asks and tells.
type timetable struct{ agent *Agent }

// Jobs implements schedule.Cloud.
func (t timetable) Jobs(context.Context) ([]schedule.Job, error) {
	jobs, err := t.agent.deployer.ScheduledJobs()
	if err != nil {
		return nil, err
	}
	list := make([]schedule.Job, 0, len(jobs))
	for _, j := range jobs {
		list = append(list, timed(j))
	}
	return list, nil
}

// Start implements schedule.Cloud. What keeps a job is said without what an operator would be told.
func (t timetable) Start(ctx context.Context, name string) error {
	err := t.agent.deployer.RunDue(ctx, name)
	var notNow *plan.NotNowError
	if errors.As(err, &notNow) {
		return notNow
	}
	return err
}

// timed is a job as the scheduler sees it.
func timed(j deploy.ScheduledJob) schedule.Job {
	return schedule.Job{
		Name: j.Container.Name, Every: j.Container.Job.Every,
		State: schedule.State{
			Since: j.Run.Since, Started: j.Run.Started,
			Running: j.Run.Change != 0 && j.Run.Ended.IsZero(),
			Failed:  !j.Run.Ended.IsZero() && j.Run.Status != change.Done && !j.Run.Aborted,
		},
	}
}

func (a *Agent) getJobs(w http.ResponseWriter, _ *http.Request) error {
	jobs, err := a.jobs()
	if err != nil {
		return err
	}
	a.answer(w, http.StatusOK, jobs)
	return nil
}

// jobs lists the jobs that have a timer as the API shows them.
func (a *Agent) jobs() ([]api.Job, error) {
	jobs, err := a.deployer.ScheduledJobs()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	answer := make([]api.Job, 0, len(jobs))
	for _, j := range jobs {
		answer = append(answer, wireJob(j, a.timers.Waits(j.Container.Name), now))
	}
	return answer, nil
}

func wireJob(j deploy.ScheduledJob, waits string, now time.Time) api.Job {
	c, run := j.Container, j.Run
	one := api.Job{
		Host: c.Host, Set: c.Set, Name: c.Name, Component: c.Component, EverySeconds: c.Job.Every.Seconds(),
		Change: run.Change, Kind: string(run.Kind), LastRun: moment(run.Started), LastSuccess: moment(j.Succeeded),
		Error: run.Error, Waits: waits,
	}
	next := schedule.Next(timed(j), now)
	switch {
	case run.Change == 0:
	case run.Ended.IsZero():
		one.Result = "doing"
		next = run.Started.Add(c.Job.Every)
	case run.Aborted:
		one.Result = "aborted"
	case run.Status == change.Done:
		one.Result = "done"
	default:
		one.Result = "error"
	}
	if !run.Ended.IsZero() {
		took := run.Ended.Sub(run.Started).Seconds()
		one.TookSeconds = &took
	}
	one.NextRun = moment(next)
	return one
}
