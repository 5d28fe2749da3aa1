// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
)

const (
	baseFile  = "sets/base/compose.yaml"
	apiFile   = "sets/base/api/compose.yaml"
	proxyFile = "sets/edge/compose.yaml"
)

// TestFaults gives each kind of bad input and holds the message to file, line, object and way out.
func TestFaults(t *testing.T) {
	edit := func(file, old, new string) func(*testing.T, *Options) {
		return func(t *testing.T, o *Options) { o.Catalogue = with(t, file, old, new) }
	}
	cloud := func(content string) func(*testing.T, *Options) {
		return func(t *testing.T, o *Options) { o.CloudFile = write(t, "cloud.yaml", content) }
	}
	for _, c := range []struct {
		name string
		edit func(*testing.T, *Options)
		want []string // all of them in the message
	}{
		// The cloud file.
		{"unknown key", cloud("name: x\nrelaese: '1'\n"), []string{"cloud.yaml:2: relaese: unknown key", `"release"`}},
		{"no YAML", cloud("name: [\n"), []string{"cloud.yaml: ", "line"}},
		{"no mapping", cloud("- a\n"), []string{"cloud.yaml:1: a mapping"}},
		{"bad name", cloud("name: My Cloud\n"), []string{"cloud.yaml:1: name: \"My Cloud\"", "lower-case"}},
		{"unknown value", cloud("values:\n  ADRESS: 192.0.2.1\n"), []string{"cloud.yaml:2: values.ADRESS: no such value", `"ADDRESS"`}},
		{"value far from all", cloud("values:\n  COMPLETELY_DIFFERENT: 1\n"), []string{"cloud.yaml:2", "declares ADDRESS, DEBUG"}},
		{"not an int", cloud("values:\n  WORKERS: many\n"), []string{"cloud.yaml:2: values.WORKERS: \"many\" is no whole number"}},
		{"not a bool", cloud("values: {DEBUG: maybe}\n"), []string{"cloud.yaml:1: values.DEBUG: \"maybe\" is neither true nor false"}},
		{"not an address", cloud("values: {INTERNAL_ADDRESS: host-1}\n"), []string{"values.INTERNAL_ADDRESS: \"host-1\" is no IP address"}},
		{"any address", cloud("values: {INTERNAL_ADDRESS: 0.0.0.0}\n"), []string{"values.INTERNAL_ADDRESS: 0.0.0.0 is not one address"}},
		{"not a network", cloud("values: {NETWORK: 198.51.100.7}\n"), []string{"values.NETWORK", "is no network"}},
		{"network with host bits", cloud("values: {NETWORK: 198.51.100.7/24}\n"), []string{"values.NETWORK", "did you mean 198.51.100.0/24?"}},
		{"empty item", cloud("values: {NAMES: 'a,,b'}\n"), []string{"values.NAMES", "empty item"}},
		{"mapping for a value", cloud("values: {WORKERS: {a: 1}}\n"), []string{"values.WORKERS", "single value or a list"}},
		{"unknown set", cloud("sets:\n- base\n- egde\n"), []string{"cloud.yaml:3: sets.1: there is no set \"egde\"", `"edge"`}},
		{"release of nothing", cloud("releases:\n  databse: x\n"), []string{"cloud.yaml:2: releases.databse: there is no component", `"database"`}},
		{"options of no component", cloud("options:\n  components:\n    databse: {A: 1}\n"), []string{"cloud.yaml:3: options.components.databse: there is no component", `"database"`}},
		{"options of no set", cloud("options: {sets: {bas: {A: 1}}}\n"), []string{"options.sets.bas: there is no set", `"base"`}},
		{"options of no container", cloud("options: {containers: {bd: {A: 1}}}\n"), []string{"options.containers.bd: there is no container", `"db"`}},
		{"option with an unknown value", cloud("options: {containers: {db: {A: '${WORKRES}'}}}\n"), []string{"options.containers.db.A: ${WORKRES} is no declared value", `"WORKERS"`}},
		{"option with a foreign secret", cloud("options:\n  containers:\n    api: {A: '{{secret password}}'}\n"), []string{"cloud.yaml:3: options.containers.api.A", "needs the secret password"}},
		{"file for nobody", cloud("files:\n- {source: cloud.yaml, target: /x}\n"), []string{"cloud.yaml:2: files.0.source: names nobody"}},
		{"file for a stranger", cloud("files:\n- {containers: [bd], source: cloud.yaml, target: /x}\n"), []string{"files.0.containers.0: there is no such name \"bd\"", `"db"`}},
		{"file that is not there", cloud("files:\n- {containers: [db], source: gone, target: /x}\n"), []string{"files.0.source: cannot read the file", "gone"}},
		{"file without a place", cloud("files:\n- {containers: [db], source: cloud.yaml, target: x}\n"), []string{"files.0.target: \"x\" is no absolute path"}},
		{"file with a bad mode", cloud("files:\n- {containers: [db], source: cloud.yaml, target: /x, mode: rw}\n"), []string{"files.0.mode: \"rw\" is no file mode"}},
		{"catalogue that is not there", cloud("catalogue: [gone]\n"), []string{"cloud.yaml:1: catalogue.0", "is no directory"}},
		{"override file that is not there", cloud("images: gone.yaml\n"), []string{"cloud.yaml:1: images: cannot read", "gone.yaml"}},
		{"cloud file that is not there", func(_ *testing.T, o *Options) { o.CloudFile = "gone.yaml" }, []string{"cannot read the cloud file", "gone.yaml"}},

		// Values from elsewhere.
		{"env file that is not there", func(_ *testing.T, o *Options) { o.EnvFiles = []string{"gone.env"} }, []string{"cannot read the env file", "gone.env"}},
		{"unknown value in an env file", func(t *testing.T, o *Options) { o.EnvFiles = []string{write(t, "my.env", "\nWORKRES=1\n")} }, []string{"my.env:2: WORKRES: no such value", `"WORKERS"`}},
		{"no pair in an env file", func(t *testing.T, o *Options) { o.EnvFiles = []string{write(t, "my.env", "WORKERS 1\n")} }, []string{"my.env:1: the line is not of the form KEY=VALUE"}},
		{"bad value in the environment", func(_ *testing.T, o *Options) { o.Environment = []string{"WORKERS=x"} }, []string{"environment: WORKERS: \"x\" is no whole number"}},
		{"bad address on the command line", func(_ *testing.T, o *Options) { o.Address = "here" }, []string{"command line: --address: \"here\" is no IP address"}},
		{"no default route", func(_ *testing.T, o *Options) {
			o.Address = ""
			o.DefaultAddress = func() (string, error) { return "", errors.New("there is no default route") }
		}, []string{"values.yaml:2: ADDRESS: cannot find its default", "there is no default route", "cloud.yaml"}},
		{"missing value", edit("values.yaml", "WORKERS: {type: int, default: 2}", "WORKERS: {type: int}"), []string{"catalog/values.yaml:4: WORKERS: has no default and is not set", "cloud.yaml"}},
		{"bad type", edit("values.yaml", "type: int", "type: integer"), []string{"values.yaml:4: WORKERS.type: unknown type", `"int`}},
		{"bad source", edit("values.yaml", "source: default-route", "source: sky"), []string{"values.yaml:2: ADDRESS.source: unknown source \"sky\""}},
		{"default of the wrong type", edit("values.yaml", "default: 2", "default: two"), []string{"values.yaml:4: WORKERS: \"two\" is no whole number"}},
		{"defaults in a circle", edit("values.yaml", "default: 2}", "default: '${DEPTH}'}\nDEPTH: {type: int, default: '${WORKERS}'}"), []string{"its default refers to itself", "DEPTH → WORKERS → DEPTH"}},
		{"unknown value in a default", edit("values.yaml", "default: 2", "default: '${X}'"), []string{"values.yaml:4: WORKERS: ${X} is no declared value"}},
		{"unknown key of a value", edit("values.yaml", "type: int", "kind: int"), []string{"values.yaml:4: WORKERS.kind: unknown key"}},

		// Compose files.
		{"no YAML in a set", edit(baseFile, "services:", "services: ["), []string{"catalog/sets/base/compose.yaml: "}},
		{"unknown Compose key", edit(baseFile, `user: "10:20"`, `usr: "10:20"`), []string{"catalog/sets/base/compose.yaml:5: service db: usr: Copse does not honour this key", `"user"`}},
		{"Compose key that is not honoured", edit(baseFile, "command:", "container_name: x\n    command:"), []string{"base/compose.yaml:6: service db: container_name: Copse does not honour"}},
		{"nested key that is not honoured", edit(baseFile, "retries: 7", "retires: 7"), []string{"service db: healthcheck.retires", `"retries"`}},
		{"key of a mount", edit(baseFile, "[data:/data]", "[{type: volume, source: data, target: /data, volume: {subpath: x}}]"), []string{"service db: volumes.0.volume.subpath"}},
		{"misspelt extension", edit(baseFile, "    x-copse: {component: database", "    x-cospe: {component: database"), []string{"service db: x-cospe", `"x-copse"`}},
		{"misspelt extension at the top", edit(baseFile, "x-copse: {description", "x-cospe: {description"), []string{"compose.yaml:2: x-cospe", `"x-copse"`}},
		{"wrong type", edit(baseFile, "retries: 7", "retries: [7]"), []string{"catalog/sets/base/compose.yaml: ", "retries"}},
		{"unknown key under x-copse", edit(apiFile, "frontend:", "frontnd:"), []string{"catalog/sets/base/api/compose.yaml:11: service api: x-copse.frontnd: unknown key", `"frontend"`}},
		{"unknown key below it", edit(apiFile, "interval: 250ms", "intervall: 250ms"), []string{"service api: x-copse.ready.intervall: unknown key", `"interval"`}},
		{"bad duration", edit(apiFile, "interval: 250ms", "interval: soon"), []string{"service api: x-copse.ready.interval: soon is no duration"}},
		{"bad port", edit(apiFile, "port: 80", "port: http"), []string{"service api: x-copse.frontend.port: \"http\" is no whole number"}},
		{"port out of range", edit(apiFile, "port: 80", "port: 80000"), []string{"service api: x-copse.frontend.port: 80000 is no port"}},
		{"unknown value in a set", edit(baseFile, "${LISTEN}", "${LISTNE}"), []string{"base/compose.yaml:6: service db: command.2: ${LISTNE} is no declared value", `"LISTEN"`}},
		{"unknown value with a default", edit(baseFile, "${LISTEN}", "${LISTNE:-x}"), []string{"${LISTNE} is no declared value"}},
		{"unreadable reference", edit(baseFile, "${LISTEN}", "${LISTEN"), []string{"service db: command.2", "write $$ for a dollar sign"}},
		{"required value that is empty", edit(baseFile, "${LISTEN}", "${LISTEN:+}${WORKERS:?}${NAMES:?must be set}"), nil},
		{"no component", edit(apiFile, "component: api\n", "rollback: free\n"), []string{"service api: x-copse.component: is missing"}},
		{"no image", edit(apiFile, "      image: api\n", ""), []string{"service api: x-copse.image: is missing"}},
		{"two images", edit(apiFile, "command: [api]", "image: 'x:1'"), []string{"service api: image: stands beside x-copse.image"}},
		{"no check", edit(apiFile, `healthcheck: {test: "check me"}`, ""), []string{"service api: healthcheck: is missing"}},
		{"check without a command", edit(apiFile, `test: "check me"`, "test: [NONE]"), []string{"service api: healthcheck.test"}},
		{"unknown rollback class", edit(apiFile, "image: api", "image: api\n      rollback: fre"), []string{"service api: x-copse.rollback: unknown class", `"free"`}},
		{"replaced after nobody", edit(apiFile, "image: api", "image: api\n      replace_after: [dbb]"), []string{"service api: x-copse.replace_after: there is no container \"dbb\"", `"db"`}},
		{"replaced in a circle", edit(baseFile, "image: db,", "image: db, replace_after: [api],"), []string{"x-copse.replace_after: containers wait for each other", "api → db → api"}},
		{"update that carries on", edit(apiFile, "command: [api]", "deploy: {update_config: {failure_action: continue}}"), []string{"service api: deploy.update_config.failure_action"}},
		{"foreign network mode", edit(apiFile, "command: [api]", "network_mode: 'service:db'"), []string{"service api: network_mode: \"service:db\" is not honoured"}},
		{"undeclared volume", edit(baseFile, "[data:/data]", "[dta:/data]"), []string{"service db: volumes.0: no set declares a volume \"dta\"", `"data"`}},
		{"relative bind", edit(baseFile, "[data:/data]", "[./data:/data]"), []string{"service db: volumes.0: \"./data\" is no absolute path"}},
		{"two mounts at one place", edit(baseFile, "/run:mode=0755", "/data"), []string{"service db: volumes: two things are mounted at /data"}},
		{"undeclared secret", edit(baseFile, "secrets: [password]", "secrets: [pasword]"), []string{"service db: secrets.0: no set declares a secret \"pasword\"", `"password"`}},
		{"secret of nobody", edit(baseFile, `user: "10:20"`, "user: postgres"), []string{"service db: secrets.0: whose it is cannot be told"}},
		{"secret that is not mounted", edit(baseFile, `content: "workers=${WORKERS}"`, `content: "{{secret other | sql}}"`), []string{"service db: secrets", "/etc/db.conf needs the secret other"}},
		{"unknown generator", edit(baseFile, "generate: hex", "generate: heks"), []string{"secrets.password.x-copse.generate: unknown kind", `"hex"`}},
		{"short secret", edit(baseFile, "length: 16", "length: 4"), []string{"secrets.password.x-copse.length: 4 is not between"}},
		{"undeclared config", edit(baseFile, "source: conf,", "source: cnf,"), []string{"service db: configs.0: this file declares no config \"cnf\"", `"conf"`}},
		{"config file that is not there", edit(baseFile, `{content: "workers=${WORKERS}"}`, "{file: gone.conf}"), []string{"configs.conf.file", "gone.conf"}},
		{"env file that is not there", edit(baseFile, "shared.env", "sharde.env"), []string{"service db: env_file.0", "sharde.env"}},
		{"unknown value in an env file of the catalogue", edit("env/shared.env", "${WORKERS}", "${WORKRES}"), []string{"catalog/env/shared.env:4: WORKERS: ${WORKRES} is no declared value"}},
		{"variable without a value", edit(baseFile, "LEVEL: service", "LEVEL: "), []string{"service db: environment.LEVEL: has no value"}},
		{"privilege without a reason", edit(proxyFile, "cap_add NET_BIND_SERVICE: ports below 1024, ", ""), []string{"service proxy: x-copse.privileges: no reason is given for \"cap_add NET_BIND_SERVICE\""}},
		{"variable of the shell", edit("sets/base/compose.yaml", "x-copse: {description: the base}", "x-copse: {description: the base, openrc: {PATH: /tmp}}"), []string{"x-copse.openrc.PATH: is no variable of the openstack client"}},
		{"reason without a privilege", edit(proxyFile, "pid: host\n", "pid: ''\n"), []string{"service proxy: x-copse.privileges.pid host: the container has no such privilege"}},
		{"bad name of a service", edit(apiFile, "  api:\n", "  Api_1:\n"), []string{"service Api_1: cannot be a container's name"}},
		{"bad mode of a front end", edit(apiFile, "port: 80,", "port: 80, mode: https,"), []string{"x-copse.frontend.mode: \"https\" is neither"}},
		{"front end without addresses", edit(apiFile, `addresses: ["${ADDRESS}", "${INTERNAL_ADDRESS}", "${ADDRESS}"], `, ""), []string{"x-copse.frontend.addresses: is missing"}},
		{"job that restarts", edit(apiFile, "command: [api]\n", "restart: always\n"), nil},

		// What crosses files.
		{"unknown dependency", edit(apiFile, "depends_on: {db:", "depends_on: {dbs:"), []string{"api/compose.yaml:7: service api: depends_on.dbs: there is no container \"dbs\"", `"db"`}},
		{"circle", edit(baseFile, "tmpfs:", "depends_on: [proxy]\n    tmpfs:"), []string{"compose.yaml:", "api → db → proxy → api", "remove one depends_on"}},
		{"dependency left out", cloud("sets: [base/api, edge]\n"), []string{"service api: depends_on.db: is in the set base, which the cloud leaves out", "add it to sets"}},
		{"waits for the end of a server", edit(apiFile, "service_healthy", "service_completed_successfully"), []string{"service api: depends_on.db: db is no job"}},
		{"waits for the health of a job", edit(baseFile, "component: database,", "component: database, job: {timeout: 1m},"), []string{"service api: depends_on.db: db is a job"}},
		{"job writes an unknown volume", edit(baseFile, "component: database,", "component: database, job: {writes: [dta]},"), []string{"service db: x-copse.job.writes.0: no set declares a volume \"dta\"", `"data"`}},
		{"unknown phase", edit(baseFile, "component: database,", "component: database, job: {phase: expnd},"), []string{"x-copse.job.phase: unknown phase", `"expand"`}},
		{"no proxy", cloud("sets: [base]\n"), []string{"service api: x-copse.frontend: nothing serves front ends", "add edge to sets"}},
		{"one name twice", edit("sets/more/compose.yaml", "", "services: {db: {image: x, healthcheck: {test: [CMD, x]}, x-copse: {component: x}}}"), []string{"sets/more/compose.yaml:1: service db: catalog/sets/base/compose.yaml has a container of that name"}},
		{"one front end twice", edit("sets/more/compose.yaml", "", "services: {b: {image: x, healthcheck: {test: [CMD, x]}, x-copse: {component: x, frontend: {port: 80, addresses: ['${ADDRESS}'], internal: '${INTERNAL_ADDRESS}'}}}}"), []string{"service b: x-copse.frontend: api has the port 80 at 192.0.2.10 already"}},
		{"two proxies", edit("sets/more/compose.yaml", "", "services: {b: {image: x, healthcheck: {test: [CMD, x]}, x-copse: {component: x, proxy: {directory: /x}}}}"), []string{"service b: x-copse.proxy: proxy is a proxy already"}},
		{"set without a member", edit("sets/more/compose.yaml", "", "x-copse: {description: nothing}"), []string{"sets/more/compose.yaml: set more: has neither a container nor a subset"}},
		{"secret declared twice", edit("sets/more/compose.yaml", "", "secrets: {password: {external: true, x-copse: {generate: hex}}}\nservices: {b: {image: x, healthcheck: {test: [CMD, x]}, x-copse: {component: x}}}"), []string{"more/compose.yaml:1: secrets.password: is declared in catalog/sets/base/compose.yaml as well"}},
		{"volume declared twice", edit("sets/more/compose.yaml", "", "volumes: {data: }\nservices: {b: {image: x, healthcheck: {test: [CMD, x]}, x-copse: {component: x}}}"), []string{"more/compose.yaml:1: volumes.data: is declared in catalog/sets/base/compose.yaml as well"}},
		{"image that nobody can make", func(_ *testing.T, o *Options) {
			o.References = func(image, release string) (string, error) {
				return "", errors.New("no release " + release + " of " + image)
			}
		}, []string{"base/compose.yaml:14: service db: x-copse.image: no release 2025.1 of db"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := defaults(t)
			opts.Catalogue = small()
			c.edit(t, &opts)
			_, err := Load(context.Background(), opts)
			if c.want == nil {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error\n\t%v\ndoes not say\n\t%s", err, want)
				}
			}
		})
	}
}

// TestFaultsTogether holds that what can be found together is reported together.
func TestFaultsTogether(t *testing.T) {
	opts := defaults(t)
	opts.Catalogue = small()
	opts.CloudFile = write(t, "cloud.yaml", "values:\n  ADRESS: x\n  WORKRES: 1\n  NETWORK: 1\n")
	_, err := Load(context.Background(), opts)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"cloud.yaml:2", "cloud.yaml:3"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
	if first := new(Error); !errors.As(err, &first) || first.Line == 0 {
		t.Errorf("no *Error with a line in %v", err)
	}
}

func TestOverlayIsAFileSystem(t *testing.T) {
	under, over := small(), small()
	delete(over, "values.yaml")
	layers := overlay{layers: []layer{{"under", under}, {"over", over}}}
	if _, err := fs.Stat(layers, "values.yaml"); err != nil {
		t.Error(err)
	}
	if got := layers.shownName("values.yaml"); got != "under/values.yaml" {
		t.Errorf("values.yaml is shown as %s", got)
	}
	if got := layers.shownName(baseFile); got != "over/"+baseFile {
		t.Errorf("%s is shown as %s", baseFile, got)
	}
	if _, err := layers.ReadDir("gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("listing what is not there: %v", err)
	}
}
