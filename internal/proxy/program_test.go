// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The Debian releases whose HAProxy the proxy's image has.
const (
	trixie = "trixie"
	forky  = "forky"
)

// program returns the beginning of an argument vector that runs a command with the HAProxy that Copse
// ships: trixie's is the host's own where that is new enough (see Hold), else each is in a root of its
// own, which is made once and kept in the user's cache.
func program(t *testing.T, release string) []string {
	t.Helper()
	if out, err := exec.Command("haproxy", "-v").Output(); err == nil && release == trixie {
		version, _ := strings.CutPrefix(string(out), "HAProxy version ")
		major, _, _ := strings.Cut(version, ".")
		if number, err := strconv.Atoi(major); err == nil && number >= 3 {
			return nil
		}
	}
	root := makeRoot(t, release)
	// The sockets are in /tmp, inside and outside.
	const script = `mount --bind /tmp "$0/tmp" && exec chroot "$0" "$@"`
	return []string{"unshare", "-m", "--propagation", "private", "sh", "-c", script, root}
}

func makeRoot(t *testing.T, release string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(cache, "copse-test", "haproxy-"+release)
	if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
		t.Fatal(err)
	}
	// Another test run may be making it.
	lock, err := os.Create(root + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(root); err == nil {
		return root
	}
	if err := os.RemoveAll(root + ".new"); err != nil {
		t.Fatal(err)
	}
	// A mirror that is not renewed any more is as good.
	command := exec.Command("mmdebstrap", `--aptopt=Acquire::Check-Valid-Until "false"`, "--variant=minbase", "--include=haproxy", release, root+".new")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("cannot get Debian %s's HAProxy: %v (scripts/host-setup.sh --test installs what it takes)\n%s", release, err, out)
	}
	if err := os.Rename(root+".new", root); err != nil {
		t.Fatal(err)
	}
	return root
}
