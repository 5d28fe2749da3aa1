// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"copse/internal/durable"
	hostprep "copse/internal/host"
	"copse/internal/preflight"
	"copse/internal/procfs"
	"copse/internal/tree"
)

// hostFiles is what deploy does to the host besides asking the engine.
type hostFiles struct {
	stateDir string
	hostName string
	host     *hostprep.Host
	observer *preflight.Observer
}

// hostFiles is what deploy does to this agent's host.
func (a *Agent) hostFiles() hostFiles {
	return hostFiles{
		stateDir: a.StateDir, hostName: a.HostName, host: &hostprep.Host{EnginePID: a.EnginePID},
		observer: &preflight.Observer{Engine: a.Engine, EnginePID: a.EnginePID, StateDir: a.StateDir},
	}
}

// Look says what the host lacks of what sets ask of it.
func (h hostFiles) Look(ctx context.Context, preps []tree.HostPrep) (missing, refused map[string][]string, err error) {
	report, err := h.host.Look(ctx, preps)
	return report.Missing, report.Refused, err
}

// Prepare makes it true.
func (h hostFiles) Prepare(ctx context.Context, preps []tree.HostPrep, tell func(string)) ([]string, error) {
	return h.host.Prepare(ctx, preps, tell)
}

// WriteFiles writes each file under its position, with the declared owner and mode.
func (h hostFiles) WriteFiles(dir string, files []tree.File) error {
	if len(files) == 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return fmt.Errorf("cannot make the directory for a container's files: %w", err)
	}
	for i, f := range files {
		path := filepath.Join(dir, strconv.Itoa(i))
		if err := durable.WriteFile(path, []byte(f.Content), os.FileMode(f.Mode), f.UID, f.GID); err != nil {
			return fmt.Errorf("cannot write the file for %s: %w", f.Target, err)
		}
	}
	return nil
}

// RemoveAll removes a directory of the state directory, and nothing outside of it.
func (h hostFiles) RemoveAll(dir string) error {
	below, err := filepath.Rel(h.stateDir, dir)
	if err != nil || below == "." || strings.HasPrefix(below, "..") {
		return fmt.Errorf("cannot remove %s: it is not below %s", dir, h.stateDir)
	}
	return os.RemoveAll(dir)
}

// MakeProxyDirectory makes the directory that holds the proxy's configuration, and in it the one for
// sockets, which alone is the user's: the agent reads and writes the configuration as root, and whoever
// could put a link in its place would have it read and give away what only root may see.
func (h hostFiles) MakeProxyDirectory(dir, sockets, user string) error {
	uid, gid, err := numericUser(user)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(dir), 0o755)
	}
	if err == nil {
		err = makeDirectory(dir, 0o755, os.Geteuid(), os.Getegid())
	}
	if err == nil {
		err = makeDirectory(sockets, 0o750, uid, gid)
	}
	if err != nil {
		return fmt.Errorf("cannot make the proxy's directory: %w", err)
	}
	return nil
}

// makeDirectory makes a directory, or gives one that is there its owner and mode. A link in its place
// is an error.
func makeDirectory(path string, mode os.FileMode, uid, gid int) error {
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	// By the open directory, so that no link can take its place in between.
	dir, err := os.OpenFile(path, syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	return errors.Join(dir.Chown(uid, gid), dir.Chmod(mode), dir.Close())
}

func numericUser(user string) (uid, gid int, err error) {
	if user == "" {
		return 0, 0, nil
	}
	u, g, both := strings.Cut(user, ":")
	if uid, err = strconv.Atoi(u); err != nil {
		return 0, 0, fmt.Errorf("user %q is not a number", user)
	}
	if !both {
		return uid, uid, nil
	}
	if gid, err = strconv.Atoi(g); err != nil {
		return 0, 0, fmt.Errorf("group of user %q is not a number", user)
	}
	return uid, gid, nil
}

// Observe looks at what preflight compares a document with.
func (h hostFiles) Observe(ctx context.Context, doc *tree.Document) (*preflight.Facts, error) {
	return h.observer.Observe(ctx, doc, h.hostName)
}

// Listening says who listens on a port of this host, "" for nobody.
func (h hostFiles) Listening(address string, port int, protocol string) (string, error) {
	taken, err := occupied(address, port, protocol)
	if err != nil || !taken {
		return "", err
	}
	return claimant(port, protocol), nil
}

// occupied tries the port itself: that sees wildcard listeners and other address families as
// the kernel does.
func occupied(address string, port int, protocol string) (bool, error) {
	at := net.JoinHostPort(address, strconv.Itoa(port))
	var closer interface{ Close() error }
	var err error
	if protocol == "udp" {
		closer, err = net.ListenPacket("udp", at)
	} else {
		closer, err = net.Listen("tcp", at)
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return true, nil
	}
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		return false, fmt.Errorf("cannot listen at %s: this host does not have that address: set ADDRESS to one that it has", address)
	}
	if err != nil {
		return false, fmt.Errorf("cannot tell whether port %d is free at %s: %w", port, address, err)
	}
	return false, closer.Close()
}

// claimant names the process that listens on a port, as well as this host lets it be known.
func claimant(port int, protocol string) string {
	unknown := "another process"
	sockets, err := procfs.Sockets(procfs.TCP, procfs.TCP6, procfs.UDP, procfs.UDP6)
	if err != nil {
		return unknown
	}
	var inodes []uint64
	for _, s := range sockets {
		if int(s.Local.Port()) == port && strings.HasPrefix(string(s.Network), protocol) && (protocol == "udp" || s.State == procfs.Listening) {
			inodes = append(inodes, s.Inode)
		}
	}
	owners, _, err := procfs.Owners(inodes)
	if err != nil {
		return unknown
	}
	processes, err := procfs.Processes()
	if err != nil {
		return unknown
	}
	for _, inode := range inodes {
		pids := owners[inode]
		slices.Sort(pids)
		for _, pid := range pids {
			for _, p := range processes {
				if p.PID == pid {
					return fmt.Sprintf("process %d (%s)", pid, p.Command())
				}
			}
		}
	}
	return unknown
}

// Outliving names the processes in the control group that copse-init makes for a container with
// an own one: /copse/NAME, in some hierarchy (proc(5), /proc/PID/cgroup).
func (h hostFiles) Outliving(container string) ([]string, error) {
	processes, err := procfs.Processes()
	if err != nil {
		return nil, err
	}
	group := "/copse/" + container
	var programs []string
	for _, p := range processes {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.PID))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has just ended
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(content)) {
			if strings.HasSuffix(strings.TrimSpace(line), ":"+group) && !p.Zombie() {
				programs = append(programs, p.Comm)
				break
			}
		}
	}
	return programs, nil
}
