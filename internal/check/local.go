// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"copse/internal/procfs"
)

// parseProcess makes a check that each named program runs.
func parseProcess(w *words, from place) (probe, error) {
	if from.proc == "" {
		return nil, errInsideOnly
	}
	names, err := w.plain(-1, "at least one NAME")
	if err != nil {
		return nil, err
	}
	return func(context.Context) error {
		processes, err := from.proc.Processes()
		if err != nil {
			return err
		}
		var problems []string
		for _, name := range names {
			if reason := missing(processes, name, from.self); reason != "" {
				problems = append(problems, reason)
			}
		}
		if len(problems) > 0 {
			return errors.New(strings.Join(problems, "; "))
		}
		return nil
	}, nil
}

// missing says why no process of that name is at work, or "". The check's own
// process is not looked at: its arguments hold the name.
func missing(processes []procfs.Process, name string, self int) string {
	reason := "no process " + name
	for _, p := range processes {
		if p.PID == self || !named(p, name) {
			continue
		}
		switch {
		case p.Zombie():
			reason = fmt.Sprintf("process %d (%s) has ended and is a zombie", p.PID, name)
		case p.State == 'T' || p.State == 't':
			reason = fmt.Sprintf("process %d (%s) is stopped", p.PID, name)
		default:
			return ""
		}
	}
	return reason
}

// commLength is how much of a program's name the kernel keeps, in bytes.
const commLength = 15

// named tells whether a process goes by a name: the kernel's, that of its
// program, or that of the script its interpreter runs. A title a service gave
// itself counts up to its colon or space ("neutron-server: api worker").
func named(p procfs.Process, name string) bool {
	if p.Comm == name || (len(name) > commLength && p.Comm == name[:commLength] && len(p.Cmdline) == 0) {
		return true
	}
	if len(p.Cmdline) == 0 {
		return false
	}
	program := filepath.Base(p.Cmdline[0])
	title, _, _ := strings.Cut(p.Cmdline[0], ": ")
	if first, _, found := strings.Cut(title, " "); found {
		title = first
	}
	if program == name || filepath.Base(title) == name {
		return true
	}
	return interpreter(program) && filepath.Base(script(p.Cmdline)) == name
}

func interpreter(program string) bool {
	return strings.HasPrefix(program, "python") || program == "sh" || program == "bash" || program == "perl"
}

// script returns the first argument of an interpreter that is no option.
func script(arguments []string) string {
	for _, argument := range arguments[1:] {
		if !strings.HasPrefix(argument, "-") {
			return argument
		}
	}
	return ""
}

// parseFileAge makes a check that a file was written not long ago.
func parseFileAge(w *words, from place) (probe, error) {
	if from.outside {
		return nil, errInsideOnly
	}
	plain, err := w.plain(2, "PATH and MAXAGE")
	if err != nil {
		return nil, err
	}
	oldest, err := time.ParseDuration(plain[1])
	if seconds, secondsErr := strconv.Atoi(plain[1]); secondsErr == nil {
		oldest, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || oldest <= 0 {
		return nil, fmt.Errorf("%q is no age such as 90s or 5m", plain[1])
	}
	return func(context.Context) error {
		info, err := os.Stat(plain[0])
		if err != nil {
			return err
		}
		if age := time.Since(info.ModTime()); age > oldest {
			return fmt.Errorf("%s was last written %s ago, want at most %s", plain[0], age.Round(time.Second), oldest)
		}
		return nil
	}, nil
}

// parseExec makes a check that a command ends with status 0.
func parseExec(w *words, from place) (probe, error) {
	if from.outside {
		return nil, errInsideOnly
	}
	command, err := w.command()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		running := exec.CommandContext(ctx, command[0], command[1:]...)
		output := &tail{}
		running.Stdout, running.Stderr = output, output
		// What the command has started goes with it.
		running.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		running.Cancel = func() error { return syscall.Kill(-running.Process.Pid, syscall.SIGKILL) }
		running.WaitDelay = time.Second / 10
		err := running.Run()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		if err == nil || (errors.Is(err, exec.ErrWaitDelay) && running.ProcessState.Success()) {
			// In the second case it left something behind that holds its output.
			return nil
		}
		if shown := output.String(); shown != "" && !isTimeout(err) {
			return fmt.Errorf("%s: %w: %s", command[0], err, shown)
		}
		return fmt.Errorf("%s: %w", command[0], err)
	}, nil
}

// tail keeps the end of what a command prints.
type tail struct{ kept []byte }

// tailLength is how much is kept, in bytes.
const tailLength = 2048

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - tailLength; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(bytes.TrimSpace(t.kept)) }
