// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKilledStartLosesNothing kills starts at many moments, of a new container
// and of one with a changed configuration. Whatever the moment, the next start
// must succeed, and the image's own files must come back when the entries go.
func TestKilledStartLosesNothing(t *testing.T) {
	if tested.binary == "" {
		t.Logf("%s is set: what a killed start leaves is not part of the API", commandKey)
		return
	}
	const config = `{"command": "probe", "config_files": [
		{"source": "/src/a", "dest": "/etc/a", "owner": "alice", "perm": "0600"},
		{"source": "/src/d", "dest": "/etc/d", "owner": "alice", "perm": "0600"},
		{"source": "/src/m", "dest": "/etc/m", "owner": "alice", "perm": "0600", "merge": true},
		{"source": "/src/g*", "dest": "/etc/g/", "owner": "alice", "perm": "0600"}]}`
	const without = `{"command": "probe", "config_files": [{"source": "/src/a", "dest": "/etc/a", "owner": "alice", "perm": "0600"}]}`
	const bare = `{"command": "probe"}`
	image := map[string]string{"etc/a": "image", "etc/d/x": "image", "etc/m/x": "image", "etc/m/y": "image", "etc/g/g1": "image"}
	custom := map[string]string{"src/a": "custom", "src/d/x": "custom", "src/m/x": "custom", "src/g1": "custom", "src/g2": "custom"}

	// The moments only choose what is tried; none of them decides the outcome.
	const moments, apart = 40, 100 * time.Microsecond
	for moment := range moments {
		root := t.TempDir()
		if err := tested.install(root); err != nil {
			t.Fatal(err)
		}
		all := map[string]string{"etc/passwd": passwd, "etc/group": groups}
		for _, files := range []map[string]string{image, custom} {
			for path, content := range files {
				all[path] = content
			}
		}
		for path, content := range all {
			if err := writeFile(filepath.Join(root, path), "0644", "root:root", content); err != nil {
				t.Fatal(err)
			}
		}
		configure := func(text string) {
			t.Helper()
			if err := writeFile(filepath.Join(root, "var/lib/kolla/config_files/config.json"), "0644", "root:root", text); err != nil {
				t.Fatal(err)
			}
		}
		wait := time.Duration(moment) * apart
		configure(config)
		killedStart(t, root, wait)
		start(t, root)
		wantContent(t, root, map[string]string{"etc/a": "custom", "etc/d/x": "custom", "etc/m/x": "custom", "etc/m/y": "image", "etc/g/g1": "custom", "etc/g/g2": "custom"})
		configure(without)
		killedStart(t, root, wait)
		configure(config)
		killedStart(t, root, wait)
		configure(bare)
		start(t, root)
		wantContent(t, root, image)
		wantNoLeftovers(t, root)
		if _, err := os.Lstat(filepath.Join(root, "etc/g/g2")); err == nil {
			t.Error("/etc/g/g2 was not the image's and is still there")
		}
		if t.Failed() {
			t.Fatalf("killed after %v", wait)
		}
	}
}

// startEnv is what every start gets.
func startEnv() []string { return []string{"PATH=/usr/local/bin", "KOLLA_CONFIG_STRATEGY=COPY_ALWAYS"} }

func killedStart(t *testing.T, root string, after time.Duration) {
	t.Helper()
	command := &exec.Cmd{
		Path: "/usr/local/bin/kolla_set_configs", Args: []string{"kolla_set_configs"}, Dir: "/", Env: startEnv(),
		SysProcAttr: &syscall.SysProcAttr{Chroot: root},
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(after)
	_ = command.Process.Kill() // it may have ended before
	_ = command.Wait()         // killed or done, both are meant
}

func start(t *testing.T, root string) {
	t.Helper()
	ended, err := tested.run(root, 0, 0, startEnv(), "kolla_set_configs")
	if err != nil || ended.exit != 0 {
		t.Errorf("the start after a killed one: %v, %s", err, ended)
	}
}

func wantContent(t *testing.T, root string, want map[string]string) {
	t.Helper()
	for path, content := range want {
		got, err := os.ReadFile(filepath.Join(root, path))
		if err != nil || string(got) != content {
			t.Errorf("/%s holds %q, %v, want %q", path, got, err, content)
		}
	}
}

func wantNoLeftovers(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(filepath.Base(path), ".copse-") {
			t.Errorf("%s is left", strings.TrimPrefix(path, root))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
