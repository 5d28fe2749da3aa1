// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package archtest holds the direction of dependencies (ARCHITECTURE.md): a package that
// imports against it fails here, with the import named.
package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// module is the import path of the whole.
const module = "copse"

// rule says what packages may import. A pattern is an import path, or one with "/..." for it
// and all below; paths of this module are written without its name.
type rule struct {
	// packages are those that the rule is about.
	packages []string
	// own are the packages of this module that they may import; nil leaves them free.
	own []string
	// foreign are the packages of other modules that they may import; nil leaves them free.
	foreign []string
	why     string
}

// only keeps an imported package to one importer.
type only struct {
	imported string
	by       []string
	why      string
}

func rules() []rule {
	none := []string{}
	return []rule{
		{
			packages: []string{"internal/tree"}, own: []string{"internal/nearest"}, foreign: none,
			why: "the domain is pure values",
		},
		{
			packages: []string{"internal/plan"}, own: []string{"internal/tree"}, foreign: none,
			why: "a plan is a pure function of what is wanted and what is there",
		},
		{
			packages: []string{"internal/api"}, own: []string{"internal/tree", "internal/plan", "internal/engine"}, foreign: none,
			why: "the wire's types are shared by both ends and drag nothing in",
		},
		{
			packages: []string{"internal/spec", "internal/spec/..."},
			own:      []string{"internal/tree", "internal/spec/...", "internal/nearest", "catalog/..."},
			why:      "resolving a cloud needs no engine and no agent",
		},
		{
			packages: []string{"internal/change"}, own: []string{"internal/store"},
			why: "the runner of changes knows no containers",
		},
		{
			packages: []string{"internal/store", "internal/durable", "internal/placeholder", "internal/procfs", "internal/nearest"}, own: none,
			why: "it stands below everything else",
		},
		{
			packages: []string{"internal/engine", "internal/engine/..."},
			own:      []string{"internal/tree", "internal/engine/..."},
			why:      "an engine does what it is told and knows nothing of plans and changes",
		},
		{
			packages: []string{"internal/proxy", "internal/secret", "internal/logs", "internal/health", "internal/host"},
			own:      []string{"internal/tree", "internal/engine", "internal/check", "internal/durable"},
			why:      "mechanisms are composed by deploy, not by each other",
		},
		{
			packages: []string{"internal/probe"}, own: []string{"internal/tree"},
			why: "it is told what to ask, and knows nothing of what is replaced",
		},
		{
			packages: []string{"internal/deploy"},
			own: []string{
				"internal/tree", "internal/plan", "internal/change", "internal/store", "internal/engine", "internal/secret",
				"internal/probe", "internal/preflight",
			},
			why: "use cases know neither the API nor the host they run on, which the agent gives them",
		},
		{
			packages: []string{"internal/agent"},
			own: []string{
				"internal/api", "internal/deploy", "internal/change", "internal/plan", "internal/tree", "internal/store", "internal/engine",
				"internal/health", "internal/supervise", "internal/standing", "internal/hook", "internal/schedule", "internal/metrics",
				"internal/host", "internal/preflight", "internal/probe", "internal/procfs", "internal/proxy", "internal/secret",
				"internal/logs", "internal/optionlist", "internal/osloconf", "internal/placeholder", "internal/durable",
			},
			why: "the agent is given a document: it reads no Compose file, builds no image and shows nothing",
		},
		{
			packages: []string{"internal/cli"},
			own: []string{
				"internal/view", "internal/client", "internal/api", "internal/plan", "internal/tree", "internal/spec", "internal/image",
				"internal/optionlist", "internal/verify", "internal/nearest", "internal/agent", "internal/engine/...", "catalog",
			},
			why: "a command parses, calls and renders; what happens to containers is the agent's",
		},
		{
			packages: []string{"internal/preflight"}, own: []string{"internal/tree", "internal/plan", "internal/engine", "internal/procfs"},
			why: "what is found of a host is compared with a document, and acted on elsewhere",
		},
		{
			packages: []string{"internal/supervise"}, own: []string{"internal/tree", "internal/engine", "internal/store", "internal/health"},
			why: "it decides and records; what it decides is done by deploy, which the agent gives it",
		},
		{
			packages: []string{"internal/schedule", "internal/metrics"}, own: none,
			why: "they are told what there is by the agent",
		},
		{
			packages: []string{"internal/standing", "internal/hook"}, own: []string{"internal/tree", "internal/standing"},
			why: "how sets stand is said by the agent",
		},
		{
			packages: []string{"internal/optionlist"}, own: []string{"internal/tree", "internal/engine", "internal/osloconf", "internal/durable"},
			why: "what an image knows is asked of an engine, by the agent and by the CLI",
		},
		{
			packages: []string{"internal/image", "internal/image/..."},
			own:      []string{"internal/engine", "internal/image/...", "internal/osloconf"},
			why:      "images are built without an agent",
		},
		{
			packages: []string{"internal/client", "internal/client/..."},
			own:      []string{"internal/tree", "internal/plan", "internal/engine", "internal/api", "internal/client/..."},
			why:      "the client speaks the wire's types alone",
		},
		{
			packages: []string{"internal/view", "internal/view/..."},
			own:      []string{"internal/tree", "internal/plan", "internal/api", "internal/view/..."},
			why:      "a view renders what came over the wire",
		},
		{
			packages: []string{"internal/verify"}, own: []string{"internal/tree"},
			why: "a cloud is proved from outside, by its own APIs",
		},
		{
			packages: []string{"cmd/copse-init"},
			own:      []string{"internal/containerapi/...", "internal/check/...", "internal/initproc/...", "internal/osloconf/...", "internal/placeholder", "internal/procfs", "internal/nearest"},
			foreign:  none,
			why:      "it is in every image: small, the standard library, x/sys and a reader of YAML",
		},
		{
			packages: []string{"internal/containerapi/...", "internal/check/...", "internal/initproc/...", "internal/osloconf/..."},
			own:      []string{"internal/containerapi/...", "internal/check/...", "internal/initproc/...", "internal/osloconf/...", "internal/placeholder", "internal/procfs", "internal/nearest"},
			foreign:  []string{"golang.org/x/sys/...", "go.yaml.in/yaml/..."},
			why:      "copse-init is in every image: small, the standard library, x/sys and a reader of YAML",
		},
	}
}

