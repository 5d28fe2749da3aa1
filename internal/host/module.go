// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// module says what the kernel has of a module. Names are compared as modprobe does, which takes
// "-" for "_".
func module(name string) (moduleFact, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return moduleFact{}, fmt.Errorf("cannot ask the kernel for its release: %w", err)
	}
	directory := filepath.Join("/lib/modules", unix.ByteSliceToString(uts.Release[:]))
	f := moduleFact{loadable: mayLoad()}
	if _, err := os.Stat("/sys/module/" + moduleID(name)); err == nil {
		f.loaded = true
		return f, nil
	}
	// One that is part of the kernel shows in /sys/module only where it has parameters.
	builtin, err := listed(filepath.Join(directory, "modules.builtin"), name)
	if err != nil {
		return f, err
	}
	f.loaded = builtin
	f.available, err = listed(filepath.Join(directory, "modules.dep"), name)
	return f, err
}

// listed says whether a list of modules (modules.dep(5)) has one: lines that begin with the path
// of its file. A kernel without a directory of modules has none.
func listed(list, name string) (bool, error) {
	text, err := os.ReadFile(list)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot read the list of kernel modules: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		file, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		base, _, isModule := strings.Cut(path.Base(file), ".ko")
		if isModule && moduleID(base) == moduleID(name) {
			return true, nil
		}
	}
	return false, nil
}

func moduleID(name string) string { return strings.ReplaceAll(name, "-", "_") }

// mayLoad says whether this process has the capability that loading a module takes.
func mayLoad() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	return data[unix.CAP_SYS_MODULE/32].Effective&(1<<(unix.CAP_SYS_MODULE%32)) != 0
}

// do runs the host's modprobe, which knows what the module depends on and what is blocked.
func (m loadModule) do(e *edge) (string, error) {
	for _, program := range []string{"/usr/sbin/modprobe", "/sbin/modprobe", "/usr/bin/modprobe", "/bin/modprobe"} {
		if _, err := os.Stat(program); err != nil {
			continue
		}
		command := exec.CommandContext(e.ctx, program, "--", m.Name)
		command.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
		output, err := command.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("cannot load kernel module %s: %w: %s", m.Name, err, plainly(output))
		}
		return "loaded kernel module " + m.Name, nil
	}
	return "", fmt.Errorf("cannot load kernel module %s: the host has no modprobe: install kmod", m.Name)
}
