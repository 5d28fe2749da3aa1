// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestNext(t *testing.T) {
	now := time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const day = 24 * time.Hour
	for name, test := range map[string]struct {
		every time.Duration
		state State
		want  time.Time
	}{
		"never run":                       {day, State{Since: ago(time.Hour)}, now.Add(23 * time.Hour)},
		"ran":                             {day, State{Since: ago(90 * day), Started: ago(time.Hour)}, now.Add(23 * time.Hour)},
		"missed ten times":                {day, State{Since: ago(90 * day), Started: ago(11 * day)}, ago(10 * day)},
		"failed":                          {day, State{Since: ago(90 * day), Started: ago(30 * time.Minute), Failed: true}, now.Add(30 * time.Minute)},
		"failed, monthly":                 {30 * day, State{Started: ago(0), Failed: true}, now.Add(time.Hour)},
		"failed, every ten minutes":       {10 * time.Minute, State{Started: ago(0), Failed: true}, now.Add(time.Minute)},
		"failed, every ten seconds":       {10 * time.Second, State{Started: ago(0), Failed: true}, now.Add(10 * time.Second)},
		"ran before the clock was set":    {day, State{Since: ago(day), Started: now.Add(400 * day)}, now},
		"declared before it was set back": {day, State{Since: now.Add(400 * day)}, now},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Next(Job{Name: "j", Every: test.every, State: test.state}, now); !got.Equal(test.want) {
				t.Errorf("due at %s; want %s", got, test.want)
			}
		})
	}
}

// cloud runs jobs that take no time, unless they are kept running.
type cloud struct {
	mu      sync.Mutex
	jobs    []Job
	refuse  map[string]error
	keep    bool
	started []string
	broken  error
}

func (c *cloud) Jobs(context.Context) ([]Job, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.jobs), c.broken
}

// ran returns what was started so far.
func (c *cloud) ran() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.started)
}

// change changes it while the scheduler runs.
func (c *cloud) change(how func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	how()
}

func (c *cloud) Start(_ context.Context, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refuse[name]; err != nil {
		return err
	}
	c.started = append(c.started, name)
	for i := range c.jobs {
		if c.jobs[i].Name == name {
			c.jobs[i].State.Started = time.Now()
			c.jobs[i].State.Running = c.keep
		}
	}
	return nil
}

func run(t *testing.T, c *cloud, test func(s *Scheduler, told func() []string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var told []string
		s := New(c, time.Now, func(job string, err error) {
			c.change(func() { told = append(told, job+": "+err.Error()) })
		})
		for i := range c.jobs {
			if c.jobs[i].State.Since.IsZero() {
				c.jobs[i].State.Since = time.Now()
			}
		}
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx) }()
		test(s, func() (so []string) {
			c.change(func() { so = slices.Clone(told) })
			return so
		})
		cancel()
		<-done
	})
}

func TestRunsWhenDue(t *testing.T) {
	c := &cloud{jobs: []Job{{Name: "day", Every: 24 * time.Hour}, {Name: "week", Every: 7 * 24 * time.Hour}}}
	run(t, c, func(*Scheduler, func() []string) {
		time.Sleep(23 * time.Hour)
		synctest.Wait()
		if len(c.ran()) != 0 {
			t.Fatalf("%v ran before they were due", c.ran())
		}
		time.Sleep(8 * 24 * time.Hour)
		synctest.Wait()
		days := 0
		for _, name := range c.ran() {
			if name == "day" {
				days++
			}
		}
		if days != 8 || len(c.ran()) != 9 {
			t.Errorf("in nine days but an hour there ran %v; want eight times the daily one and once the weekly one", c.ran())
		}
	})
}

// A week of downtime is made up for by one run of each, one after the other.
func TestMissedRunsAreOne(t *testing.T) {
	c := &cloud{keep: true, jobs: []Job{{Name: "a", Every: time.Hour}, {Name: "b", Every: time.Hour}}}
	run(t, c, func(*Scheduler, func() []string) {
		c.change(func() {
			c.jobs[0].State.Started = time.Now().Add(-7 * 24 * time.Hour)
			c.jobs[1].State.Started = time.Now().Add(-8 * 24 * time.Hour)
		})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if !slices.Equal(c.ran(), []string{"b"}) {
			t.Fatalf("%v ran at once; want the one that is due for longer", c.ran())
		}
		c.change(func() { c.jobs[1].State.Running = false })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if !slices.Equal(c.ran(), []string{"b", "a"}) {
			t.Errorf("%v ran; want each once", c.ran())
		}
	})
}

func TestWaitsAndSaysWhyOnce(t *testing.T) {
	c := &cloud{jobs: []Job{{Name: "held", Every: time.Hour}, {Name: "free", Every: 2 * time.Hour}}, refuse: map[string]error{"held": errors.New("busy")}}
	run(t, c, func(s *Scheduler, told func() []string) {
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if !slices.Equal(c.ran(), []string{"free"}) {
			t.Errorf("%v ran; one that is held must not keep the others", c.ran())
		}
		if !slices.Equal(told(), []string{"held: busy"}) {
			t.Errorf("told %q; want the reason once", told())
		}
		if s.Waits("held") != "busy" || s.Waits("free") != "" {
			t.Errorf("held waits for %q, free for %q", s.Waits("held"), s.Waits("free"))
		}
		c.change(func() { c.refuse = nil })
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.Waits("held") != "" || !slices.Contains(c.ran(), "held") {
			t.Errorf("held was let go and still waits for %q; %v ran", s.Waits("held"), c.ran())
		}
	})
}

func TestBrokenStoreIsTold(t *testing.T) {
	c := &cloud{broken: errors.New("disk")}
	run(t, c, func(_ *Scheduler, told func() []string) {
		time.Sleep(time.Minute)
		synctest.Wait()
		if !slices.Equal(told(), []string{": disk"}) {
			t.Errorf("told %q", told())
		}
	})
}
