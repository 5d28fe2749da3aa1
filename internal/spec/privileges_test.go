// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"strings"
	"testing"

	"copse/internal/preflight"
	"copse/internal/tree"
)

// TestPrivilegesOfTheCatalogue holds who may do what on a host, and why, in one file: a new
// privilege is seen in review. `go test ./internal/spec -run Privileges -update` writes it anew.
func TestPrivilegesOfTheCatalogue(t *testing.T) {
	doc := load(t, defaults(t))
	var b strings.Builder
	var without []string
	for i := range doc.Containers {
		c := &doc.Containers[i]
		granted := c.Granted()
		if len(granted) == 0 {
			without = append(without, c.Name)
			continue
		}
		fmt.Fprintf(&b, "%s (%s, user %s)\n", c.Name, c.Component, c.Spec.User)
		for _, p := range granted {
			if strings.TrimSpace(p.Reason) == "" {
				t.Errorf("%s: nobody says why it has %q", c.Name, p.Name)
			}
			fmt.Fprintf(&b, "    %s: %s\n", p.Name, p.Reason)
		}
	}
	fmt.Fprintf(&b, "\nwithout any privilege but the host's network:\n    %s\n", strings.Join(without, "\n    "))
	golden(t, "privileges.txt", []byte(b.String()))
}

// Nothing is super-privileged: all that is needed has a name. Profiles of the engine (seccomp,
// AppArmor, SELinux) are switched off nowhere.
func TestCatalogueKeepsTheEnginesProtection(t *testing.T) {
	doc := load(t, defaults(t))
	for i := range doc.Containers {
		c := &doc.Containers[i]
		for _, p := range c.Granted() {
			switch {
			case p.Name == "privileged", p.Name == "default capabilities", p.Name == "writable root", p.Name == "cap_add ALL",
				strings.Contains(p.Name, "seccomp"), strings.Contains(p.Name, "apparmor"), strings.HasPrefix(p.Name, "security_opt label"),
				p.Name == "ipc host", p.Name == "uts host":
				t.Errorf("%s has %q", c.Name, p.Name)
			}
		}
		for _, m := range c.Spec.Mounts {
			if m.Type == tree.Bind && (m.Source == "/" || m.Source == "/dev" || m.Source == "/etc" || m.Source == "/var/run/docker.sock") {
				t.Errorf("%s is given all of %s", c.Name, m.Source)
			}
		}
	}
}

// TestCatalogueClaims holds that no two containers of the catalogue claim one port, or write to one
// place without anybody having said that they may.
func TestCatalogueClaims(t *testing.T) {
	doc := load(t, defaults(t))
	starting := map[string]bool{}
	for i := range doc.Containers {
		starting[doc.Containers[i].Name] = true
	}
	for _, f := range preflight.Check(preflight.Input{Host: "host-1", Document: doc, Starting: starting}, &preflight.Facts{}) {
		t.Errorf("%s", f)
	}
}
