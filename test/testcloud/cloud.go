// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package testcloud

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Name is the name of the cloud that tests make; its volumes start with it.
const Name = "e2e"

// StateDir is the agent's.
const StateDir = "/var/lib/copse"

// Cloud is the tests' cloud and the program that runs it.
type Cloud struct {
	// Program is a copy of bin/copse, so that a build in the meantime changes nothing.
	Program string
	// Repository is the root of the source tree.
	Repository string
	// Dir is where the program is called: no cloud.yaml is found by chance.
	Dir string
	// File is the cloud file, written by Declare.
	File string
	// Names are what is brought up and looked at; none is the whole cloud.
	Names []string
}

// Container is what `copse ps --format json` says of one, as the documentation promises.
type Container struct {
	Host       string    `json:"host"`
	Set        string    `json:"set"`
	Name       string    `json:"name"`
	Component  string    `json:"component"`
	Generation int       `json:"generation"`
	Release    string    `json:"release"`
	Image      string    `json:"image"`
	EngineID   string    `json:"engine_id"`
	State      string    `json:"state"`
	Health     string    `json:"health"`
	StartedAt  time.Time `json:"started_at"`
	Restarts   int       `json:"restarts"`
	Job        bool      `json:"job"`
}

// EngineName is the container's name in the engine.
func (c Container) EngineName() string { return c.Name + "." + strconv.Itoa(c.Generation) }

// Plan is what `copse plan --format json` says.
type Plan struct {
	Kind      string `json:"kind"`
	Revision  uint64 `json:"revision"`
	Unchanged int    `json:"unchanged"`
	Steps     []Step `json:"steps"`
}

// Step is one step of a plan.
type Step struct {
	Container string   `json:"container"`
	Action    string   `json:"action"`
	Causes    []string `json:"causes"`
	Drift     bool     `json:"drift"`
	From      int      `json:"from"`
}

// Change is what `copse change --format json` says.
type Change struct {
	ID        int        `json:"id"`
	Kind      string     `json:"kind"`
	Summary   string     `json:"summary"`
	Status    string     `json:"status"`
	User      string     `json:"user"`
	CreatedAt time.Time  `json:"created_at"`
	EndedAt   *time.Time `json:"ended_at"`
	Error     string     `json:"error"`
	Tasks     []struct {
		Kind    string `json:"kind"`
		Subject string `json:"subject"`
		Status  string `json:"status"`
	} `json:"tasks"`
}

// Open finds the program and checks that this host can run a cloud. It touches nothing.
func Open(t testing.TB) *Cloud {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("only root can bring up a cloud: run the tests as root, e.g. sudo make test-e2e")
	}
	c := &Cloud{Repository: repository(t), Dir: t.TempDir()}
	built := filepath.Join(c.Repository, "bin", "copse")
	if _, err := os.Stat(built); err != nil {
		t.Fatalf("%v: run \"make build\" first, or \"make test-e2e\", which does", err)
	}
	if r := Run(t, Command(t, "", nil, "docker", "version")); r.Code != 0 {
		t.Fatalf("the container engine does not answer: run scripts/host-setup.sh --test:\n%s", r)
	}
	if _, err := exec.LookPath("openstack"); err != nil {
		t.Fatalf("%v: run scripts/host-setup.sh --test", err)
	}
	c.Program = filepath.Join(c.Dir, "copse")
	copyFile(t, built, c.Program)
	c.File = filepath.Join(c.Dir, "e2e.yaml")
	c.Declare(t, "")
	return c
}

func repository(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the working directory: run the tests inside the source tree")
		}
		dir = filepath.Dir(dir)
	}
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// Declare writes the cloud file: the tests' cloud and what is given, in YAML, besides.
func (c *Cloud) Declare(t testing.TB, more string) {
	t.Helper()
	if err := os.WriteFile(c.File, []byte("name: "+Name+"\n"+more), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Command is a call of the program.
func (c *Cloud) Command(t testing.TB, args ...string) *exec.Cmd {
	return Command(t, c.Dir, []string{"COPSE_SOCKET=", "NO_COLOR=1"}, c.Program, append([]string{"--cloud", c.File}, args...)...)
}

// Copse runs the program to its end.
func (c *Cloud) Copse(t testing.TB, args ...string) Result {
	t.Helper()
	return Run(t, c.Command(t, args...))
}

// Must runs the program, which has to succeed, and returns its standard output.
func (c *Cloud) Must(t testing.TB, args ...string) string {
	t.Helper()
	r := c.Copse(t, args...)
	if r.Code != 0 {
		t.Fatalf("copse %s ended with %d:\n%s", strings.Join(args, " "), r.Code, r)
	}
	return r.Stdout
}

// Up brings up what is declared.
func (c *Cloud) Up(t testing.TB) {
	t.Helper()
	c.Must(t, c.With("up", "--yes")...)
}

// With appends the names to arguments.
func (c *Cloud) With(args ...string) []string { return append(args, c.Names...) }

// Plan asks what up would do, and holds the exit code to the answer.
func (c *Cloud) Plan(t testing.TB) Plan {
	t.Helper()
	r := c.Copse(t, c.With("plan", "--format", "json")...)
	if r.Code != 0 && r.Code != 2 {
		t.Fatalf("copse plan ended with %d:\n%s", r.Code, r)
	}
	p := Object[Plan](t, r.Stdout)
	if (r.Code == 2) != (len(p.Steps) > 0) {
		t.Errorf("copse plan ended with %d and has %d steps", r.Code, len(p.Steps))
	}
	return p
}

// Containers are those that are no jobs, by name.
func (c *Cloud) Containers(t testing.TB) map[string]Container {
	t.Helper()
	containers := map[string]Container{}
	for _, one := range Objects[Container](t, c.Must(t, c.With("ps", "--format", "json")...)) {
		containers[one.Name] = one
	}
	return containers
}

// Healthy waits until every container is healthy, and returns them.
func (c *Cloud) Healthy(t testing.TB) map[string]Container {
	t.Helper()
	var containers map[string]Container
	Until(t, "healthy containers", func() string {
		containers = c.Containers(t)
		for name, one := range containers {
			if one.Health != "healthy" {
				return name + " is " + one.Health
			}
		}
		if len(containers) == 0 {
			return "there are none"
		}
		return ""
	})
	return containers
}

// Change asks for one change.
func (c *Cloud) Change(t testing.TB, id int) Change {
	t.Helper()
	return Object[Change](t, c.Must(t, "change", strconv.Itoa(id), "--format", "json"))
}

// Ended waits for the end of a change while the agent may come and go.
func (c *Cloud) Ended(t testing.TB, id int) Change {
	t.Helper()
	var change Change
	Until(t, fmt.Sprintf("the end of change %d", id), func() string {
		r := c.Copse(t, "change", strconv.Itoa(id), "--format", "json")
		if r.Code != 0 {
			return r.String()
		}
		change = Object[Change](t, r.Stdout)
		if change.EndedAt == nil {
			return "it is " + change.Status
		}
		return ""
	})
	return change
}

// Latest is the newest change.
func (c *Cloud) Latest(t testing.TB) Change {
	t.Helper()
	var latest Change
	for _, change := range Objects[Change](t, c.Must(t, "changes", "--format", "json")) {
		if change.ID > latest.ID {
			latest = change
		}
	}
	return latest
}

// OpenStack runs the openstack client as the documentation tells an operator to.
func (c *Cloud) OpenStack(t testing.TB, args ...string) string {
	t.Helper()
	script := `eval "$("$0" openrc)" && exec openstack "$@"`
	return Must(t, "sh", append([]string{"-c", script, c.Program}, args...)...)
}
