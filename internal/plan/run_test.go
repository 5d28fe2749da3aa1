// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"copse/internal/tree"
)

// scheduled is the chain with a job on a timer that waits for b, and has been brought up.
func scheduled(t *testing.T) (*tree.Document, *State) {
	t.Helper()
	doc := chain()
	rotate := job("rotate", "v", "b")
	rotate.Job.Every = 24 * time.Hour
	doc.Containers = append(doc.Containers, rotate)
	state := empty()
	p, err := makePlan(Up, doc, state, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(p.String(), "rotate") {
		t.Fatalf("up runs a job that has a timer:\n%s", p)
	}
	apply(p, doc, state)
	state.Images = map[string]bool{"copse/rotate:1": true, "copse/j:1": true}
	return doc, state
}

func TestScheduledJobsAreNotUps(t *testing.T) {
	doc, state := scheduled(t)
	doc.Container("rotate").Spec.Image = "copse/rotate:2"
	for _, names := range [][]string{nil, {"rotate"}} {
		p, err := makePlan(Up, doc, state, Options{Names: names})
		if err != nil {
			t.Fatal(err)
		}
		if !p.Empty() {
			t.Errorf("up %v is to do something about a job on a timer:\n%s", names, p)
		}
	}
}

func TestRunJobs(t *testing.T) {
	doc, state := scheduled(t)
	for kind, want := range map[Kind]string{
		RunNow: "run rotate: asked for\n0 unchanged\n", Scheduled: "run rotate: due every 24h\n0 unchanged\n",
	} {
		p, err := makePlan(kind, doc, state, Options{Names: []string{"rotate"}})
		if err != nil {
			t.Fatal(err)
		}
		if p.String() != want {
			t.Errorf("%s:\n%swant:\n%s", kind, p, want)
		}
	}
	// A job without a timer may be run again by hand.
	if p, err := makePlan(RunNow, doc, state, Options{Names: []string{"j"}}); err != nil || len(p.Steps) != 1 || p.Steps[0].Action != Run {
		t.Errorf("running j by hand: %v, %v", p, err)
	}
}

func TestRunRefused(t *testing.T) {
	doc, state := scheduled(t)
	doc.Container("j").Job.Phase = tree.Contract
	for name, part := range map[string]string{"a": "it is a service and no job", "j": "part of an upgrade", "": "no name is given"} {
		options := Options{}
		if name != "" {
			options.Names = []string{name}
		}
		if _, err := makePlan(RunNow, doc, state, options); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("running %q: %v; want an error with %q", name, err, part)
		}
	}
}

// What a job needs, however far away, must be there: a timer does not start a database that an
// operator has stopped.
func TestRunWaitsForWhatItNeeds(t *testing.T) {
	doc, state := scheduled(t)
	for i := range state.Observed {
		if state.Observed[i].Container == "a" {
			state.Observed[i].Running = false
		}
	}
	delete(state.Active, "b")
	_, err := makePlan(Scheduled, doc, state, Options{Names: []string{"rotate"}})
	var notNow *NotNowError
	if !errors.As(err, &notNow) || notNow.Job != "rotate" || !slices.Equal(notNow.Needs, []string{"a", "b"}) {
		t.Fatalf("got %v; want that rotate needs a and b", err)
	}
}
