// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"copse/test/testcloud"
)

// removedByHand takes each container away under Copse's hands, one after the other.
func (s *suite) removedByHand(t *testing.T) {
	before := s.Containers(t)
	for _, name := range []string{"memcached", "haproxy", "keystone", "rabbitmq", "mariadb"} {
		one := before[name]
		testcloud.Docker(t, "rm", "--force", one.EngineName())
		p := s.Plan(t)
		mustPlan(t, p, "recreate "+name+": the engine has no container "+one.EngineName()+" any more")
		if len(p.Steps) == 1 && !p.Steps[0].Drift {
			t.Errorf("the plan does not call it drift: %+v", p.Steps[0])
		}
		s.Up(t)
		after := s.Healthy(t)
		if after[name].Generation != one.Generation || after[name].EngineID == one.EngineID {
			t.Errorf("%s came back as %+v; want the same generation in a new container", name, after[name])
		}
		delete(before, name)
		rest := map[string]testcloud.Container{}
		for other := range before {
			rest[other] = after[other]
		}
		mustReplace(t, before, rest)
		before = after
	}
	s.mustRemember(t)
}

// begun takes the cloud down and starts bringing it up again, which is a change of many steps. It
// returns when that is in the middle of things, many seconds before its end, with its number.
func (s *suite) begun(t *testing.T) int {
	t.Helper()
	s.Must(t, "down", "--yes")
	s.Must(t, s.With("up", "--yes", "--detach")...)
	return s.midway(t)
}

// midway waits until the present change has started the database.
func (s *suite) midway(t *testing.T) int {
	t.Helper()
	id := s.Latest(t).ID
	testcloud.Until(t, "the middle of the change", func() string {
		change := s.Change(t, id)
		if change.EndedAt != nil {
			t.Fatalf("change %d has ended %s before anything could be done to it:\n%s", id, change.Status, change.Error)
		}
		for _, task := range change.Tasks {
			if task.Kind == "start" && task.Subject == "mariadb" && task.Status == "done" {
				return ""
			}
		}
		return "mariadb is not started yet"
	})
	return id
}

func (s *suite) mustEndWell(t *testing.T, id int) {
	t.Helper()
	if change := s.Ended(t, id); change.Status != "done" {
		t.Fatalf("change %d ended %s:\n%s", id, change.Status, change.Error)
	}
	s.Healthy(t)
	if p := s.Plan(t); len(p.Steps) != 0 {
		t.Errorf("after the change there is still something to do: %+v", p.Steps)
	}
	s.mustBeAlone(t)
	s.mustRemember(t)
}

// mustBeAlone holds that each container is in the engine once: no generation was left behind.
func (s *suite) mustBeAlone(t *testing.T) {
	t.Helper()
	list := testcloud.Lines(testcloud.Docker(t, "ps", "--all", "--filter", "label=copse.cloud="+testcloud.Name, "--format", `{{.Label "copse.container"}}`))
	slices.Sort(list)
	if once := slices.Compact(slices.Clone(list)); len(once) != len(list) {
		t.Errorf("some containers are there more than once: %q", list)
	}
}

// agentKilled kills the agent twice in one change: as a crash does, from which the engine brings
// it back, and as an operator does, after whom only `copse up` does.
func (s *suite) agentKilled(t *testing.T) {
	id := s.begun(t)
	testcloud.Kill(t, "copse-agent")
	if change := s.answered(t, id); change.EndedAt != nil {
		t.Fatalf("change %d ended %s before the agent could be killed again", id, change.Status)
	}
	testcloud.Docker(t, "kill", "copse-agent")
	if r := s.Copse(t, "ps"); r.Code != 1 || !strings.Contains(r.Stderr, "copse up") {
		t.Errorf("without an agent, ps ends with %d and does not say that `copse up` starts one:\n%s", r.Code, r)
	}
	// It finds the change that the agent goes on with, or its end.
	r := s.Copse(t, s.With("up", "--yes", "--format", "json")...)
	if !strings.Contains(r.Stderr, "starting the agent again") {
		t.Errorf("up did not start the agent again:\n%s", r)
	}
	s.mustEndWell(t, id)
	started, err := time.Parse(time.RFC3339Nano, testcloud.Docker(t, "inspect", "--format", "{{.State.StartedAt}}", "copse-agent"))
	if err != nil {
		t.Fatal(err)
	}
	if change := s.Change(t, id); !change.CreatedAt.Before(started) || !change.EndedAt.After(started) {
		t.Errorf("change %d ran from %s to %s, and the agent was started at %s: it was not interrupted", id, change.CreatedAt, change.EndedAt, started)
	}
}

