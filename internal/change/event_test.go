// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// brief renders an event for comparison.
func brief(e Event) string {
	s := fmt.Sprintf("%d %s", e.Seq, e.Type)
	if e.Task != 0 {
		s += fmt.Sprintf(" t%d", e.Task)
	}
	if e.Status != "" {
		s += " " + string(e.Status)
	}
	if e.Total != 0 {
		s += fmt.Sprintf(" %d/%d", e.Done, e.Total)
	}
	return s
}

func collect(events <-chan Event) []string {
	var all []string
	for e := range events {
		all = append(all, brief(e))
	}
	return all
}

func TestEventsInOrder(t *testing.T) {
	h, open := gate()
	r := startRunner(t, map[string]Handler{"gate": {Do: func(ctx context.Context, t *Run) error {
		if err := h.Do(ctx, t); err != nil {
			return err
		}
		t.Progress(1, 3, "pulling")
		t.Log("a line")
		t.Progress(2, 3, "pulling")
		return nil
	}}, "nop": {Do: nop}}, Options{})
	other := submit(t, r, one("nop"))
	wait(t, r, other.ID) // events 1 to 4
	c := submit(t, r, one("gate"))
	events := r.Subscribe(t.Context(), c.ID, 0)
	var got []string
	got = append(got, brief(<-events), brief(<-events)) // the subscriber is up to date
	open()
	wait(t, r, c.ID)
	got = append(got, collect(events)...)

	stored := []string{"5 change-created", "6 task-status t1 doing", "7 task-status t1 done", "8 change-ended done"}
	// Of the progress of a task only the newest matters to a subscriber that has not taken any yet.
	for i, passing := range [][]string{
		{"6 task-log t1", "6 task-progress t1 2/3"},
		{"6 task-progress t1 1/3", "6 task-log t1", "6 task-progress t1 2/3"},
	} {
		want := append(append(append([]string{}, stored[:2]...), passing...), stored[2:]...)
		if cmp.Equal(got, want) {
			break
		}
		if i == 1 {
			t.Errorf("events:\n%s", cmp.Diff(want, got))
		}
	}

	// Whoever comes later, or again, gets what is stored, from where it was.
	for after, want := range map[uint64][]string{0: stored, 6: stored[2:], 8: nil, 99: nil} {
		if got := collect(r.Subscribe(t.Context(), c.ID, after)); !cmp.Equal(got, want) {
			t.Errorf("after %d:\n%s", after, cmp.Diff(want, got))
		}
	}
	all := r.Subscribe(t.Context(), 0, 3)
	for _, want := range append([]string{"4 change-ended done"}, stored...) {
		if got := brief(<-all); got != want {
			t.Errorf("of all changes: got %s, want %s", got, want)
		}
	}
}

// TestSlowSubscriber does not take an event until the change has ended: it has kept nobody waiting, and
// gets every stored event, though over more than one page.
func TestSlowSubscriber(t *testing.T) {
	const tasks = pageSize
	r := startRunner(t, map[string]Handler{"loud": {Do: func(_ context.Context, t *Run) error {
		for i := range 3 {
			t.Logf("line %d", i)
		}
		return nil
	}}}, Options{})
	spec := Spec{Kind: "test"}
	for range tasks {
		spec.Add(TaskSpec{Kind: "loud"})
	}
	everything := r.Subscribe(t.Context(), 0, 0)
	c := submit(t, r, spec)
	slow := r.Subscribe(t.Context(), c.ID, 0)
	c = wait(t, r, c.ID)

	for name, events := range map[string]<-chan Event{"of the change": slow, "of all": everything} {
		last, passing, stored := uint64(0), 0, 0
		for e := range events {
			if e.Type == TaskLog {
				if passing++; e.Seq < last {
					t.Errorf("%s: a line of event %d comes after event %d", name, e.Seq, last)
				}
				continue
			}
			if stored++; e.Seq != last+1 {
				t.Fatalf("%s: event %d comes after event %d", name, e.Seq, last)
			}
			if last = e.Seq; e.Type == ChangeEnded {
				break
			}
		}
		if want := 2 + 2*tasks; stored != want || last != c.LastEvent {
			t.Errorf("%s: %d stored events up to %d, want %d", name, stored, last, want)
		}
		if passing > mostPassing+3*8 { // what waited, and what was taken before
			t.Errorf("%s: %d lines were kept for a slow subscriber", name, passing)
		}
	}
}

// TestSubscriberEnds ends subscriptions by their context and by the runner's end.
func TestSubscriberEnds(t *testing.T) {
	r := startRunner(t, map[string]Handler{"nop": {Do: nop}}, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	mine, others := r.Subscribe(ctx, 0, 0), r.Subscribe(t.Context(), 0, 0)
	cancel()
	if got := collect(mine); got != nil {
		t.Errorf("got %v", got)
	}
	if err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := collect(others); got != nil {
		t.Errorf("got %v", got)
	}
	if n := len(r.feed.subs); n != 0 {
		t.Errorf("%d subscribers are left behind", n)
	}
}
