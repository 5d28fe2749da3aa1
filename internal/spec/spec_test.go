// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"copse/catalog"
	"copse/internal/tree"
)

var update = flag.Bool("update", false, "write the golden files anew")

// defaults are options that depend on nothing of the machine.
func defaults(t testing.TB) Options {
	t.Helper()
	return Options{CloudFile: write(t, "cloud.yaml", "{}"), Address: "192.0.2.10", Host: "host-1"}
}

// write puts a file into a new directory and returns its path.
func write(t testing.TB, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func load(t testing.TB, opts Options) *tree.Document {
	t.Helper()
	doc, err := Load(context.Background(), opts)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return doc
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; run the test with -update to make it", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got); look at it and run with -update:\n%s", file, diff)
	}
}

func TestDefaultDocument(t *testing.T) {
	got, err := json.MarshalIndent(load(t, defaults(t)), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "default.json", append(got, '\n'))
}

func TestMissingDefaultCloudFile(t *testing.T) {
	t.Chdir(t.TempDir())
	doc := load(t, Options{Address: "192.0.2.10", Host: "host-1"})
	if doc.Cloud != "copse" || doc.Containers[0].Release != DefaultRelease {
		t.Errorf("without a cloud file: cloud %q at release %q", doc.Cloud, doc.Containers[0].Release)
	}
}

func TestExampleCloudFile(t *testing.T) {
	doc := load(t, Options{CloudFile: "../../cloud.example.yaml", Host: "host-1"})
	keystone := doc.Container("keystone")
	for key, want := range map[string]string{
		"OS_TOKEN__EXPIRATION": "7200", "OS_DEFAULT__DEBUG": "false", "OS_OSLO_MIDDLEWARE__MAX_REQUEST_BODY_SIZE": "114688",
	} {
		if got := keystone.Spec.Environment[key]; got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
	if got := doc.Values["ADDRESS"]; got != "192.0.2.10" {
		t.Errorf("ADDRESS = %q", got)
	}
}

// small is a catalogue to make faults in.
func small() fstest.MapFS {
	return fstest.MapFS{
		"values.yaml": {Data: []byte(`
ADDRESS: {type: address, source: default-route}
INTERNAL_ADDRESS: {type: address, default: 127.0.0.1}
WORKERS: {type: int, default: 2}
DEBUG: {type: bool, default: false}
NAMES: {type: list, default: [a, b]}
NETWORK: {type: cidr, default: 198.51.100.0/24}
LISTEN: {type: string, default: "${INTERNAL_ADDRESS}:${WORKERS}"}
`)},
		"env/shared.env": {Data: []byte("# shared\nLEVEL=env_file\nQUOTED=\"a b\"\nWORKERS=${WORKERS}\n")},
		"sets/base/compose.yaml": {Data: []byte(`
x-copse: {description: the base}
services:
  db:
    user: "10:20"
    command: [db, --price=$$5, "${LISTEN}"]
    env_file: [../../env/shared.env]
    environment: {LEVEL: service, KEPT: "yes"}
    volumes: [data:/data]
    tmpfs: ["/run:mode=0755"]
    secrets: [password]
    configs: [{source: conf, target: /etc/db.conf}]
    healthcheck: {test: [CMD, check], retries: 7}
    x-copse: {component: database, image: db, ports: [{name: db, address: "${INTERNAL_ADDRESS}", port: 3306}]}
configs:
  conf: {content: "workers=${WORKERS}"}
secrets:
  password: {external: true, x-copse: {generate: hex, length: 16}}
volumes:
  data:
`)},
		"sets/base/api/compose.yaml": {Data: []byte(`
services:
  api:
    command: [api]
    environment: [LEVEL=service]
    healthcheck: {test: "check me"}
    depends_on: {db: {condition: service_healthy}}
    x-copse:
      component: api
      image: api
      frontend: {port: 80, addresses: ["${ADDRESS}", "${INTERNAL_ADDRESS}", "${ADDRESS}"], internal: "${INTERNAL_ADDRESS}"}
      ready: {test: [CMD, ready], interval: 250ms}
`)},
		"sets/edge/compose.yaml": {Data: []byte(`
services:
  proxy:
    image: registry.example/haproxy:3
    healthcheck: {test: [CMD, check]}
    depends_on: [api]
    volumes: ["/srv/proxy:/srv/proxy:rshared"]
    cap_add: [NET_BIND_SERVICE]
    pid: host
    x-copse:
      component: haproxy
      proxy: {directory: /srv/proxy}
      privileges: {cap_add NET_BIND_SERVICE: ports below 1024, bind /srv/proxy: configuration, pid host: to see it}
`)},
	}
}

// with returns small with files replaced by the result of editing them.
func with(t testing.TB, file, old, new string) fs.FS {
	t.Helper()
	files := small()
	before := ""
	if f := files[file]; f != nil {
		before = string(f.Data)
	}
	if old != "" && !strings.Contains(before, old) {
		t.Fatalf("%s has no %q", file, old)
	}
	after := strings.Replace(before, old, new, 1)
	files[file] = &fstest.MapFile{Data: []byte(after)}
	return files
}

func TestSmallDocument(t *testing.T) {
	opts := defaults(t)
	opts.Catalogue = small()
	opts.References = func(image, release string) (string, error) { return image + "@" + release, nil }
	doc := load(t, opts)
	got, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "small.json", append(got, '\n'))
}

