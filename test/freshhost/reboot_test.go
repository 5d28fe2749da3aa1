// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package freshhost

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"copse/test/testcloud"
)

// TestReboot brings a cloud up on a fresh host as a stranger would, with the one command of the README,
// has it run a virtual machine, and takes the host's power: no process, mount, interface, name space
// or run-time file is left. After the engine's start everything comes back by itself and in order.
func TestReboot(t *testing.T) {
	h := newHost(t, "bookworm")
	h.follow(t, "make", "up")
	h.must(t, "scripts/host-setup.sh", "--test")
	h.follow(t, "bin/copse", "verify", "--keep")
	before := h.containers(t)
	address := h.floatingAddress(t)
	h.mustAnswer(t, address)
	stopped := "horizon"
	h.must(t, "bin/copse", "stop", stopped, "--yes")

	h.powerOff(t)
	h.powerOn(t)
	if r := h.run(t, "ip", "link", "show", "copse-ex0"); r.Code == 0 {
		t.Fatalf("a host without power has kept an interface:\n%s", r)
	}
	// As the host's own start does.
	began := time.Now()
	h.must(t, "scripts/host-setup.sh")
	h.mustAnswer(t, address)
	t.Logf("the virtual machine answers %s after the engine's start began", time.Since(began).Round(time.Second))

	testcloud.Until(t, "healthy containers", func() string {
		for name, c := range h.containers(t) {
			if name != stopped && c.Health != "healthy" {
				return name + " is " + c.State + ", " + c.Health
			}
		}
		return ""
	})
	t.Logf("all are healthy %s after the engine's start began", time.Since(began).Round(time.Second))
	after := h.containers(t)
	if b, a := slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)); !slices.Equal(b, a) {
		t.Errorf("the containers are %v, and were %v", a, b)
	}
	for name, c := range after {
		if c.EngineID != before[name].EngineID {
			t.Errorf("%s is another container than before", name)
		}
	}
	if state := after[stopped].State; state == "running" {
		t.Errorf("%s was stopped by its operator, and is %s", stopped, state)
	}
	r := h.run(t, "bin/copse", "plan", "--format", "json")
	if steps := testcloud.Object[testcloud.Plan](t, r.Stdout).Steps; len(steps) != 1 || steps[0].Container != stopped || steps[0].Action != "start" {
		t.Errorf("there is more to do than to start %s again: %+v", stopped, steps)
	}
	// It starts virtual machines, which need all others.
	mustBeLast(t, "nova-compute", after)
	incidents := h.must(t, "bin/copse", "incidents")
	if !strings.Contains(incidents, "(host)") || !strings.Contains(incidents, "booted") {
		t.Error("the incidents do not say that the host was started")
	}
	t.Logf("the incidents:\n%s", incidents)
	// A router, an address and a name server made since, not only what was there.
	h.follow(t, "bin/copse", "verify")
}

// mustBeLast holds that a container was started after all others.
func mustBeLast(t *testing.T, last string, containers map[string]testcloud.Container) {
	t.Helper()
	for name, c := range containers {
		if name != last && c.State == "running" && !c.StartedAt.Before(containers[last].StartedAt) {
			t.Errorf("%s was started at %s, after %s at %s", name, c.StartedAt, last, containers[last].StartedAt)
		}
	}
}

// containers are those that are no jobs, by name; none while the agent does not answer.
func (h *host) containers(t *testing.T) map[string]testcloud.Container {
	t.Helper()
	found := map[string]testcloud.Container{}
	testcloud.Until(t, "the agent", func() string {
		r := h.run(t, "bin/copse", "ps", "--format", "json")
		if r.Code != 0 {
			return r.String()
		}
		for _, c := range testcloud.Objects[testcloud.Container](t, r.Stdout) {
			found[c.Name] = c
		}
		return ""
	})
	return found
}

// floatingAddress is the address of the verification's server.
func (h *host) floatingAddress(t *testing.T) string {
	t.Helper()
	addresses := testcloud.Lines(h.must(t, "sh", "-c", `eval "$(bin/copse openrc)" && openstack floating ip list -f value -c "Floating IP Address"`))
	if len(addresses) != 1 {
		t.Fatalf("floating addresses %q; want one", addresses)
	}
	return addresses[0]
}

func (h *host) mustAnswer(t *testing.T, address string) {
	t.Helper()
	testcloud.Until(t, "an answer of the virtual machine", func() string {
		if r := h.run(t, "ping", "-c", "1", "-W", "1", address); r.Code != 0 {
			return r.String()
		}
		return ""
	})
}
