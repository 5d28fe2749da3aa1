// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// users and groups are those of every root: a user with a group of the same
// name, and one whose primary group has another name.
const (
	passwd = "root:x:0:0::/root:/bin/sh\nalice:x:1001:1001::/:/bin/sh\nbob:x:1002:1100::/:/bin/sh\n"
	groups = "root:x:0:\nalice:x:1001:\nstaff:x:1100:\n"
)

func ownerIDs(owner string) (uid, gid int, err error) {
	users := map[string]int{"root": 0, "alice": 1001, "bob": 1002}
	groups := map[string]int{"root": 0, "alice": 1001, "staff": 1100}
	user, group, _ := strings.Cut(owner, ":")
	uid, known := users[user]
	if !known {
		return 0, 0, fmt.Errorf("no user %q in the cases", user)
	}
	gid, known = groups[group]
	if !known {
		return 0, 0, fmt.Errorf("no group %q in the cases", group)
	}
	return uid, gid, nil
}

func ownerName(uid, gid uint32) string {
	users := map[uint32]string{0: "root", 1001: "alice", 1002: "bob"}
	groups := map[uint32]string{0: "root", 1001: "alice", 1100: "staff"}
	return users[uid] + ":" + groups[gid]
}

func setProperties(path, mode, owner string) error {
	bits, err := strconv.ParseUint(mode, 8, 32)
	if err != nil {
		return fmt.Errorf("%q is no mode", mode)
	}
	uid, gid, err := ownerIDs(owner)
	if err != nil {
		return err
	}
	if err := os.Chown(path, uid, gid); err != nil {
		return err
	}
	return syscall.Chmod(path, uint32(bits))
}

func writeFile(path, mode, owner, content string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return err
	}
	return setProperties(path, mode, owner)
}

// describe gives what is at a path in the words of a case: "missing",
// "link TARGET", "dir MODE OWNER" or "file MODE OWNER CONTENT".
func describe(path string) (string, error) {
	var stat syscall.Stat_t
	if err := syscall.Lstat(path, &stat); err != nil {
		if err == syscall.ENOENT || err == syscall.ENOTDIR {
			return "missing", nil
		}
		return "", err
	}
	properties := fmt.Sprintf("%04o %s", stat.Mode&0o7777, ownerName(stat.Uid, stat.Gid))
	switch stat.Mode & syscall.S_IFMT {
	case syscall.S_IFLNK:
		target, err := os.Readlink(path)
		return "link " + target, err
	case syscall.S_IFDIR:
		return "dir " + properties, nil
	case syscall.S_IFREG:
		content, err := os.ReadFile(path)
		return "file " + properties + " " + strconv.Quote(string(content)), err
	default:
		return "special " + properties, nil
	}
}

// snapshot describes a whole tree, times included, but for the programs and
// libraries that the suite itself put there.
func snapshot(root string) (map[string]string, error) {
	tree := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch strings.TrimPrefix(path, root) {
		case "/usr/local/bin", "/bin", "/lib", "/lib64":
			return fs.SkipDir
		}
		what, err := describe(path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		tree[strings.TrimPrefix(path, root)] = fmt.Sprintf("%x %v", sha256.Sum256([]byte(what)), info.ModTime())
		return nil
	})
	return tree, err
}

// installShell puts a shell of this machine and the libraries it needs into a root.
func installShell(root, name string) error {
	shell, err := exec.LookPath(map[string]string{"sh": "dash", "bash": "bash"}[name])
	if err != nil {
		return fmt.Errorf("the cases with scripts need %s: %w", name, err)
	}
	if err := copyProgram(shell, filepath.Join(root, "bin", name)); err != nil {
		return err
	}
	libraries, err := exec.Command("ldd", shell).Output()
	if err != nil {
		return fmt.Errorf("cannot find the libraries of %s: %w", shell, err)
	}
	for word := range strings.FieldsSeq(string(libraries)) {
		if strings.HasPrefix(word, "/") {
			if err := copyProgram(word, filepath.Join(root, word)); err != nil {
				return err
			}
		}
	}
	return nil
}

func copyProgram(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return writeFile(to, "0755", "root:root", string(content))
}
