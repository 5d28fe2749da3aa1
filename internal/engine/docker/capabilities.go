// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// capabilityNames are the kernel's capabilities by number (linux/capability.h, see
// capabilities(7)), as Compose writes them.
var capabilityNames = [...]string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
	"SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
	"IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
	"SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
	"LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
	"WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
}

// pidFile is where the engine writes its process id, if it is not told otherwise.
const pidFile = "/run/docker.pid"

// capabilityName brings "cap_sys_admin" and the like to the form of capabilityNames.
func capabilityName(name string) string {
	return strings.TrimPrefix(strings.ToUpper(name), "CAP_")
}

// PID is the process id of the engine, in this process's PID namespace. It fails where the engine
// runs on another host or cannot be seen from here.
func (e *Engine) PID(ctx context.Context) (int, error) {
	socket, local := strings.CutPrefix(e.host, "unix://")
	if !local {
		return 0, fmt.Errorf("cannot find the container engine's process: %s is no unix socket of this host", e.host)
	}
	pid := enginePID("/proc", pidFile, peerPID(ctx, socket))
	if pid == 0 {
		return 0, fmt.Errorf("cannot find the container engine's process behind %s: it does not answer, or belongs to a PID namespace that cannot be seen from here", socket)
	}
	return pid, nil
}

// missingCapabilities are those that the process of the engine at host lacks in its bounding
// set. Where the process cannot be seen (another host, another PID namespace) nothing is
// known to be missing, and nil is the answer: then "privileged" is left to the engine.
func missingCapabilities(ctx context.Context, host string) []string {
	socket, local := strings.CutPrefix(host, "unix://")
	if !local {
		return nil
	}
	const proc = "/proc"
	pid := enginePID(proc, pidFile, peerPID(ctx, socket))
	if pid == 0 {
		return nil
	}
	status, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "status"))
	if err != nil {
		return nil
	}
	last, err := os.ReadFile(filepath.Join(proc, "sys/kernel/cap_last_cap"))
	if err != nil {
		return nil
	}
	return missingFrom(string(status), strings.TrimSpace(string(last)))
}

// enginePID is the process id of the engine, or 0. peer is who listens on the engine's socket:
// the engine, unless systemd opened the socket for it, in which case its pidfile is asked.
func enginePID(proc, pidfile string, peer int) int {
	if peer != 1 {
		return peer
	}
	text, err := os.ReadFile(pidfile)
	if err != nil {
		return peer
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return peer
	}
	// A file that outlived its engine may name any process.
	name, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "comm"))
	if err != nil || strings.TrimSpace(string(name)) != "dockerd" {
		return peer
	}
	return pid
}

// missingFrom reads /proc/PID/status and /proc/sys/kernel/cap_last_cap.
func missingFrom(status, last string) []string {
	highest, err := strconv.Atoi(last)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(status) {
		text, found := strings.CutPrefix(line, "CapBnd:")
		if !found {
			continue
		}
		bounding, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
		if err != nil {
			return nil
		}
		var missing []string
		for number := 0; number <= highest && number < len(capabilityNames); number++ {
			if bounding&(1<<number) == 0 {
				missing = append(missing, capabilityNames[number])
			}
		}
		return missing
	}
	return nil
}

// PrivilegeNote says in one sentence what "privileged" means at this engine, or "" where it
// means what it always does. A caller shows it once.
func (e *Engine) PrivilegeNote() string {
	if len(e.missing) == 0 {
		return ""
	}
	return fmt.Sprintf("privileged containers run without %s: the container engine's own process lacks it", strings.Join(e.missing, ", "))
}
