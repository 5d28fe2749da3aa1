// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"copse/internal/procfs"
)

// The health checks end with 0 (healthy) or 1, since an engine gives other
// codes no meaning.

func unhealthy(format string, args ...any) error {
	return &exitError{code: exitKnown, err: fmt.Errorf(format, args...)}
}

// healthcheckPort: a process that matches has an established TCP connection
// with one of the ports at either end, such as to the message bus.
func healthcheckPort(_ context.Context, _ Container, arguments []string) error {
	pattern, ports, err := processAndPorts("healthcheck_port", arguments)
	if err != nil {
		return err
	}
	return ownsSocket(pattern, fmt.Sprintf("connection to port %s", joinPorts(ports)),
		[]procfs.Network{procfs.TCP, procfs.TCP6}, func(s procfs.Socket) bool {
			return s.State == procfs.Established && (hasPort(ports, s.Remote) || hasPort(ports, s.Local))
		})
}

// healthcheckListen: a process that matches listens on one of the ports, TCP or UDP.
func healthcheckListen(_ context.Context, _ Container, arguments []string) error {
	pattern, ports, err := processAndPorts("healthcheck_listen", arguments)
	if err != nil {
		return err
	}
	return ownsSocket(pattern, fmt.Sprintf("socket listening on port %s", joinPorts(ports)),
		[]procfs.Network{procfs.TCP, procfs.TCP6, procfs.UDP, procfs.UDP6}, func(s procfs.Socket) bool {
			return s.State == procfs.Listening && hasPort(ports, s.Local)
		})
}

// healthcheckSocket: a process that matches holds a unix socket of that path.
// A path that does not begin with "/" may be any part of the socket's.
func healthcheckSocket(_ context.Context, _ Container, arguments []string) error {
	if len(arguments) != 2 || arguments[1] == "" {
		return unhealthy("usage: healthcheck_socket PROCESS SOCKET")
	}
	pattern, err := processPattern(arguments[0])
	if err != nil {
		return err
	}
	path := arguments[1]
	return ownsSocket(pattern, "unix socket "+path, []procfs.Network{procfs.Unix}, func(s procfs.Socket) bool {
		return s.Path == path || !strings.HasPrefix(path, "/") && strings.Contains(s.Path, path)
	})
}

// healthcheckFilemod: a file was changed within a number of seconds.
func healthcheckFilemod(_ context.Context, c Container, arguments []string) error {
	if len(arguments) != 2 {
		return unhealthy("usage: healthcheck_filemod FILE SECONDS")
	}
	seconds, err := strconv.ParseFloat(arguments[1], 64)
	if err != nil || seconds < 0 || seconds > math.MaxInt32 {
		return unhealthy("%q is no number of seconds", arguments[1])
	}
	info, err := os.Stat(c.tree().host(arguments[0]))
	if err != nil {
		return unhealthy("cannot tell when %s was changed: %w", arguments[0], err)
	}
	if !info.Mode().IsRegular() {
		return unhealthy("%s is no regular file", arguments[0])
	}
	// Whole seconds, as the original counts.
	age := time.Now().Unix() - info.ModTime().Unix()
	if float64(age) > seconds {
		return unhealthy("%s was last changed %d s ago, more than %s s", arguments[0], age, arguments[1])
	}
	return nil
}

func processAndPorts(program string, arguments []string) (*regexp.Regexp, []uint16, error) {
	if len(arguments) < 2 {
		return nil, nil, unhealthy("usage: %s PROCESS PORT…", program)
	}
	pattern, err := processPattern(arguments[0])
	if err != nil {
		return nil, nil, err
	}
	var ports []uint16
	for _, argument := range arguments[1:] {
		for word := range strings.FieldsSeq(argument) {
			port, err := strconv.ParseUint(word, 10, 16)
			if err != nil {
				return nil, nil, unhealthy("%q is no port", word)
			}
			ports = append(ports, uint16(port))
		}
	}
	return pattern, ports, nil
}

// processPattern compiles what pgrep -f takes: a POSIX extended regular expression.
func processPattern(text string) (*regexp.Regexp, error) {
	pattern, err := regexp.CompilePOSIX(text)
	if err != nil || text == "" {
		return nil, unhealthy("%q is no pattern of a process: %v", text, err)
	}
	return pattern, nil
}

func hasPort(ports []uint16, address netip.AddrPort) bool {
	return slices.Contains(ports, address.Port())
}

func joinPorts(ports []uint16) string {
	words := make([]string, len(ports))
	for i, port := range ports {
		words[i] = strconv.Itoa(int(port))
	}
	return strings.Join(words, " or ")
}

// ownsSocket tells whether a process whose command line matches holds a socket
// that matches; what names the socket in the error.
func ownsSocket(pattern *regexp.Regexp, what string, networks []procfs.Network, match func(procfs.Socket) bool) error {
	processes, err := procfs.Processes()
	if err != nil {
		return unhealthy("%w", err)
	}
	self := os.Getpid()
	// The check's own command line, and that of the shell that runs it, hold
	// the name too; neither has such a socket.
	processes = slices.DeleteFunc(processes, func(p procfs.Process) bool {
		return p.PID == self || p.Zombie() || !pattern.MatchString(p.Command())
	})
	if len(processes) == 0 {
		return unhealthy("no process matches %q", pattern)
	}
	sockets, err := procfs.Sockets(networks...)
	if err != nil {
		return unhealthy("%w", err)
	}
	inodes := map[uint64]bool{}
	for _, socket := range sockets {
		if socket.Inode != 0 && match(socket) {
			inodes[socket.Inode] = true
		}
	}
	unseen := 0
	for _, process := range processes {
		held, err := procfs.Proc.SocketInodes(process.PID)
		if errors.Is(err, os.ErrPermission) {
			unseen++
		}
		if slices.ContainsFunc(held, func(inode uint64) bool { return inodes[inode] }) {
			return nil
		}
	}
	if unseen > 0 {
		return unhealthy("none of %d processes matching %q is seen to have a %s; of %d the open files may not be looked at by user %d",
			len(processes), pattern, what, unseen, os.Geteuid())
	}
	return unhealthy("none of %d processes matching %q has a %s", len(processes), pattern, what)
}