// answered asks for a change until the agent answers.
func (s *suite) answered(t *testing.T, id int) testcloud.Change {
	t.Helper()
	var change testcloud.Change
	testcloud.Until(t, "the agent", func() string {
		r := s.Copse(t, "change", strconv.Itoa(id), "--format", "json")
		if r.Code != 0 {
			return r.String()
		}
		change = testcloud.Object[testcloud.Change](t, r.Stdout)
		return ""
	})
	return change
}

// cliKilled ends the client that follows a change; the change goes on, and no other is let in.
func (s *suite) cliKilled(t *testing.T) {
	s.Must(t, "down", "--yes")
	before := s.Latest(t).ID
	client := s.Command(t, s.With("up", "--yes")...)
	var out bytes.Buffer
	client.Stdout, client.Stderr = &out, &out
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	testcloud.Until(t, "the change", func() string {
		if s.Latest(t).ID == before {
			return "there is none yet"
		}
		return ""
	})
	id := s.midway(t)
	if err := client.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = client.Wait() // it was killed

	r := s.Copse(t, s.With("up", "--yes", "--format", "json")...)
	refused := mustFail(t, r, 1, "conflict", "change "+strconv.Itoa(id), "copse abort "+strconv.Itoa(id))
	if refused.Change != id {
		t.Errorf("the refusal names change %d, want %d: %s", refused.Change, id, refused.Message)
	}
	// An interrupt only ends the watching.
	watcher := s.Command(t, "change", strconv.Itoa(id), "--follow")
	var watched bytes.Buffer
	watcher.Stdout, watcher.Stderr = &watched, &watched
	if err := watcher.Start(); err != nil {
		t.Fatal(err)
	}
	if err := watcher.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = watcher.Wait() // its exit code is looked at below
	// An interrupt that comes before the program has begun to listen ends it as any other program.
	if code, status := watcher.ProcessState.ExitCode(), watcher.ProcessState.Sys().(syscall.WaitStatus); code != 130 && !status.Signaled() {
		t.Errorf("a watcher that is interrupted ends with %d, want 130:\n%s", code, watched.String())
	}
	s.mustEndWell(t, id)
}

// engineKilled kills the engine in the middle of a change. Its containers live on, and the change
// ends well when it is there again.
func (s *suite) engineKilled(t *testing.T) {
	if live := testcloud.Docker(t, "info", "--format", "{{.LiveRestoreEnabled}}"); live != "true" {
		t.Errorf("live-restore is %s; scripts/host-setup.sh turns it on", live)
	}
	id := s.begun(t)
	s.KillEngine(t)
	s.mustEndWell(t, id)
}

// aborted stops a change in the middle.
func (s *suite) aborted(t *testing.T) {
	id := s.begun(t)
	s.Must(t, "abort", strconv.Itoa(id))
	change := s.Ended(t, id)
	if change.Status != "aborted" {
		t.Errorf("the change ended %s, want it aborted:\n%s", change.Status, change.Error)
	}
	s.mustBeAlone(t)
	for _, c := range s.Containers(t) {
		if c.State == "missing" {
			s.Up(t)
			s.Healthy(t)
			s.mustRemember(t)
			return
		}
	}
	t.Error("everything runs after the abort: nothing was stopped")
}
