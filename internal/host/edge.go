// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"copse/internal/tree"
)

// edge is where the host is touched. It is used on one thread, in the namespaces to prepare.
type edge struct {
	ctx   context.Context // of the one call that the edge is made for
	links *netlink.Handle
}

func newEdge(ctx context.Context) (*edge, error) {
	links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("cannot ask the kernel for its network interfaces: %w", err)
	}
	return &edge{ctx: ctx, links: links}, nil
}

func (e *edge) close() { e.links.Close() }

// observe looks at everything that the preps are about.
func (e *edge) observe(preps []tree.HostPrep) (*facts, error) {
	f := &facts{
		shared: map[string]bool{}, paths: map[string]pathFact{}, modules: map[string]moduleFact{},
		parameters: map[string]string{}, links: map[string]linkFact{},
	}
	var err error
	for _, p := range preps {
		for _, path := range p.SharedMounts {
			if f.paths[path], err = lookAt(path); err != nil {
				return nil, err
			}
			if f.shared[path], _, err = mountOf(path); err != nil {
				return nil, err
			}
		}
		for _, d := range p.Directories {
			if f.paths[d.Path], err = lookAt(d.Path); err != nil {
				return nil, err
			}
		}
		for _, m := range p.Modules {
			if f.modules[m.Name], err = module(m.Name); err != nil {
				return nil, err
			}
		}
		for name := range p.Sysctls {
			value, err := os.ReadFile(parameterFile(name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("cannot read kernel parameter %s: %w", name, err)
			}
			f.parameters[name] = strings.Join(strings.Fields(string(value)), " ")
		}
		if len(p.Veth) > 0 {
			if f.links, err = e.observeLinks(); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

func parameterFile(name string) string { return "/proc/sys/" + strings.ReplaceAll(name, ".", "/") }

func lookAt(path string) (pathFact, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return pathFact{}, nil
	}
	if err != nil {
		return pathFact{}, fmt.Errorf("cannot look at the host's %s: %w", path, err)
	}
	stat := info.Sys().(*syscall.Stat_t) // what Lstat gives on this system
	return pathFact{there: true, directory: info.IsDir(), mode: stat.Mode & 0o7777, uid: int(stat.Uid), gid: int(stat.Gid)}, nil
}

// mountOf says whether the mount that a directory lies on is shared, and whether the directory
// is its root. For a directory that is missing it is the mount of the nearest that is there.
func mountOf(path string) (shared, root bool, err error) {
	there := path
	fd, err := unix.Open(there, unix.O_PATH|unix.O_CLOEXEC, 0)
	for errors.Is(err, unix.ENOENT) && there != "/" {
		there = filepath.Dir(there)
		fd, err = unix.Open(there, unix.O_PATH|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return false, false, fmt.Errorf("cannot look at the host's %s: %w", there, err)
	}
	defer unix.Close(fd)
	// The kernel says which mount it is; matching paths would go wrong with links and with
	// mounts over mounts.
	id, err := mountID(fd)
	if err != nil {
		return false, false, fmt.Errorf("cannot tell the mount of %s: %w", there, err)
	}
	table, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return false, false, fmt.Errorf("cannot read the mounts of the host: %w", err)
	}
	defer table.Close()
	real, err := os.Readlink(fmt.Sprintf("/proc/thread-self/fd/%d", fd))
	if err != nil {
		return false, false, fmt.Errorf("cannot tell the mount of %s: %w", there, err)
	}
	found, err := mountinfo.GetMountsFromReader(table, func(m *mountinfo.Info) (skip, stop bool) { return m.ID != id, m.ID == id })
	if err != nil {
		return false, false, fmt.Errorf("cannot read the mounts of the host: %w", err)
	}
	if len(found) == 0 {
		return false, false, fmt.Errorf("cannot tell the mount of %s: the kernel's table has no mount %d", there, id)
	}
	return isShared(found[0]), there == path && found[0].Mountpoint == real, nil
}

// isShared says whether others see what is mounted below a mount (proc_pid_mountinfo(5), the tag shared:N).
func isShared(m *mountinfo.Info) bool {
	return slices.ContainsFunc(strings.Fields(m.Optional), func(tag string) bool { return strings.HasPrefix(tag, "shared:") })
}

// mountID reads mnt_id of /proc/thread-self/fdinfo, see proc_pid_fdinfo(5).
func mountID(fd int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/thread-self/fdinfo/%d", fd))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, "mnt_id:"); found {
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, errors.New("the kernel does not say")
}
