// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// mostOutput is how much of what a program says is kept.
const mostOutput = 2 << 10

// Programs lists the programs in a directory of the host in the order of their names: regular files and
// links to such that may be executed, none that starts with a dot. A directory that does not exist has
// none. They are run as root, hence it is an error where the directory or one of them can be written, or
// replaced, by anybody else.
func (h *Host) Programs(ctx context.Context, dir string) (paths []string, err error) {
	err = h.inMounts(ctx, func() error {
		if err := onlyRoots(dir); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			path := filepath.Join(dir, entry.Name())
			info, err := os.Stat(path)
			if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 || strings.HasPrefix(entry.Name(), ".") {
				continue // no program, or one that has just gone
			}
			if err := onlyRoots(path); err != nil {
				return err
			}
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot use the programs in %s: %w", dir, err)
	}
	return paths, nil
}

// mostLinks is how many links may lead to a program, as many as the kernel follows (path_resolution(7)).
const mostLinks = 40

// onlyRoots holds that nobody but root can write a file or directory, or put another in its place: all
// that lies on the way to it, links included, is root's too.
func onlyRoots(path string) error {
	at, links := "/", 0
	rest := strings.Split(path, "/")
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		info, err := os.Lstat(next)
		if err != nil {
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
			return fmt.Errorf("%s belongs to user %d: only root's are run: chown root %s", next, stat.Uid, next)
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(next)
			if err != nil {
				return err
			}
			if links++; links > mostLinks {
				return fmt.Errorf("%s: too many links", path)
			}
			if filepath.IsAbs(target) {
				at = "/"
			}
			rest = append(strings.Split(target, "/"), rest...)
			continue
		}
		// In a sticky directory such as /tmp nobody can replace what is root's.
		sticky := info.IsDir() && info.Mode()&fs.ModeSticky != 0 && len(rest) > 0
		if info.Mode().Perm()&0o022 != 0 && !sticky {
			return fmt.Errorf("%s can be written by others (mode %04o): chmod go-w %s", next, info.Mode().Perm(), next)
		}
		at = next
	}
	return nil
}

// RunProgram runs a program of the host as the host sees it, to its end or that of ctx, when it is killed
// with all that it has started. environment is all that it gets besides a PATH. The error says what it
// wrote where it failed.
func (h *Host) RunProgram(ctx context.Context, path string, environment []string, stdin []byte) error {
	return h.inMounts(ctx, func() error {
		var output tail
		command := exec.CommandContext(ctx, path)
		command.Dir = "/"
		command.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, environment...)
		command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(stdin), &output, &output
		command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
		// What it left in the background may keep its output open.
		command.WaitDelay = time.Second
		err := command.Run()
		if errors.Is(err, exec.ErrWaitDelay) {
			err = nil // it has ended well itself
		}
		if err != nil && len(output) > 0 {
			return fmt.Errorf("%w: %s", err, plainly(output))
		}
		return err
	})
}

// tail keeps the end of what is written.
type tail []byte

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	if over := len(*t) - mostOutput; over > 0 {
		*t = append(tail{}, (*t)[over:]...)
	}
	return len(p), nil
}

// inMounts calls do where paths are the host's. Unlike within it may run at the same time as other calls.
func (h *Host) inMounts(ctx context.Context, do func() error) error {
	if h.EnginePID == nil {
		return do()
	}
	pid, err := h.EnginePID(ctx)
	if err != nil {
		return err
	}
	return inMountsOf(pid, do)
}
