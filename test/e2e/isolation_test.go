// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"copse/test/testcloud"
)

// isolation lets one container run wild in three ways. What it takes is its own: no other
// container's check fails, and no other is restarted.
func (s *suite) isolation(t *testing.T) {
	before := s.Healthy(t)
	const victim = "keystone"
	limits := testcloud.Object[struct {
		Memory    int64 `json:"Memory"`
		PidsLimit int64 `json:"PidsLimit"`
	}](t, testcloud.Docker(t, "inspect", "--format", "{{json .HostConfig}}", before[victim].EngineName()))
	if limits.Memory <= 0 || limits.PidsLimit <= 0 {
		t.Fatalf("%s has the limits %+v", victim, limits)
	}
	for _, wild := range []struct {
		name, script string
		// ends tells whether the program ended as it must: by a limit.
		ends func(r testcloud.Result) bool
	}{
		// It reads a line that never ends.
		{"memory", "exec tail /dev/zero", func(r testcloud.Result) bool { return r.Code == 137 }},
		// Each process ends by itself, so that the container is as before some time later.
		{"processes", "while true; do sleep 15 & done", func(r testcloud.Result) bool {
			return r.Code != 0 && strings.Contains(strings.ToLower(r.String()), "fork")
		}},
		{"file system", "dd if=/dev/zero of=/tmp/full bs=1M; code=$?; rm /tmp/full; exit $code", func(r testcloud.Result) bool { return r.Code != 0 && strings.Contains(r.String(), "No space left") }},
		{"root", "echo x > /x", func(r testcloud.Result) bool {
			return r.Code != 0 && strings.Contains(r.String(), "Read-only file system")
		}},
	} {
		t.Run(wild.name, func(t *testing.T) {
			ended := make(chan testcloud.Result, 1)
			go func() { ended <- testcloud.Run(t, s.Command(t, "exec", victim, "--", "sh", "-c", wild.script)) }()
			var r testcloud.Result
			for done := false; !done; {
				select {
				case r = <-ended:
					done = true
				default:
				}
				s.othersAreGreen(t, victim, before)
			}
			if !wild.ends(r) {
				t.Errorf("it ended with %d:\n%s", r.Code, r)
			}
			testcloud.Until(t, victim+" to be as before", func() string {
				s.othersAreGreen(t, victim, before)
				pids := testcloud.Lines(testcloud.Docker(t, "top", s.Containers(t)[victim].EngineName(), "-e", "-o", "pid,comm"))
				for _, line := range pids {
					if strings.HasSuffix(line, " sleep") {
						return strconv.Itoa(len(pids)) + " processes"
					}
				}
				return ""
			})
		})
	}
	after := s.Healthy(t)
	for _, containers := range []map[string]testcloud.Container{before, after} {
		delete(containers, victim)
	}
	mustReplace(t, before, after)
	s.mustRemember(t)
}

// othersAreGreen holds that no container but the victim is unhealthy or has been restarted.
func (s *suite) othersAreGreen(t *testing.T, victim string, before map[string]testcloud.Container) {
	t.Helper()
	for name, now := range s.Containers(t) {
		if name != victim && (now.Health != "healthy" || now.Restarts != before[name].Restarts || !now.StartedAt.Equal(before[name].StartedAt)) {
			t.Errorf("%s suffers: it was %+v and is %+v", name, before[name], now)
		}
	}
}

// nothingIsWrittenInside holds that containers keep nothing but in volumes and on file systems that
// go with them, and that their logs are bounded by the engine.
func (s *suite) nothingIsWrittenInside(t *testing.T) {
	type engineContainer struct {
		Mounts     []struct{ Destination string }
		HostConfig struct {
			Tmpfs          map[string]string
			ReadonlyRootfs bool
			LogConfig      struct {
				Type   string
				Config map[string]string
			}
		}
	}
	for name, c := range s.Containers(t) {
		inspected := testcloud.Object[engineContainer](t, testcloud.Docker(t, "inspect", "--format", "{{json .}}", c.EngineName()))
		if !inspected.HostConfig.ReadonlyRootfs {
			t.Errorf("the root of %s is writable", name)
		}
		log := inspected.HostConfig.LogConfig
		if log.Type == "" || log.Config["max-size"] == "" || log.Config["max-file"] == "" {
			t.Errorf("the log of %s grows without end: %+v", name, log)
		}
		s.hasNoTools(t, name)
		mounted := []string{}
		for _, m := range inspected.Mounts {
			mounted = append(mounted, m.Destination)
		}
		for target := range inspected.HostConfig.Tmpfs {
			mounted = append(mounted, target)
		}
		for _, line := range testcloud.Lines(testcloud.Docker(t, "diff", c.EngineName())) {
			_, path, _ := strings.Cut(line, " ")
			// The engine makes the places that something is mounted at.
			place := false
			for _, target := range mounted {
				place = place || target == path || strings.HasPrefix(target, path+"/")
			}
			if !place {
				t.Errorf("%s has written to its own file system: %s", name, line)
			}
		}
	}
}

