// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"os"
	"path/filepath"
	"testing"
)

// TestValuesSayWhereTheyAreFrom: each value with where it was set, the highest rank that set it.
func TestValuesSayWhereTheyAreFrom(t *testing.T) {
	dir := t.TempDir()
	cloud, env := filepath.Join(dir, "cloud.yaml"), filepath.Join(dir, "site.env")
	for file, content := range map[string]string{
		cloud: "values:\n  REGION: North\n  DEBUG: true\n", env: "DEBUG=false\n",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	values, err := Values(Options{
		CloudFile: cloud, EnvFiles: []string{env}, Environment: []string{"KEYSTONE_PROCESSES=7", "UNRELATED=1"}, Address: "192.0.2.9", Host: "h",
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, v := range values {
		got[v.Name] = v.Value + " from " + v.From
		if v.Type == "" || v.Description == "" {
			t.Errorf("%s has type %q and description %q", v.Name, v.Type, v.Description)
		}
	}
	for name, want := range map[string]string{
		"ADDRESS": "192.0.2.9 from command line", "REGION": "North from " + cloud + ":2", "DEBUG": "false from " + env + ":1",
		"KEYSTONE_PROCESSES": "7 from environment", "INTERNAL_ADDRESS": "127.0.0.1 from default",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if _, there := got["UNRELATED"]; there {
		t.Error("a variable that is no value is listed")
	}
}