func onlys() []only {
	return []only{
		{"github.com/moby/moby/client", []string{"internal/engine/docker"}, "one package knows the engine's API"},
		{"github.com/vishvananda/netlink", []string{"internal/host"}, "one package changes the host's interfaces"},
		{"go.etcd.io/bbolt", []string{"internal/store"}, "one package knows how documents are kept"},
		{"github.com/compose-spec/compose-go/v2/...", []string{"internal/spec", "internal/spec/..."}, "one package reads Compose files"},
		{"github.com/moby/buildkit/...", []string{"internal/image", "internal/image/..."}, "one package builds images"},
		{"github.com/prometheus/client_golang/...", []string{"internal/metrics"}, "one package knows the form that Prometheus reads"},
		{"github.com/spf13/cobra", []string{"internal/cli", "internal/cli/..."}, "commands are the CLI's"},
		{"internal/cli", []string{"cmd/copse"}, "nothing stands on the CLI but the program"},
		{"internal/agent", []string{"internal/cli"}, "the agent is started by its command alone"},
		{"internal/deploy", []string{"internal/agent", "internal/agent/...", "internal/deploy/..."}, "use cases are the agent's: it owns every transition"},
		{"github.com/gophercloud/gophercloud/v2/...", []string{"internal/verify"}, "OpenStack's APIs are used to prove a cloud, not to run one"},
		{"internal/view", []string{"internal/cli", "internal/view/..."}, "only the CLI shows anything"},
	}
}