func TestValuePrecedence(t *testing.T) {
	opts := defaults(t)
	opts.Catalogue = small()
	opts.Address = ""
	opts.DefaultAddress = func() (string, error) { return "192.0.2.1", nil }
	check := func(what, name, want string) {
		t.Helper()
		if got := load(t, opts).Values[name]; got != want {
			t.Errorf("%s: %s = %q, want %q", what, name, got, want)
		}
	}
	check("default route", "ADDRESS", "192.0.2.1")
	check("default", "WORKERS", "2")
	check("default that refers to others", "LISTEN", "127.0.0.1:2")
	check("list", "NAMES", "a,b")
	opts.CloudFile = write(t, "cloud.yaml", "values: {WORKERS: 3, ADDRESS: 192.0.2.2, NAMES: [x, y]}")
	check("cloud file", "WORKERS", "3")
	check("cloud file", "LISTEN", "127.0.0.1:3")
	check("cloud file", "NAMES", "x,y")
	opts.EnvFiles = []string{write(t, "one.env", "export WORKERS=4\nDEBUG=TRUE\n"), write(t, "two.env", "# five\nWORKERS='5'\n")}
	check("env file", "WORKERS", "5")
	check("env file", "DEBUG", "true")
	opts.Environment = []string{"WORKERS=6", "PATH=/bin", "ADDRESS=192.0.2.3"}
	check("environment", "WORKERS", "6")
	check("environment", "ADDRESS", "192.0.2.3")
	opts.Address = "192.0.2.4"
	check("flag", "ADDRESS", "192.0.2.4")
}

func TestOptionPrecedence(t *testing.T) {
	opts := defaults(t)
	opts.Catalogue = small()
	check := func(cloud, container, key, want string) {
		t.Helper()
		opts.CloudFile = write(t, "cloud.yaml", cloud)
		got, ok := load(t, opts).Container(container).Spec.Environment[key]
		if !ok {
			got = "(none)"
		}
		if got != want {
			t.Errorf("%s: %s of %s = %q, want %q", cloud, key, container, got, want)
		}
	}
	check("{}", "db", "LEVEL", "service")
	check("{}", "db", "QUOTED", "a b")
	check("{}", "db", "WORKERS", "2")
	check("options: {components: {database: {LEVEL: component}}}", "db", "LEVEL", "component")
	check("options: {components: {database: {LEVEL: component}}, sets: {base: {LEVEL: set}}}", "db", "LEVEL", "set")
	check("options: {sets: {base: {LEVEL: outer}, base/api: {LEVEL: inner}}}", "api", "LEVEL", "inner")
	check("options: {sets: {base: {LEVEL: outer}, base/api: {LEVEL: inner}}}", "db", "LEVEL", "outer")
	check("options: {sets: {base: {LEVEL: set}}, containers: {db: {LEVEL: container}}}", "db", "LEVEL", "container")
	check("options: {containers: {db: {LEVEL: null}}}", "db", "LEVEL", "(none)")
	check("options: {components: {database: {LEVEL: c}}, containers: {db: {LEVEL: null}}}", "db", "LEVEL", "(none)")
	check("options: {containers: {db: {OS_A__B: ['${WORKERS}', $$]}}}", "db", "OS_A__B", "2,$")
	check("options: {containers: {db: {OS_A__B: true}}}", "db", "OS_A__B", "true")
	check("options: {containers: {db: {OS_A__B: '{{secret password}}'}}}", "db", "OS_A__B", "{{secret password}}")
}

func TestSelectedSets(t *testing.T) {
	opts := defaults(t)
	opts.Catalogue = small()
	opts.CloudFile = write(t, "cloud.yaml", "sets: [base, edge]")
	if got := len(load(t, opts).Containers); got != 3 {
		t.Errorf("base and edge have %d containers, want 3: a set brings those below it", got)
	}
	opts.CloudFile = write(t, "cloud.yaml", "sets: [database-control]")
	opts.Catalogue = catalog.Files()
	doc := load(t, opts)
	var names []string
	for _, c := range doc.Containers {
		if c.Component == "mariadb" {
			names = append(names, c.Name)
		}
	}
	if want := []string{"databases", "mariadb", "mariadb-db-dump", "mariadb-db-expand", "mariadb-init"}; !slices.Equal(names, want) {
		t.Errorf("database-control alone has %q of mariadb, want %q", names, want)
	}
	for _, s := range doc.Secrets {
		if strings.HasPrefix(s.Name, "rabbitmq") {
			t.Errorf("secret %s of another set is in the document", s.Name)
		}
	}
}

