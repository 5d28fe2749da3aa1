// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"copse/test/testcloud"
)

// TestCompute brings up the whole cloud and has it run a virtual machine.
func TestCompute(t *testing.T) {
	s := &suite{Cloud: testcloud.Open(t)}
	s.TakeOver(t)
	s.Must(t, "build")
	out := s.Must(t, "up", "--yes")
	if !strings.Contains(out, "copse verify") {
		t.Errorf("up does not say that the cloud can be verified:\n%s", out)
	}
	containers := s.Healthy(t)
	for _, name := range []string{
		"glance-api", "placement-api", "nova-api", "nova-metadata", "nova-conductor", "nova-scheduler", "nova-novncproxy",
		"neutron-api", "neutron-rpc-server", "neutron-periodic-workers", "openvswitch-db", "openvswitch-vswitchd",
		"neutron-openvswitch-agent", "neutron-dhcp-agent", "neutron-l3-agent", "neutron-metadata-agent",
		"nova-libvirt", "nova-compute", "horizon",
	} {
		if c, there := containers[name]; !there || c.State != "running" || c.Restarts != 0 {
			t.Errorf("%s is %+v; want it running from its first start", name, c)
		}
	}
	for name := range containers {
		s.hasNoTools(t, name)
	}
	if p := s.Plan(t); len(p.Steps) != 0 {
		t.Errorf("the plan of a cloud that is up: %+v", p.Steps)
	}
	t.Run("Horizon", s.horizon)
	if !t.Run("Verify", s.verify) {
		t.Fatal("the cloud runs no virtual machine")
	}
	t.Run("RequestThroughServices", s.requestThroughServices)
	t.Run("MachineOutlivesItsContainers", s.machineOutlives)
	t.Run("DownAsks", s.downAsks)
	s.Must(t, "verify", "--clean")
	for _, list := range [][]string{{"server", "list", "--all-projects", "-f", "value"}, {"floating", "ip", "list", "-f", "value"}, {"router", "list", "-f", "value"}} {
		if left := s.OpenStack(t, list...); left != "" {
			t.Errorf("openstack %s after the verification was removed:\n%s", strings.Join(list, " "), left)
		}
	}
}

