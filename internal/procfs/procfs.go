// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package procfs reads processes and sockets from /proc, so that checks need
// no ps, ss or lsof in an image. It holds no state: every call reads anew, and
// what it returns is a snapshot that may be out of date when it is looked at.
// The formats are those of proc(5).
package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Dir is where a proc file system is mounted.
type Dir string

// Proc is the place every running system has it.
const Proc Dir = "/proc"

// Process is one process as the kernel shows it to the caller.
type Process struct {
	// PID is the number in the caller's process namespace.
	PID int
	// PPID is the parent's number; 0 for the first process of a namespace.
	PPID int
	// Comm is the kernel's name, at most 15 bytes.
	Comm string
	// Cmdline holds the arguments, as far as they fit into 8 KiB; empty for kernel threads and zombies.
	Cmdline []string
	// State is the letter of proc(5): R running, S sleeping, D in disk wait, Z zombie, T stopped …
	State byte
	// StartTicks is the start in clock ticks since boot. Together with the PID
	// it names one process for good, where the PID alone may be used again.
	StartTicks uint64
}

// Command is the command line as pgrep -f sees it: the arguments joined by
// single spaces or, where there are none, the kernel's name.
func (p Process) Command() string {
	if len(p.Cmdline) == 0 {
		return p.Comm
	}
	return strings.Join(p.Cmdline, " ")
}

// Zombie tells whether the process has ended and only waits to be reaped.
func (p Process) Zombie() bool { return p.State == 'Z' || p.State == 'X' }

// Processes lists what runs, by ascending PID. A process that ends while the
// list is being made is left out.
func Processes() ([]Process, error) { return Proc.Processes() }

// Processes is [Processes] for a proc file system mounted elsewhere.
func (d Dir) Processes() ([]Process, error) {
	pids, err := d.pids()
	if err != nil {
		return nil, err
	}
	processes := make([]Process, 0, len(pids))
	for _, pid := range pids {
		process, err := d.Process(pid)
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		processes = append(processes, process)
	}
	return processes, nil
}

// Process reads one process. The error wraps [fs.ErrNotExist] when it is gone.
func (d Dir) Process(pid int) (Process, error) {
	dir := filepath.Join(string(d), strconv.Itoa(pid))
	stat, err := readStart(filepath.Join(dir, "stat"), mostStat)
	if err != nil {
		if gone(err) {
			return Process{}, fmt.Errorf("cannot read process %d: %w", pid, fs.ErrNotExist)
		}
		return Process{}, fmt.Errorf("cannot read process %d: %w", pid, err)
	}
	process, err := parseStat(stat)
	if err != nil {
		return Process{}, fmt.Errorf("cannot read process %d: %w", pid, err)
	}
	cmdline, err := readStart(filepath.Join(dir, "cmdline"), mostCmdline)
	if err != nil && !gone(err) && !errors.Is(err, fs.ErrPermission) {
		return Process{}, fmt.Errorf("cannot read the command line of process %d: %w", pid, err)
	}
	process.Cmdline = splitCmdline(cmdline)
	return process, nil
}

// How much of a process is read: bytes, and arguments that are told apart. A process may give itself a
// command line of megabytes, or of all the memory that it has (prctl(2), PR_SET_MM_MAP), and a container
// has room for thousands of them; one that may mount has any file stand in the place of these. Whoever
// looks would run out of memory.
const (
	mostStat      = 4 << 10
	mostCmdline   = 8 << 10
	mostArguments = 256
)

// readStart reads a file, but not more than most bytes of it.
func readStart(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(file, most))
	return content, errors.Join(err, file.Close())
}

// Owners finds which processes hold the sockets of the given inodes. A process
// whose descriptors the caller may not see counts as holding none; unseen is
// how many there were, so that a caller can tell "nobody" from "not allowed to
// look".
func Owners(inodes []uint64) (owners map[uint64][]int, unseen int, err error) {
	return Proc.Owners(inodes)
}

