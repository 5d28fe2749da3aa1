// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package browser uses a running cloud's dashboard as a person does, in a real browser. It looks and
// changes nothing.
package browser

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"copse/test/testcloud"
)

const (
	// programVariable is the absolute path of the program that runs the cloud, where it is not
	// bin/copse.
	programVariable = "COPSE"
	// picturesVariable is the absolute path of a directory for the screenshots; they are not kept
	// without it.
	picturesVariable = "COPSE_SCREENSHOTS"
)

// The size of what a page is drawn on, in pixels.
const width, height = 1280, 800

// TestLogIn: the administrator logs in with what `copse openrc` says, sees the overview of the
// project and the list of its instances.
func TestLogIn(t *testing.T) {
	dashboard := dashboardURL(t)
	user := credentials(t)
	p := open(t, width, height)

	p.visit(t, dashboard+"/")
	p.find(t, "#id_username").write(t, user["OS_USERNAME"])
	p.find(t, "#id_password").write(t, user["OS_PASSWORD"])
	p.find(t, "#id_domain").write(t, user["OS_USER_DOMAIN_NAME"])
	p.find(t, "#loginBtn").click(t)
	// Either the frame that every page has for a user, or the form again with what was wrong.
	p.find(t, "#content_body, .login .alert")
	if at := p.url(t); !strings.HasPrefix(at, dashboard+"/project/") {
		t.Fatalf("after the login the browser is at %s, want the overview of the project:\n%s", at, p.find(t, "body").text(t))
	}
	if header := p.find(t, ".page-header").text(t); !strings.Contains(header, "Overview") {
		t.Errorf("the page after the login is headed %q, want the overview", header)
	}
	// The quotas: compute's, network's, each from its own service.
	charts := p.find(t, "#content_body").text(t)
	for _, want := range []string{"Instances", "VCPUs", "RAM", "Floating IPs", "Security Groups"} {
		if !strings.Contains(charts, want) {
			t.Errorf("the overview does not say how many %s are in use:\n%s", want, charts)
		}
	}
	noErrors(t, p)
	keep(t, p, "horizon.png")

	p.visit(t, dashboard+"/project/instances/")
	p.find(t, "table#instances")
	if header := p.find(t, ".page-header").text(t); !strings.Contains(header, "Instances") {
		t.Errorf("the page of instances is headed %q", header)
	}
	noErrors(t, p)
	keep(t, p, "horizon-instances.png")
}

// noErrors: a service that the dashboard cannot reach does not fail a page; it is in a message on it.
func noErrors(t *testing.T, p *page) {
	t.Helper()
	if messages := p.find(t, "#main_content .messages").text(t); strings.Contains(messages, "Error") {
		t.Errorf("%s shows: %s", p.url(t), messages)
	}
}

// keep takes a screenshot and puts it where the variable says.
func keep(t *testing.T, p *page, name string) {
	t.Helper()
	picture := p.screenshot(t)
	config, err := png.DecodeConfig(bytes.NewReader(picture))
	if err != nil {
		t.Fatalf("the screenshot is no picture: %v", err)
	}
	if config.Width != width || config.Height != height {
		t.Errorf("the screenshot has %d × %d pixels, want %d × %d", config.Width, config.Height, width, height)
	}
	dir := os.Getenv(picturesVariable)
	if dir == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name), picture, 0o644); err != nil {
		t.Fatal(err)
	}
}

// copse runs the program and returns what it printed. What a failed one printed is said, but for
// standard output: the password may be there.
func copse(t *testing.T, args ...string) string {
	t.Helper()
	program := os.Getenv(programVariable)
	if program == "" {
		program = filepath.Join("..", "..", "bin", "copse")
	}
	r := testcloud.Run(t, testcloud.Command(t, "", nil, program, args...))
	if r.Code != 0 {
		t.Fatalf("copse %s ended with %d: %s\nThis test looks at a cloud that runs: \"make up\" brings one up.", strings.Join(args, " "), r.Code, r.Stderr)
	}
	return r.Stdout
}

// dashboardURL is where browsers reach the dashboard of the cloud that runs here.
func dashboardURL(t *testing.T) string {
	t.Helper()
	type container struct {
		Name, Health, Address string
	}
	for _, c := range testcloud.Objects[container](t, copse(t, "ps", "--format", "json")) {
		switch {
		case c.Name != "horizon":
		case c.Health != "healthy":
			t.Fatalf("the container horizon is %s: \"copse health\" and \"copse logs horizon\" say why; \"make up\" brings it back", c.Health)
		case c.Address == "":
			t.Fatal("the container horizon has no address: nothing publishes the dashboard")
		default:
			return "http://" + c.Address
		}
	}
	t.Fatal("no cloud with the dashboard (the container horizon) runs here: \"make up\" brings one up")
	return ""
}

// credentials are the administrator's variables, as `copse openrc` exports them.
func credentials(t *testing.T) map[string]string {
	t.Helper()
	variables := map[string]string{}
	export := regexp.MustCompile(`(?m)^export (\w+)='([^']*)'$`)
	for _, match := range export.FindAllStringSubmatch(copse(t, "openrc"), -1) {
		variables[match[1]] = match[2]
	}
	for _, name := range []string{"OS_USERNAME", "OS_PASSWORD", "OS_USER_DOMAIN_NAME"} {
		if variables[name] == "" {
			t.Fatalf("copse openrc does not say %s", name)
		}
	}
	return variables
}