// horizon holds that the dashboard's login page is served through the proxy.
func (s *suite) horizon(t *testing.T) {
	containers := s.Containers(t)
	address := ""
	for _, c := range testcloud.Objects[struct{ Name, Address string }](t, s.Must(t, "ps", "--format", "json")) {
		if c.Name == "horizon" {
			address = c.Address
		}
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		t.Fatalf("the dashboard's address is %q (%+v)", address, containers["horizon"])
	}
	response, err := http.Get("http://" + address + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || !strings.Contains(response.Request.URL.Path, "login") {
		t.Errorf("the dashboard answers %s at %s; want its login page", response.Status, response.Request.URL)
	}
}

// verify holds that nothing of the verification is left out, and leaves its server running.
func (s *suite) verify(t *testing.T) {
	r := s.Copse(t, "verify", "--keep", "--format", "json")
	if r.Code != 0 {
		t.Fatalf("copse verify ended with %d:\n%s\n%s", r.Code, r, s.Copse(t, "logs", "nova-compute", "--tail", "30"))
	}
	done := map[string]bool{}
	// Where the guest has to be built first, what is said of that has steps of its own, with numbers.
	for _, said := range testcloud.Objects[struct {
		Type, Status, Detail string
		Step                 any
	}](t, r.Stdout) {
		step, ok := said.Step.(string)
		if said.Type != "step" || !ok {
			continue
		}
		if said.Status != "done" && step != "remove" {
			t.Errorf("step %s is %s: %s", step, said.Status, said.Detail)
		}
		done[step] = said.Status == "done"
	}
	for _, step := range []string{"token", "image", "network", "server", "ping", "tcp", "metadata", "console"} {
		if !done[step] {
			t.Errorf("the verification has not done %q: %v", step, done)
		}
	}
}

// requestThroughServices follows the request that has made the verification's server, by an id from the log
// of the last service that it came to, back to the proxy that took it.
func (s *suite) requestThroughServices(t *testing.T) {
	type line struct {
		Time      time.Time `json:"time"`
		Container string    `json:"container"`
		Text      string    `json:"text"`
	}
	id := ""
	for _, l := range testcloud.Objects[line](t, s.Must(t, "logs", "nova-compute", "--since", "1h", "--format", "json")) {
		if at := strings.Index(l.Text, "req-"); at >= 0 && len(l.Text) >= at+40 && strings.Contains(l.Text, "to build instance") {
			id = l.Text[at : at+40]
		}
	}
	if id == "" {
		t.Fatal("nova-compute has not written that it has built a server")
	}
	lines := testcloud.Objects[line](t, s.Must(t, "logs", "--request", id, "--format", "json"))
	came := map[string]bool{}
	for i, l := range lines {
		came[l.Container] = true
		if i > 0 && l.Time.Before(lines[i-1].Time) {
			t.Errorf("line %d is older than the one before it: %+v after %+v", i+1, l, lines[i-1])
		}
	}
	for _, name := range []string{"haproxy", "nova-api", "nova-conductor", "nova-scheduler", "placement-api", "nova-compute"} {
		if !came[name] {
			t.Errorf("the request %s went through %v; want %s among them", id, came, name)
		}
	}
}

// machines are the processes of virtual machines, by number.
func machines(t *testing.T) []string {
	t.Helper()
	var found []string
	commands, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range commands {
		name, err := os.ReadFile(file)
		if err == nil && strings.HasPrefix(string(name), "qemu-system") { // others end meanwhile
			found = append(found, filepath.Base(filepath.Dir(file)))
		}
	}
	slices.Sort(found)
	return found
}

// machineOutlives stops and starts what runs virtual machines, and kills containers one by one: the
// machine is the same process throughout, and answers again at the end.
func (s *suite) machineOutlives(t *testing.T) {
	before := machines(t)
	if len(before) == 0 {
		t.Fatal("there is no virtual machine")
	}
	same := func(when string) {
		t.Helper()
		if now := machines(t); !slices.Equal(now, before) {
			t.Fatalf("%s the virtual machines are processes %v; they were %v", when, now, before)
		}
	}
	r := s.Copse(t, "plan", "compute-operation")
	if r.Code != 0 {
		t.Errorf("plan ended with %d:\n%s", r.Code, r)
	}
	s.Must(t, "stop", "compute-operation")
	same("after stop compute-operation")
	s.Must(t, "start", "compute-operation", "--yes")
	same("after start compute-operation")
	s.Healthy(t)
	s.answers(t)

	for _, name := range []string{"nova-libvirt", "nova-compute", "neutron-l3-agent", "neutron-openvswitch-agent", "neutron-dhcp-agent"} {
		testcloud.Docker(t, "rm", "--force", s.Containers(t)[name].EngineName())
		same("after the removal of " + name)
		s.Must(t, "up", "--yes")
		same("after " + name + " came back")
	}
	s.Healthy(t)
	s.answers(t)
}

// answers waits until the verification's server answers at its floating address.
func (s *suite) answers(t *testing.T) {
	t.Helper()
	addresses := testcloud.Lines(s.OpenStack(t, "floating", "ip", "list", "-f", "value", "-c", "Floating IP Address"))
	if len(addresses) != 1 {
		t.Fatalf("floating addresses %q; want one", addresses)
	}
	testcloud.Until(t, "the server answers at "+addresses[0], func() string {
		if r := testcloud.Run(t, testcloud.Command(t, "", nil, "ping", "-c", "1", "-W", "1", addresses[0])); r.Code != 0 {
			return r.String()
		}
		return ""
	})
}

// downAsks holds that a running machine is mentioned, and that nobody loses its network unasked.
func (s *suite) downAsks(t *testing.T) {
	r := s.Copse(t, "down")
	if r.Code == 0 || !strings.Contains(r.String(), "qemu-system") || !strings.Contains(r.String(), "--yes") {
		t.Errorf("down with a virtual machine, nobody to ask: ended with %d:\n%s", r.Code, r)
	}
	s.Healthy(t)
}
