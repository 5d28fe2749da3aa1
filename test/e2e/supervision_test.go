// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"copse/test/testcloud"
)

// incident is what `copse incidents --format json` says of one.
type incident struct {
	Time      time.Time `json:"time"`
	Container string    `json:"container"`
	What      string    `json:"what"`
	Cause     string    `json:"cause"`
	Output    string    `json:"output"`
}

// incidents are those of some containers since then.
func (s *suite) incidents(t *testing.T, since time.Time, names ...string) []incident {
	t.Helper()
	args := append([]string{"incidents", "--format", "json", "--since", since.Format(time.RFC3339Nano)}, names...)
	return testcloud.Objects[incident](t, s.Must(t, args...))
}

// happens waits for an incident of a container since then.
func (s *suite) happens(t *testing.T, since time.Time, name, what string) incident {
	t.Helper()
	var found incident
	testcloud.Until(t, name+": "+what, func() string {
		all := s.incidents(t, since, name)
		for _, i := range all {
			if i.What == what {
				found = i
				return ""
			}
		}
		return fmt.Sprintf("incidents %+v", all)
	})
	return found
}

// freeze stops all processes of a container from running, without asking the engine to: the first
// alone is not the service.
func freeze(t *testing.T, container string) {
	t.Helper()
	pids := testcloud.Lines(testcloud.Docker(t, "top", container, "-eo", "pid"))
	if len(pids) < 2 {
		t.Fatalf("container %s has no process: %q", container, pids)
	}
	for _, text := range pids[1:] { // the first line is a heading
		pid, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || pid <= 1 {
			t.Fatalf("container %s has process %q: %v", container, text, err)
		}
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
}

// crashed kills keystone, in three ways; it serves again each time, and the cause is written down.
func (s *suite) crashed(t *testing.T) {
	name := s.Containers(t)["keystone"].EngineName()
	for _, way := range []struct {
		name string
		kill func()
		// brought: the agent starts it again, since the engine does not.
		brought bool
	}{
		{"its process", func() { testcloud.Kill(t, name) }, false},
		{"docker kill", func() { testcloud.Docker(t, "kill", name) }, true},
		{"docker stop", func() { testcloud.Docker(t, "stop", name) }, true},
	} {
		since := time.Now()
		way.kill()
		exited := s.happens(t, since, "keystone", "exited")
		if !way.brought && !strings.Contains(exited.Cause, "SIGKILL") {
			t.Errorf("%s: the cause is %q; want the signal", way.name, exited.Cause)
		}
		if way.brought {
			s.happens(t, since, "keystone", "started")
		}
		recovered := s.happens(t, since, "keystone", "recovered")
		t.Logf("%s: healthy %s after its end was seen", way.name, recovered.Time.Sub(exited.Time).Round(time.Millisecond))
		s.Healthy(t)
		s.mustRemember(t)
	}
	if p := s.Plan(t); len(p.Steps) != 0 {
		t.Errorf("the plan after that is %+v", p.Steps)
	}
}

// frozen stops a service from doing anything, which only its check can see.
func (s *suite) frozen(t *testing.T) {
	before := s.Containers(t)["memcached"]
	since := time.Now()
	freeze(t, before.EngineName())
	unhealthy := s.happens(t, since, "memcached", "unhealthy")
	restarted := s.happens(t, since, "memcached", "restarted")
	t.Logf("unhealthy after %s, restarted after %s", unhealthy.Time.Sub(since).Round(time.Second), restarted.Time.Sub(since).Round(time.Second))
	after := s.Healthy(t)["memcached"]
	if after.Generation != before.Generation || after.EngineID != before.EngineID || !after.StartedAt.After(before.StartedAt) {
		t.Errorf("memcached was %+v and is %+v; want the same container, started anew", before, after)
	}
}

// crashLoop kills memcached whenever it runs, until the agent gives it up: it is left as it is, with
// the cause, and "copse start" tries again.
func (s *suite) crashLoop(t *testing.T) {
	one := s.Containers(t)["memcached"]
	since := time.Now()
	gaveUp := func() bool {
		for _, i := range s.incidents(t, since, "memcached") {
			if i.What == "gave up" {
				return true
			}
		}
		return false
	}
	started := time.Time{}
	testcloud.Until(t, "the agent to give memcached up", func() string {
		if gaveUp() {
			return ""
		}
		if now := s.Containers(t)["memcached"]; now.State == "running" && now.StartedAt.After(started) {
			started = now.StartedAt
			testcloud.Kill(t, one.EngineName())
		}
		return "it was killed, and is started again"
	})
	type given struct{ Name, State, Health, Why string }
	testcloud.Until(t, "memcached to be failed", func() string {
		for _, c := range testcloud.Objects[given](t, s.Must(t, "ps", "memcached", "--format", "json")) {
			if c.State == "exited" && c.Health == "failed" && strings.Contains(c.Why, "copse start memcached") {
				return ""
			}
		}
		return s.Must(t, "ps", "memcached", "--format", "json")
	})
	if policy := testcloud.Docker(t, "inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", one.EngineName()); policy != "no" {
		t.Errorf("the engine's restart policy is %q; want no", policy)
	}
	s.Must(t, "start", "memcached", "--yes")
	after := s.Healthy(t)["memcached"]
	if after.Generation != one.Generation {
		t.Errorf("copse start made generation %d of %d", after.Generation, one.Generation)
	}
	if policy := testcloud.Docker(t, "inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", one.EngineName()); policy != "always" {
		t.Errorf("the engine's restart policy is %q after copse start; want always", policy)
	}
}

// databaseStopped stops the database for longer than it takes to find anything unhealthy: nothing
// else is restarted for that, and all is well when it is back.
func (s *suite) databaseStopped(t *testing.T) {
	before := s.Containers(t)
	since := time.Now()
	s.Must(t, "stop", "mariadb", "--yes")
	time.Sleep(time.Minute) // what is tested is that nothing happens
	if found := s.incidents(t, since); len(found) != 0 {
		for _, i := range found {
			if i.What != "unhealthy" {
				t.Errorf("while the database is stopped: %+v", i)
			}
		}
	}
	s.Must(t, "start", "mariadb", "--yes")
	after := s.Healthy(t)
	delete(before, "mariadb")
	delete(after, "mariadb")
	mustReplace(t, before, after)
	s.mustRemember(t)
}

// engineGone kills the engine while nothing is going on: nothing is restarted, before or after, and
// the agent notices what happens from then on.
func (s *suite) engineGone(t *testing.T) {
	before := s.Containers(t)
	since := time.Now()
	s.KillEngine(t)
	mustReplace(t, before, s.Healthy(t))
	if found := s.incidents(t, since); len(found) != 0 {
		t.Errorf("incidents for the engine's end: %+v", found)
	}
	if p := s.Plan(t); len(p.Steps) != 0 {
		t.Errorf("the plan after that is %+v", p.Steps)
	}
	since = time.Now()
	testcloud.Docker(t, "kill", before["memcached"].EngineName())
	s.happens(t, since, "memcached", "recovered")
	s.Healthy(t)
}
