// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"copse/internal/tree"
)

// NotNowError says what keeps a job from being run: containers that it needs and that do not run.
type NotNowError struct {
	Job string
	// Needs are the containers that it waits for, in the order of their names.
	Needs []string
}

// Error implements error.
func (e *NotNowError) Error() string {
	return fmt.Sprintf("cannot run %s: what it needs does not run or has not been made yet: %s: \"copse up %s\" first",
		e.Job, strings.Join(e.Needs, ", "), e.Needs[0])
}

// Runs reports whether a kind of change runs jobs and does nothing else.
func (k Kind) Runs() bool { return k == RunNow || k == Scheduled }

// runJobs plans to run the named jobs, whatever they did before. Other than in up, nothing is done for
// what they depend on: who asks for a job does not ask for a database to be started.
func (m *maker) runJobs(kind Kind) error {
	if m.whole {
		return fmt.Errorf("cannot run a job: no name is given: \"copse jobs\" lists those that can be run")
	}
	cause := "asked for"
	for _, name := range m.order {
		c := m.declared[name]
		if !m.selected[name] {
			continue
		}
		switch {
		case c.Job == nil:
			return fmt.Errorf("cannot run %s: it is a service and no job: \"copse restart %s\" starts it anew", name, name)
		case c.Job.Phase != "":
			return fmt.Errorf("cannot run %s by itself: it is part of an upgrade: \"copse upgrade\" and \"copse rollback\" run it in its place", name)
		}
		if needs := m.away(c); len(needs) > 0 {
			return &NotNowError{Job: name, Needs: needs}
		}
		if kind == Scheduled {
			cause = "due every " + inWords(c.Job.Every)
		}
		m.add(m.step(c, Run, cause))
	}
	m.missingImages()
	return nil
}

// inWords writes a time between runs as an operator would: 24h and not 24h0m0s.
func inWords(d time.Duration) string {
	if d%time.Hour == 0 {
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.String()
}

// everRuns reports whether a job has run once a cloud has been brought up.
func everRuns(job *tree.Job) bool {
	return job.Every == 0 && (job.Phase == "" || job.Phase == tree.Expand || job.Phase == tree.Contract)
}

// away names what a job depends on, directly or not, and what is not there.
func (m *maker) away(job *tree.Container) []string {
	var names []string
	seen := map[string]bool{}
	var visit func(c *tree.Container)
	visit = func(c *tree.Container) {
		for _, d := range c.Depends {
			on := m.declared[d.Name]
			if on == nil || seen[d.Name] {
				continue
			}
			seen[d.Name] = true
			visit(on)
			if on.Job != nil && !everRuns(on.Job) {
				continue
			}
			if active := m.state.Active[d.Name]; active == nil {
				names = append(names, d.Name)
			} else if on.Job == nil {
				if o := m.state.find(active); o == nil || !o.Running {
					names = append(names, d.Name)
				}
			}
		}
	}
	visit(job)
	slices.Sort(names)
	return names
}
