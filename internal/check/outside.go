// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"

	"copse/internal/procfs"
)

// place is from where a check is made.
type place struct {
	// proc shows the processes of the container.
	proc procfs.Dir
	// self is the check's own process in it; 0 for one that is not there.
	self int
	// outside: the file system, the user and the names of the container are not this process's.
	outside bool
}

func inside() place { return place{proc: procfs.Proc, self: os.Getpid()} }

// errInsideOnly is the parsers' answer to what says the same only inside the container.
var errInsideOnly = errors.New("it says the same only inside the container")

// Outside prepares a check of a container for a process that shares its network but is not in it,
// so that it costs no program's start there. test is the whole argument list, "copse-init" and
// "check" included; lookup gives the container's variables; proc is where the proc file system that
// the container sees is found, e.g. "/proc/1234/root/proc", or "" where it is out of sight.
//
// ok is false for what must be run inside because it may say something else there: other
// programs, sockets and files in the file system, commands, host names, certificates, and whatever is
// written wrongly. Else run says what "copse-init check" would, with the same exit status.
func Outside(test []string, lookup func(string) (string, bool), proc string) (run func(ctx context.Context, stdout io.Writer) (status int), ok bool) {
	if len(test) < 2 || !slices.Contains([]string{"copse-init", "/usr/local/bin/copse-init"}, test[0]) || test[1] != "check" {
		return nil, false
	}
	parts, err := parseAll(test[2:], lookup, place{proc: procfs.Dir(proc), outside: true})
	if err != nil {
		return nil, false
	}
	return func(ctx context.Context, stdout io.Writer) int { return runAll(ctx, parts, stdout) }, true
}

// literal reports whether a host is an address, which is the same to everybody.
func literal(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// numeric reports whether a port is a number, which needs no /etc/services.
func numeric(port string) bool {
	_, err := strconv.ParseUint(port, 10, 16)
	return err == nil
}