// pkg is the part of `go list`'s description that matters here.
type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

func TestDirection(t *testing.T) {
	packages := list(t)
	for _, fault := range check(packages, rules(), onlys()) {
		t.Error(fault)
	}
}

// TestEveryPackageHasAPlace holds that no package of the program is without a rule, nor without a word
// about its job in ARCHITECTURE.md.
func TestEveryPackageHasAPlace(t *testing.T) {
	text, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list(t) {
		path, mine := own(p.ImportPath)
		// What lies below a package is part of it.
		if !mine || strings.Count(path, "/") != 1 || !strings.HasPrefix(path, "internal/") || path == "internal/archtest" {
			continue
		}
		if !slices.ContainsFunc(rules(), func(r rule) bool { return matches(path, r.packages) }) {
			t.Errorf("no rule says what %s may import", path)
		}
		if !strings.Contains(string(text), "`"+path+"`") {
			t.Errorf("ARCHITECTURE.md does not say what the job of %s is", path)
		}
	}
}

// TestDirectionIsChecked proves that the check can fail.
func TestDirectionIsChecked(t *testing.T) {
	packages := []pkg{
		{ImportPath: "fmt", Standard: true},
		{ImportPath: "example.org/other"},
		{ImportPath: "copse/internal/tree", Imports: []string{"fmt", "copse/internal/engine"}},
		{ImportPath: "copse/internal/plan", Imports: []string{"fmt", "copse/internal/tree", "example.org/other"}},
		{ImportPath: "copse/internal/agent", Imports: []string{"go.etcd.io/bbolt"}},
		{ImportPath: "copse/internal/deploy", Imports: []string{"copse/internal/tree", "fmt"}},
	}
	want := []string{
		"internal/agent must not import go.etcd.io/bbolt: one package knows how documents are kept",
		"internal/plan must not import example.org/other: a plan is a pure function of what is wanted and what is there",
		"internal/tree must not import internal/engine: the domain is pure values",
	}
	if got := check(packages, rules(), onlys()); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// check returns the faults, in order.
func check(packages []pkg, rules []rule, onlys []only) []string {
	standard := map[string]bool{"C": true, "unsafe": true}
	for _, p := range packages {
		if p.Standard {
			standard[p.ImportPath] = true
		}
	}
	var faults []string
	for _, p := range packages {
		importer, mine := own(p.ImportPath)
		if !mine {
			continue
		}
		for _, path := range p.Imports {
			if standard[path] {
				continue
			}
			imported, internal := own(path)
			for _, r := range rules {
				if !matches(importer, r.packages) {
					continue
				}
				allowed := r.foreign
				if internal {
					allowed = r.own
				}
				if allowed != nil && !matches(imported, allowed) {
					faults = append(faults, fmt.Sprintf("%s must not import %s: %s", importer, imported, r.why))
				}
			}
			for _, o := range onlys {
				if matches(imported, []string{o.imported}) && !matches(importer, o.by) {
					faults = append(faults, fmt.Sprintf("%s must not import %s: %s", importer, imported, o.why))
				}
			}
		}
	}
	slices.Sort(faults)
	return faults
}

// own returns a package's path without the module's name, and whether it is of this module.
func own(path string) (string, bool) {
	return strings.CutPrefix(path, module+"/")
}

func matches(path string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if top, below := strings.CutSuffix(pattern, "/..."); below {
			return path == top || strings.HasPrefix(path, top+"/")
		}
		return path == pattern
	})
}

// list asks the go command for all packages and what they import, tests left out: a test may
// use what it likes.
func list(t *testing.T) []pkg {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", "-json=ImportPath,Standard,Imports", module+"/...")
	command.Dir = "../.."
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var packages []pkg
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages = append(packages, p)
	}
	if !slices.ContainsFunc(packages, func(p pkg) bool { return p.ImportPath == module+"/internal/tree" }) {
		t.Fatalf("go list names %d packages, internal/tree not among them", len(packages))
	}
	return packages
}