func TestOperatorsCatalogueAndFiles(t *testing.T) {
	directory := t.TempDir()
	files := map[string]string{
		"cloud.yaml":                       "name: lab\ncatalogue: [mine]\nvalues: {COLOUR: green}\nfiles: [{components: [database], source: db.conf, target: /etc/db.conf, mode: '0400'}]\n",
		"db.conf":                          "mine ${not} touched",
		"mine/values.yaml":                 "COLOUR: {type: string, default: red}\nWORKERS: {type: int, default: 9}\n",
		"mine/env/shared.env":              "LEVEL=mine\nCOLOUR=${COLOUR}\n",
		"mine/sets/extra/compose.yaml":     "services: {extra: {image: 'x:1', command: '${COLOUR} ${WORKERS}', healthcheck: {test: [CMD, x]}, x-copse: {component: extra}}}",
		"mine/sets/edge/compose.yaml":      "services: {front: {image: 'x:2', healthcheck: {test: [CMD, x]}, x-copse: {component: haproxy, proxy: {directory: /p}}}}",
		"mine/sets/extra/leaf/README.text": "no set",
	}
	for name, content := range files {
		file := filepath.Join(directory, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opts := defaults(t)
	opts.Catalogue = small()
	opts.CloudFile = filepath.Join(directory, "cloud.yaml")
	doc := load(t, opts)
	if c := doc.Container("extra"); c == nil || !slices.Equal(c.Spec.Command, []string{"green", "9"}) {
		t.Errorf("the operator's set: %+v", c)
	}
	if doc.Container("proxy") != nil || doc.Container("front") == nil {
		t.Error("the operator's set edge did not take the place of the catalogue's")
	}
	db := doc.Container("db")
	want := tree.File{Target: "/etc/db.conf", Content: "mine ${not} touched", Mode: 0o400, UID: 10, GID: 20, Source: "db.conf"}
	if diff := cmp.Diff([]tree.File{want}, db.Files); diff != "" {
		t.Errorf("files of db (-want +got):\n%s", diff)
	}
	if got := db.Spec.Environment["COLOUR"]; got != "green" {
		t.Errorf("the operator's env file was not used: COLOUR = %q", got)
	}
	if got := doc.Volumes[0].Name; got != "lab_data" {
		t.Errorf("volume %q is not named after the cloud", got)
	}
}

func TestCheckOptions(t *testing.T) {
	opts := defaults(t)
	opts.Catalogue = small()
	opts.CloudFile = write(t, "cloud.yaml", "options:\n  components:\n    database:\n      OS_A__GOOD: 1\n      OS_A__BAD: 1\n      PLAIN: 1\n")
	var asked []string
	opts.CheckOptions = func(c *tree.Container, options []string) map[string]error {
		asked = append(asked, c.Name+" "+strings.Join(options, " "))
		return map[string]error{"OS_A__BAD": fmt.Errorf("no option bad in [a]; nearest is OS_A__GOOD")}
	}
	_, err := Load(context.Background(), opts)
	if want := "cloud.yaml:5: options.components.database.OS_A__BAD: no option bad in [a]; nearest is OS_A__GOOD"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("error %v, want it to end in %q", err, want)
	}
	if want := []string{"db OS_A__BAD OS_A__GOOD"}; !slices.Equal(asked, want) {
		t.Errorf("asked about %q, want %q", asked, want)
	}
	// One line that several containers are given is complained about once.
	opts.CloudFile = write(t, "cloud.yaml", "options: {sets: {base: {OS_A__BAD: 1}}}\n")
	if _, err := Load(context.Background(), opts); err == nil || strings.Count(err.Error(), "OS_A__BAD") != 1 {
		t.Errorf("error %v, want one line", err)
	}
}

func TestLoadIsDeterministic(t *testing.T) {
	first, err := json.Marshal(load(t, defaults(t)))
	if err != nil {
		t.Fatal(err)
	}
	var loader Loader
	opts := defaults(t)
	rapid.Check(t, func(r *rapid.T) {
		// The order of what has none must not show: of maps, of goroutines, of variables.
		opts.Environment = rapid.Permutation([]string{"A=1", "DEBUG=false", "REGION=RegionOne", "PORT=1"}).Draw(r, "environment")
		doc, err := loader.Load(context.Background(), opts)
		if err != nil {
			r.Fatal(err)
		}
		again, err := json.Marshal(doc)
		if err != nil {
			r.Fatal(err)
		}
		if string(first) != string(again) {
			r.Fatalf("two documents of one cloud differ:\n%s", cmp.Diff(string(first), string(again)))
		}
	})
}

func TestCacheIsByValues(t *testing.T) {
	var loader Loader
	opts := defaults(t)
	opts.Catalogue = small()
	for _, workers := range []string{"3", "4", "3"} {
		opts.Environment = []string{"WORKERS=" + workers}
		doc, err := loader.Load(context.Background(), opts)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := doc.Container("db").Spec.Command[2], "127.0.0.1:"+workers; got != want {
			t.Errorf("with WORKERS=%s the command has %q, want %q", workers, got, want)
		}
		// What a caller does to a document must not reach the next one.
		for i := range doc.Containers {
			clear(doc.Containers[i].Spec.Environment)
			clear(doc.Containers[i].Spec.Command)
			maps.DeleteFunc(doc.Containers[i].Privileges, func(string, string) bool { return true })
		}
	}
}
