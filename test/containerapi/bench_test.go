// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// typicalConfig is what a deployer gives an API service: its own files, one
// that the image has too, policies that are mostly not there, certificates.
const typicalConfig = `{
  "command": "probe --config-file /etc/keystone/keystone.conf",
  "config_files": [
    {"source": "/var/lib/kolla/config_files/keystone.conf", "dest": "/etc/keystone/keystone.conf", "owner": "alice", "perm": "0600"},
    {"source": "/var/lib/kolla/config_files/policy.yaml", "dest": "/etc/keystone/policy.yaml", "owner": "alice", "perm": "0600", "optional": true},
    {"source": "/var/lib/kolla/config_files/wsgi.conf", "dest": "/etc/apache2/conf-enabled/wsgi.conf", "owner": "alice", "perm": "0600"},
    {"source": "/var/lib/kolla/config_files/domains", "dest": "/etc/keystone/domains", "owner": "alice", "perm": "0600", "optional": true}
  ],
  "permissions": [
    {"path": "/var/log/kolla", "owner": "alice:staff", "perm": "0755"},
    {"path": "/var/log/kolla/keystone", "owner": "alice:staff", "recurse": true},
    {"path": "/etc/keystone/fernet-keys", "owner": "alice", "perm": "0770"}
  ]
}`

func typicalRoot(b *testing.B) (root string) {
	b.Helper()
	root, err := os.MkdirTemp(b.TempDir(), "root")
	if err != nil {
		b.Fatal(err)
	}
	if err := tested.install(root); err != nil {
		b.Fatal(err)
	}
	conf := make([]byte, 8<<10)
	for i := range conf {
		conf[i] = "[DEFAULT]\ndebug = false\n"[i%24]
	}
	for path, content := range map[string]string{
		"etc/passwd": passwd, "etc/group": groups, "etc/debian_version": "13",
		"etc/keystone/keystone.conf":                        "image",
		"var/log/kolla/keystone/keystone.log":               "log",
		"etc/keystone/fernet-keys/0":                        "key",
		"var/lib/kolla/config_files/config.json":            typicalConfig,
		"var/lib/kolla/config_files/keystone.conf":          string(conf),
		"var/lib/kolla/config_files/wsgi.conf":              string(conf),
		"var/lib/kolla/config_files/domains/one/x.conf":     "x",
		"var/lib/kolla/config_files/domains/two/y.conf":     "y",
		"var/lib/kolla/config_files/domains/two/sub/z.conf": "z",
	} {
		if err := writeFile(filepath.Join(root, path), "0644", "root:root", content); err != nil {
			b.Fatal(err)
		}
	}
	return root
}

func mustRun(b *testing.B, root string, words ...string) {
	b.Helper()
	env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "KOLLA_CONFIG_STRATEGY=COPY_ALWAYS"}
	ended, err := tested.run(root, 0, 0, env, words...)
	if err != nil || ended.exit != 0 {
		b.Fatal(fmt.Errorf("%q: %w: %s", words, err, ended))
	}
}

// BenchmarkService is the service alone: what every other number contains.
func BenchmarkService(b *testing.B) {
	root := typicalRoot(b)
	for b.Loop() {
		mustRun(b, root, "probe")
	}
}

// BenchmarkFirstStart is kolla_start and the service in a new container.
func BenchmarkFirstStart(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		root := typicalRoot(b)
		b.StartTimer()
		mustRun(b, root, "kolla_start")
	}
}

// BenchmarkRestart is kolla_start and the service in a container that was started before.
func BenchmarkRestart(b *testing.B) {
	root := typicalRoot(b)
	mustRun(b, root, "kolla_start")
	for b.Loop() {
		mustRun(b, root, "kolla_start")
	}
}

// BenchmarkCheck is kolla_set_configs --check with nothing to report.
func BenchmarkCheck(b *testing.B) {
	root := typicalRoot(b)
	mustRun(b, root, "kolla_start")
	for b.Loop() {
		mustRun(b, root, "kolla_set_configs", "--check")
	}
}
