// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"copse/internal/tree"
)

func TestListeningNamesTheProcess(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	h := hostFiles{}
	who, err := h.Listening("127.0.0.1", port, "tcp")
	if err != nil || !strings.Contains(who, fmt.Sprintf("process %d (", os.Getpid())) {
		t.Errorf("port taken by us: %q, %v", who, err)
	}
	if who, err = h.Listening("0.0.0.0", port, "tcp"); err != nil || who == "" {
		t.Errorf("the same port at all addresses: %q, %v; want it taken", who, err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if who, err = h.Listening("127.0.0.1", port, "tcp"); err != nil || who != "" {
		t.Errorf("a free port: %q, %v", who, err)
	}
	if _, err = h.Listening("198.51.100.77", port, "tcp"); err == nil || !strings.Contains(err.Error(), "set ADDRESS") {
		t.Errorf("an address of another host: %v; want the way out", err)
	}
}

func TestFilesOfAContainer(t *testing.T) {
	dir := t.TempDir()
	h := hostFiles{stateDir: dir}
	files := filepath.Join(dir, "generations", "api.3", "files")
	for range 2 { // run again after a crash
		if err := h.WriteFiles(files, []tree.File{
			{Target: "/etc/a", Content: "one", Mode: 0o640, UID: os.Getuid(), GID: os.Getgid()}, {Target: "/etc/b", Content: "two", Mode: 0o444, UID: os.Getuid(), GID: os.Getgid()},
		}); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"0": "one -rw-r-----", "1": "two -r--r--r--"} {
		content, err := os.ReadFile(filepath.Join(files, name))
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(files, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(content) + " " + info.Mode().String(); got != want {
			t.Errorf("file %s is %q, want %q", name, got, want)
		}
	}
	for _, outside := range []string{dir, filepath.Dir(dir), "/", filepath.Join(dir, "..", "x")} {
		if err := h.RemoveAll(outside); err == nil {
			t.Errorf("removed %s", outside)
		}
	}
	if err := h.RemoveAll(filepath.Join(dir, "generations", "api.3")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(files); !os.IsNotExist(err) {
		t.Errorf("the files are still there: %v", err)
	}
}

// TestProxyWritesItsSocketsAlone: a proxy that has been taken over must not be able to put a link where
// the agent, as root, reads, writes or gives away.
func TestProxyWritesItsSocketsAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lib", "proxy")
	sockets := filepath.Join(dir, "7")
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 42454, 42455
	}
	user := fmt.Sprintf("%d:%d", uid, gid)
	// An earlier version gave the proxy all of it.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	for range 2 { // run again after a crash
		if err := (hostFiles{}).MakeProxyDirectory(dir, sockets, user); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		dir:     fmt.Sprintf("%d:%d drwxr-xr-x", os.Geteuid(), os.Getegid()),
		sockets: fmt.Sprintf("%d:%d drwxr-x---", uid, gid),
	} {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		owner := info.Sys().(*syscall.Stat_t)
		if got := fmt.Sprintf("%d:%d %s", owner.Uid, owner.Gid, info.Mode()); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}

	secrets := filepath.Join(filepath.Dir(dir), "secrets")
	if err := os.Mkdir(secrets, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "8")
	if err := os.Symlink(secrets, link); err != nil {
		t.Fatal(err)
	}
	if err := (hostFiles{}).MakeProxyDirectory(dir, link, user); err == nil {
		t.Error("a link is taken for the directory of sockets")
	}
	info, err := os.Stat(secrets)
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t); int(owner.Uid) != os.Geteuid() || info.Mode().Perm() != 0o700 {
		t.Errorf("what the link leads to belongs to %d now, with mode %v", owner.Uid, info.Mode())
	}
}

func TestNumericUser(t *testing.T) {
	for user, want := range map[string]string{
		"": "0 0 <nil>", "42454:42455": "42454 42455 <nil>", "7": "7 7 <nil>",
		"haproxy": `0 0 user "haproxy" is not a number`, "1:x": `0 0 group of user "1:x" is not a number`,
	} {
		uid, gid, err := numericUser(user)
		if got := fmt.Sprint(uid, gid, err); got != want {
			t.Errorf("%q: %s, want %s", user, got, want)
		}
	}
}
