// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"copse/test/testcloud"
)

// TestRelease takes the whole cloud, all of its 24 services, from one release to the next, back, and there
// again for good, while a virtual machine runs and keystone is asked. It is left out of `make test`.
func TestRelease(t *testing.T) {
	s := &suite{Cloud: testcloud.Open(t), user: "e2e-user"}
	s.TakeOver(t)
	s.Must(t, "build")
	s.Must(t, "build", "--release", newRelease)
	s.Must(t, "up", "--yes")
	s.verify(t)
	before := machines(t)
	if len(before) != 1 {
		t.Fatalf("the virtual machines are processes %v; want one", before)
	}
	old := s.Healthy(t)
	s.OpenStack(t, "user", "create", s.user)
	for _, part := range []struct {
		name, release string
		args          []string
	}{
		{"Upgrade", newRelease, []string{"upgrade", "--to", newRelease, "--yes"}},
		// The bus cannot go back with what it holds; everything else goes back as it is.
		{"Rollback", oldRelease, []string{"rollback", "--restore", "--yes"}},
		{"UpgradeAgain", newRelease, []string{"upgrade", "--to", newRelease, "--finalize", "--yes"}},
	} {
		if !t.Run(part.name, func(t *testing.T) {
			s.wholeCloud(t, part.release, part.args)
			s.mustRemember(t)
			if now := machines(t); !slices.Equal(now, before) {
				t.Errorf("the virtual machines are processes %v; they were %v", now, before)
			}
			s.answers(t)
			if part.name != "Rollback" {
				// A rollback has to keep what the new release has written.
				s.user = "e2e-user-" + strings.ToLower(part.name)
				s.OpenStack(t, "user", "create", s.user)
				return
			}
			for name, c := range s.Containers(t) {
				if c.Image != old[name].Image {
					t.Errorf("%s went back to image %s, and had %s", name, c.Image, old[name].Image)
				}
			}
		}) {
			t.FailNow()
		}
	}
	// A machine of the new release, in a network of the new release; the old one is removed by it.
	s.verify(t)
	s.Must(t, "verify", "--clean")
}

// wholeCloud runs an upgrade or a rollback of everything under load, and holds that all is at a release,
// nothing is left to do, and what failed meanwhile is nothing, or what was said of it.
func (s *suite) wholeCloud(t *testing.T, release string, args []string) {
	pings := s.watchMachine(t)
	load := s.StartLoad(t, strings.Join(args, "-"), 2)
	began := time.Now()
	r := s.Copse(t, args...)
	took := time.Since(began)
	report, lost := load.Stop(), pings()
	t.Logf("copse %s took %s:\n%s", strings.Join(args, " "), took.Round(time.Second), r)
	report.MustBeWhole(t)
	t.Logf("the virtual machine: %s", lost)
	if r.Code != 0 {
		t.Fatalf("copse %s ended with %d", strings.Join(args, " "), r.Code)
	}
	for name, c := range s.Healthy(t) {
		if c.Release != release {
			t.Errorf("%s is at release %s, want %s", name, c.Release, release)
		}
	}
	// A bus that was emptied has to be told of its feature flags again.
	left := s.Plan(t).Steps
	if slices.Contains(args, "--restore") && len(left) == 1 && left[0].Container == "rabbitmq-feature-flags" && left[0].Action == "run" {
		s.Up(t)
		left = s.Plan(t).Steps
	}
	if len(left) != 0 {
		t.Errorf("there is still to do: %+v", left)
	}
}

// watchMachine pings the verification's server five times a second until the function that it returns is
// called, which says how many answers were missing.
func (s *suite) watchMachine(t *testing.T) func() string {
	t.Helper()
	addresses := testcloud.Lines(s.OpenStack(t, "floating", "ip", "list", "-f", "value", "-c", "Floating IP Address"))
	if len(addresses) != 1 {
		t.Fatalf("floating addresses %q; want one", addresses)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Hour)
	cmd := exec.CommandContext(ctx, "ping", "-i", "0.2", "-q", addresses[0])
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() string {
		stop()
		_ = cmd.Wait() // it was interrupted
		lines := testcloud.Lines(out.String())
		i := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, "packets transmitted") })
		if i < 0 {
			t.Fatalf("ping has not counted:\n%s", out.String())
		}
		return lines[i]
	}
}