// Owners is the function [Owners] for a proc file system mounted elsewhere.
func (d Dir) Owners(inodes []uint64) (owners map[uint64][]int, unseen int, err error) {
	owners = map[uint64][]int{}
	if len(inodes) == 0 {
		return owners, 0, nil
	}
	wanted := make(map[uint64]bool, len(inodes))
	for _, inode := range inodes {
		wanted[inode] = true
	}
	pids, err := d.pids()
	if err != nil {
		return nil, 0, err
	}
	for _, pid := range pids {
		held, err := d.SocketInodes(pid)
		switch {
		case gone(err):
			continue
		case errors.Is(err, fs.ErrPermission):
			unseen++
			continue
		case err != nil:
			return nil, 0, err
		}
		for _, inode := range held {
			if wanted[inode] {
				owners[inode] = append(owners[inode], pid)
			}
		}
	}
	return owners, unseen, nil
}

// SocketInodes lists the sockets that one process holds open, each once. The
// error wraps [fs.ErrNotExist] when the process is gone and
// [fs.ErrPermission] when the caller may not look.
func (d Dir) SocketInodes(pid int) ([]uint64, error) {
	dir := filepath.Join(string(d), strconv.Itoa(pid), "fd")
	handle, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list the open files of process %d: %w", pid, err)
	}
	names, err := handle.Readdirnames(-1)
	_ = handle.Close()
	if err != nil {
		return nil, fmt.Errorf("cannot list the open files of process %d: %w", pid, err)
	}
	var inodes []uint64
	for _, name := range names {
		target, err := os.Readlink(filepath.Join(dir, name))
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read open file %s of process %d: %w", name, pid, err)
		}
		if inode, ok := socketInode(target); ok {
			inodes = append(inodes, inode)
		}
	}
	slices.Sort(inodes)
	return slices.Compact(inodes), nil
}

func (d Dir) pids() ([]int, error) {
	handle, err := os.Open(string(d))
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	defer handle.Close()
	names, err := handle.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// parseStat reads /proc/PID/stat. The name stands in parentheses and may hold
// spaces and parentheses itself, so its end is the last closing one.
func parseStat(stat []byte) (Process, error) {
	opening, closing := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if opening < 1 || closing < opening {
		return Process{}, fmt.Errorf("no name in parentheses in %q", stat)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(stat[:opening])))
	if err != nil {
		return Process{}, fmt.Errorf("no process number in %q", stat)
	}
	const stateField, parentField, startField = 0, 1, 19 // fields 3, 4 and 22 of proc(5)
	fields := strings.Fields(string(stat[closing+1:]))
	if len(fields) <= startField || len(fields[stateField]) != 1 {
		return Process{}, fmt.Errorf("too few fields in %q", stat)
	}
	parent, err := strconv.Atoi(fields[parentField])
	if err != nil {
		return Process{}, fmt.Errorf("no parent in %q", stat)
	}
	start, err := strconv.ParseUint(fields[startField], 10, 64)
	if err != nil {
		return Process{}, fmt.Errorf("no start time in %q", stat)
	}
	return Process{PID: pid, PPID: parent, Comm: string(stat[opening+1 : closing]), State: fields[stateField][0], StartTicks: start}, nil
}

func splitCmdline(cmdline []byte) []string {
	if len(cmdline) == 0 {
		return nil
	}
	arguments := strings.SplitN(strings.TrimSuffix(string(cmdline), "\x00"), "\x00", mostArguments)
	last := &arguments[len(arguments)-1]
	*last = strings.ReplaceAll(*last, "\x00", " ")
	return arguments
}

func socketInode(target string) (uint64, bool) {
	number, found := strings.CutPrefix(target, "socket:[")
	if !found {
		return 0, false
	}
	number, found = strings.CutSuffix(number, "]")
	if !found {
		return 0, false
	}
	inode, err := strconv.ParseUint(number, 10, 64)
	return inode, err == nil
}

// gone tells whether an error says that the process has ended: before its
// directory was opened (ENOENT) or between opening and reading (ESRCH).
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}
