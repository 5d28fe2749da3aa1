// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"copse/test/testcloud"
)

// agentReplaced lets a newer program replace the agent below the running cloud, and one that does
// not answer fail at it.
func (s *suite) agentReplaced(t *testing.T) {
	type versions struct {
		Version string `json:"version"`
		Agent   *struct {
			Version string `json:"version"`
		} `json:"agent"`
	}
	agentVersion := func() string {
		v := testcloud.Object[versions](t, s.Must(t, "version", "--format", "json"))
		if v.Agent == nil {
			return ""
		}
		return v.Agent.Version
	}
	own, before := agentVersion(), s.Healthy(t)
	present := s.Program
	defer func() { s.Program = present }()

	s.Program = s.build(t, "newer", "e2e-newer")
	out := s.Copse(t, s.With("up", "--yes")...)
	if out.Code != 0 || !strings.Contains(out.String(), "replacing the agent by this version") || !strings.Contains(out.String(), "Nothing to do") {
		t.Errorf("up with a newer program ended with %d:\n%s", out.Code, out)
	}
	if v := agentVersion(); v != "e2e-newer" {
		t.Errorf("the agent's version is %q after it was replaced", v)
	}
	mustReplace(t, before, s.Healthy(t))

	// A store that is newer than the program knows keeps an agent from starting; here it is a
	// program whose agent ends at once.
	s.Program = s.broken(t)
	r := s.Copse(t, s.With("up", "--yes")...)
	if r.Code != 1 || !strings.Contains(r.String(), "the old one runs again") {
		t.Errorf("up with a broken program ended with %d:\n%s", r.Code, r)
	}
	s.Program = filepath.Join(s.Dir, "newer")
	if v := agentVersion(); v != "e2e-newer" {
		t.Errorf("the agent's version is %q after a broken one failed", v)
	}
	if left := testcloud.Docker(t, "ps", "--all", "--quiet", "--filter", "name=copse-agent-replaced"); left != "" {
		t.Errorf("a replaced agent was left behind: %s", left)
	}
	mustReplace(t, before, s.Healthy(t))

	s.Program = present
	s.Up(t)
	if v := agentVersion(); v != own {
		t.Errorf("the agent's version is %q, want %q again", v, own)
	}
	mustReplace(t, before, s.Healthy(t))
	s.mustRemember(t)
}

// build builds the program with another version.
func (s *suite) build(t *testing.T, name, version string) string {
	t.Helper()
	program := filepath.Join(s.Dir, name)
	cmd := testcloud.Command(t, s.Repository, []string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X copse/internal/cli.version="+version, "-o", program, "./cmd/copse")
	if r := testcloud.Run(t, cmd); r.Code != 0 {
		t.Fatalf("cannot build:\n%s", r)
	}
	return program
}

// broken builds a program that is the real one for an operator, and ends when it is to be the agent.
func (s *suite) broken(t *testing.T) string {
	t.Helper()
	main, err := os.ReadFile(filepath.Join(s.Repository, "cmd/copse/main.go"))
	if err != nil {
		t.Fatal(err)
	}
	const entry = "func main() {"
	if !strings.Contains(string(main), entry) {
		t.Fatal("cmd/copse/main.go has no main to break")
	}
	source := strings.Replace(string(main), entry, entry+`
	if len(os.Args) > 1 && os.Args[1] == "agent" {
		println("this agent is broken")
		os.Exit(3)
	}
`, 1)
	// The go tool takes a file in place of another: the source tree stays as it is.
	changed := filepath.Join(s.Dir, "main.go")
	overlay := filepath.Join(s.Dir, "overlay.json")
	for path, content := range map[string]string{
		changed: source,
		overlay: `{"Replace": {"` + filepath.Join(s.Repository, "cmd/copse/main.go") + `": "` + changed + `"}}`,
	} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(s.Dir, "broken")
	cmd := testcloud.Command(t, s.Repository, []string{"CGO_ENABLED=0"}, "go", "build", "-overlay", overlay, "-trimpath",
		"-buildvcs=false", "-o", program, "./cmd/copse")
	if r := testcloud.Run(t, cmd); r.Code != 0 {
		t.Fatalf("cannot build:\n%s", r)
	}
	return program
}
