// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"copse/test/testcloud"
)

// secretsStaySecret looks for every value of every secret in everything that is shown: by the engine, by
// the kernel's list of processes, and by Copse.
func (s *suite) secretsStaySecret(t *testing.T) {
	values := secretValues(t)
	if len(values) < 4 {
		t.Fatalf("%d secrets are kept; want those of the database, the bus and the administrator", len(values))
	}
	shown := map[string]string{}
	ids := testcloud.Lines(testcloud.Docker(t, "ps", "--all", "--quiet", "--filter", "label=copse.cloud="+testcloud.Name))
	ids = append(ids, "copse-agent")
	for _, id := range ids {
		shown["docker inspect "+id] = testcloud.Docker(t, "inspect", id)
		// The agent's own log, and those of jobs that have ended.
		shown["docker logs "+id] = testcloud.Run(t, testcloud.Command(t, "", nil, "docker", "logs", id)).String()
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, process := range processes {
		for _, file := range []string{"environ", "cmdline"} {
			// One that has ended meanwhile, or belongs to the kernel, shows nothing.
			if content, err := os.ReadFile(filepath.Join(process, file)); err == nil {
				shown[filepath.Join(process, file)] = string(content)
			}
		}
	}
	s.Must(t, "secret", "rotate", "rabbitmq_openstack")
	for _, format := range []string{"plain", "json", "human"} {
		for _, args := range [][]string{
			{"plan"}, {"ps", "--all"}, {"tree"}, {"changes"}, {"history"}, {"logs", "--tail", "-1"}, {"top"}, {"health"},
			{"secret", "ls"}, {"images"}, {"version"}, {"render", "compose"}, {"change", strconv.Itoa(s.Latest(t).ID)},
		} {
			r := s.Copse(t, append(args, "--format", format)...)
			if r.String() == "" {
				t.Errorf("copse %s --format %s shows nothing at all", strings.Join(args, " "), format)
			}
			shown["copse "+strings.Join(args, " ")+" --format "+format] = r.String()
		}
	}
	for _, change := range testcloud.Objects[testcloud.Change](t, s.Must(t, "changes", "--format", "json")) {
		id := strconv.Itoa(change.ID)
		shown["copse change "+id] = s.Must(t, "change", id, "--format", "json")
	}
	for where, text := range shown {
		for name, value := range values {
			if strings.Contains(text, value) {
				t.Errorf("%s shows the secret %s", where, name)
			}
		}
	}
	// This finds what it looks for where it is meant to be.
	if rc := s.Must(t, "openrc"); !strings.Contains(rc, values["keystone_admin/1"]) {
		t.Error("openrc does not have the administrator's password")
	}
}

// secretValues reads all kept versions as root can, by NAME/VERSION, and holds that nobody else can.
func secretValues(t *testing.T) map[string]string {
	t.Helper()
	root := filepath.Join(testcloud.StateDir, "secrets")
	values := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s; others can read it", path, info.Mode())
		}
		if entry.IsDir() {
			return nil
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(root, path)
		values[name] = strings.TrimSpace(string(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return values
}
