// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"strings"
	"testing"

	"copse/internal/api"
	"copse/internal/engine"
	"copse/internal/osloconf"
	"copse/internal/plan"
	"copse/internal/tree"

	"github.com/google/go-cmp/cmp"
)

const optionsOfImage = "copse-options 1\n[DEFAULT]\ndebug\tboolean\ntransport_url\turi\ts\nmy_ip\tstring\n[database]\nconnection\tstring\ts\npassword\tstring\ts\n"

func configured() *tree.Container {
	return &tree.Container{
		Host: testHost, Set: "set", Name: "nova", Component: "nova",
		Spec: tree.Spec{Image: "nova:1", Environment: map[string]string{
			"OS_DEFAULT__DEBUG": "true", "OS_DEFAULT__TRANSPORT_URL": "rabbit://nova:{{secret bus | urlquote}}@{{env ADDRESS}}:5672/",
			"OS_DATABASE__CONNECTION": "mysql://nova:given-in-the-clear@192.0.2.1/nova", "OS_DATABASE__PASSWORD": "{{secret a.b-c}}",
			"OS_DATABASE__CONECTION": "x", "OS_DEFAULT__MY_IP": "{{secrt x}}",
			"ADDRESS": "192.0.2.1", "MYSQL_PASSWORD": "plain", "MYSQL_PASSWORD_FILE": "/run/secrets/x", "URL": "http://{{secret bus}}@x",
		}},
		Files: []tree.File{
			{Target: "/etc/a.sql", Content: "IDENTIFIED BY {{secret bus | sql}};\n", Source: "sets/a.sql"},
			{Target: "/etc/b.j2", Content: "{{ no template of ours }} {{secret bus}}\n"},
		},
	}
}

func TestConfigOf(t *testing.T) {
	options, err := osloconf.Parse(strings.NewReader(optionsOfImage))
	if err != nil {
		t.Fatal(err)
	}
	fromImage := []string{"COPSE_CONFIG_FILE=/run/copse/nova.conf", "ADDRESS=overlaid"}
	got := configOf(configured(), fromImage, options)
	want := api.Config{
		Host: testHost, Set: "set", Container: "nova", Component: "nova", Image: "nova:1",
		Files: []api.ConfigFile{
			{Path: "/run/copse/nova.conf", Content: strings.Join([]string{
				"# Written by copse-init from the variables OS_<GROUP>__<OPTION>; made anew at each start.", "",
				"[DEFAULT]", "debug = true", "transport_url = rabbit://nova:(secret bus)@192.0.2.1:5672/", "",
				"[database]", "connection = (secret)", "password = (secret a.b-c)", "",
			}, "\n")},
			{Path: "/etc/a.sql", Content: "IDENTIFIED BY '(secret bus)';\n", Source: "sets/a.sql"},
			{Path: "/etc/b.j2", Content: "{{ no template of ours }} {{secret bus}}\n"},
		},
		Environment: map[string]string{
			"ADDRESS": "192.0.2.1", "COPSE_CONFIG_FILE": "/run/copse/nova.conf", "MYSQL_PASSWORD": "(secret)",
			"MYSQL_PASSWORD_FILE": "/run/secrets/x", "URL": "http://(secret bus)@x",
		},
		Problems: got.Problems,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(got.Problems) != 2 || !strings.Contains(got.Problems[0], "OS_DEFAULT__MY_IP") || !strings.Contains(got.Problems[1], "OS_DATABASE__CONNECTION") {
		t.Errorf("problems %q; want one for each variable that the service would not start with", got.Problems)
	}

	// Of an image that is not known, nothing secret shows either.
	unknown := configOf(configured(), nil, nil)
	if v := unknown.Environment["OS_DATABASE__PASSWORD"]; v != "(secret a.b-c)" {
		t.Errorf("without the list, a password is shown as %q", v)
	}
	if v := unknown.Environment["OS_DATABASE__CONNECTION"]; v != "(secret)" {
		t.Errorf("without the list, a URL with a password is shown as %q", v)
	}
}

func TestConfig(t *testing.T) {
	h := start(t)
	ctx := context.Background()
	h.engine.ImageFiles = func(_, path string) (string, bool) { return optionsOfImage, path == "/options" }
	h.engine.AddImage(engine.Image{
		References: []string{"nova:1"}, Environment: []string{"COPSE_CONFIG_FILE=/run/copse/nova.conf", "COPSE_OPTIONS_FILE=/options"},
	})
	if _, err := h.client.Config(ctx, api.ConfigRequest{}); err == nil {
		t.Error("there is a configuration of nothing")
	}
	doc := &tree.Document{Version: tree.DocumentVersion, Cloud: "test", Sets: []tree.Set{{Path: "set"}}, Containers: []tree.Container{{
		Host: testHost, Set: "set", Name: "nova", Component: "nova", Check: &tree.Check{Test: []string{"true"}},
		Spec: tree.Spec{Image: "nova:1", Environment: map[string]string{"OS_DEFAULT__DEBUG": "true"}},
	}}}
	configs, err := h.client.Config(ctx, api.ConfigRequest{Names: []string{"set"}, Document: doc})
	if err != nil || len(configs) != 1 || configs[0].Generation != 0 || !strings.Contains(configs[0].Files[0].Content, "\n[DEFAULT]\ndebug = true\n") {
		t.Errorf("of a document: %+v, %v", configs, err)
	}
	if _, err := h.client.Config(ctx, api.ConfigRequest{Names: []string{"nva"}, Document: doc}); err == nil || !strings.Contains(err.Error(), `"nova"`) {
		t.Errorf("a misspelt name: %v", err)
	}
	if c := h.do(api.ChangeRequest{Kind: plan.Up, Document: doc}); c.Status != "done" {
		t.Fatalf("up ended %s: %s", c.Status, c.Error)
	}
	doc.Containers[0].Spec.Environment["OS_DEFAULT__DEBUG"] = "false"
	configs, err = h.client.Config(ctx, api.ConfigRequest{Names: []string{"nova"}})
	if err != nil || len(configs) != 1 || configs[0].Generation != 1 || !strings.Contains(configs[0].Files[0].Content, "debug = true") {
		t.Errorf("of what runs: %+v, %v", configs, err)
	}
}