// hasNoTools holds that an image has nothing that only made it, or that only a machine needs.
func (s *suite) hasNoTools(t *testing.T, name string) {
	t.Helper()
	const tools = "for p in cc gcc c++ g++ clang tcc as ld init; do command -v $p; done; " +
		"ls -d /sbin/init /usr/lib/systemd/systemd 2>/dev/null; find /var/lib/apt/lists /var/cache/apt -type f ! -name lock; true"
	if r := s.Copse(t, "exec", name, "--", "sh", "-c", tools); r.Code != 0 || r.Stdout != "" {
		t.Errorf("the image of %s has a compiler, an init system or lists of packages (%d):\n%s", name, r.Code, r)
	}
}

// privileges holds that what each container may do is said with its reason.
func (s *suite) privileges(t *testing.T) {
	type privileged struct {
		Name       string                          `json:"name"`
		User       string                          `json:"user"`
		Privileges []struct{ Name, Reason string } `json:"privileges"`
		Memory     int64                           `json:"memory"`
		Pids       int64                           `json:"pids"`
	}
	found := map[string]privileged{}
	for _, p := range testcloud.Objects[privileged](t, s.Must(t, "ps", "--privileges", "--format", "json")) {
		found[p.Name] = p
		for _, one := range p.Privileges {
			if one.Reason == "" {
				t.Errorf("nobody says why %s has %q", p.Name, one.Name)
			}
		}
	}
	if p := found["keystone"]; len(p.Privileges) != 0 || p.Memory == 0 || p.Pids == 0 || p.User != "42425:42425" {
		t.Errorf("keystone is %+v; want it without a privilege, with limits", p)
	}
	if p := found["haproxy"]; len(p.Privileges) == 0 {
		t.Error("haproxy has no privilege; want its directory on the host")
	}
	if plain := s.Must(t, "ps", "--privileges", "haproxy"); !strings.Contains(plain, "bind /") {
		t.Errorf("ps --privileges haproxy says:\n%s", plain)
	}
}

// oneRequest follows a request of the openstack client through the proxy to keystone.
func (s *suite) oneRequest(t *testing.T) {
	type line struct {
		Container string   `json:"container"`
		Text      string   `json:"text"`
		Elapsed   *float64 `json:"elapsed_seconds"`
		Requests  []string `json:"requests"`
	}
	s.OpenStack(t, "project", "list")
	id := ""
	for _, l := range testcloud.Objects[line](t, s.Must(t, "logs", "haproxy", "--since", "1h", "--format", "json")) {
		if at := strings.Index(l.Text, "{req-"); at >= 0 && strings.Contains(l.Text, "GET /v3/projects") {
			id = l.Text[at+1 : at+41]
		}
	}
	if id == "" {
		t.Fatal("the proxy's log has no request for projects")
	}
	var lines []line
	testcloud.Until(t, "the request's lines", func() string {
		r := s.Copse(t, "logs", "--request", id, "--format", "json")
		if lines = testcloud.Objects[line](t, r.Stdout); r.Code != 0 || len(lines) == 0 {
			return r.String()
		}
		return ""
	})
	for i, l := range lines {
		if l.Elapsed == nil || len(l.Requests) == 0 || i > 0 && *l.Elapsed < *lines[i-1].Elapsed {
			data, err := json.Marshal(l)
			t.Errorf("line %d is %s (%v)", i+1, data, err)
		}
	}
	const unknown = "req-00000000-0000-4000-8000-000000000000"
	if r := s.Copse(t, "logs", "--request", unknown); r.Code != 1 || !strings.Contains(r.String(), "--since") {
		t.Errorf("for a request that nobody knows it ended with %d:\n%s", r.Code, r)
	}
	mustFail(t, s.Copse(t, "logs", "--request", "keystone", "--format", "json"), 1, "invalid", "X-Openstack-Request-Id")
}
