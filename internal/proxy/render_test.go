// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func goldenTable() Table {
	return Table{Backends: []Backend{
		{
			Name: "keystone", Mode: "http", Addresses: []string{"192.0.2.10", "127.0.0.1", "192.0.2.10"}, Port: 5000, CheckPath: "/v3",
			Servers: [2]Server{
				{Address: "127.0.0.1:34001", State: Drain, Generation: 12},
				{Address: "127.0.0.1:34007", State: Ready, Generation: 31},
			},
		},
		{
			Name: "glance-api", Mode: "http", Addresses: []string{"192.0.2.10", "2001:db8::1"}, Port: 9292,
			Servers: [2]Server{{Address: "[::1]:34002", State: Ready, Generation: 4}, {}},
		},
		{
			Name: "mariadb", Mode: "tcp", Addresses: []string{"127.0.0.1"}, Port: 3306,
			Servers: [2]Server{{}, {Address: "127.0.0.1:34003", State: Ready, Generation: 1}},
		},
	}}
}

func TestRender(t *testing.T) {
	got, err := Render("/run/copse/proxy", goldenTable())
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/haproxy.cfg"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

// The description decides whether a running process must be reloaded.
func TestDescription(t *testing.T) {
	base := description(goldenTable())
	same := goldenTable()
	same.Backends[0].Servers = [2]Server{{Address: "127.0.0.1:1234", State: Ready, Generation: 99}, {}}
	if got := description(same); got != base {
		t.Error("another server asks for a reload")
	}
	changes := map[string]func(*Table){
		"port":    func(t *Table) { t.Backends[0].Port = 5001 },
		"address": func(t *Table) { t.Backends[0].Addresses = t.Backends[0].Addresses[:1] },
		"check":   func(t *Table) { t.Backends[1].CheckPath = "/healthcheck" },
		"mode":    func(t *Table) { t.Backends[2].Mode = "http" },
		"fewer":   func(t *Table) { t.Backends = t.Backends[:2] },
	}
	for name, change := range changes {
		table := goldenTable()
		change(&table)
		if description(table) == base {
			t.Errorf("%s: a change of structure asks for no reload", name)
		}
	}
}

func TestRefusedTables(t *testing.T) {
	tests := map[string]struct {
		change func(*Backend)
		want   string
	}{
		"name":          {func(b *Backend) { b.Name = "a\nglobal" }, "name"},
		"mode":          {func(b *Backend) { b.Mode = "udp" }, "neither http nor tcp"},
		"no address":    {func(b *Backend) { b.Addresses = nil }, "no address"},
		"host name":     {func(b *Backend) { b.Addresses = []string{"localhost"} }, "not an IP address"},
		"port":          {func(b *Backend) { b.Port = 70000 }, "not a port"},
		"path":          {func(b *Backend) { b.CheckPath = "/v3\n    bind :1" }, "path of a URL"},
		"server":        {func(b *Backend) { b.Servers[0].Address = "127.0.0.1" }, "not an address and port"},
		"server port":   {func(b *Backend) { b.Servers[0].Address = "127.0.0.1:0" }, "not an address and port"},
		"state":         {func(b *Backend) { b.Servers[0].State = "up" }, "not one of"},
		"name twice":    {func(b *Backend) { b.Name = "glance-api" }, "two front ends"},
		"address twice": {func(b *Backend) { b.Port = 3306 }, "taken by front end"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			table := goldenTable()
			test.change(&table.Backends[0])
			if _, err := Render("/run/p", table); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error that says %q", err, test.want)
			}
		})
	}
	for _, dir := range []string{"relative", "/run/../etc", "/run/a b", "/" + strings.Repeat("x", 100)} {
		if _, err := Render(dir, goldenTable()); err == nil {
			t.Errorf("directory %q is accepted", dir)
		}
	}
}

// The container is started as this package needs it.
func TestCommandOfContainer(t *testing.T) {
	const path = "../../catalog/sets/high-availability-control/compose.yaml"
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for line := range strings.Lines(strings.ReplaceAll(startScript, "$", "$$")) {
		want.WriteString("        " + line)
	}
	if !strings.Contains(string(content), "      - |-\n"+want.String()+"\n") {
		t.Errorf("%s does not start HAProxy by\n%s", path, startScript)
	}
}
