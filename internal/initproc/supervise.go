// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package initproc

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// signals are what the process is sent, in two channels: the runtime drops a
// signal whose channel is full, and a burst of dying children must not cost
// the one SIGTERM.
type signals struct {
	// forwarded gets what goes on to the service.
	forwarded chan os.Signal
	// child gets SIGCHLD; one is as good as many.
	child chan os.Signal
}

// forwardable lists the signals that are passed on: all that a process may be
// sent on purpose. Left out are those that a fault of copse-init's own raises
// (SEGV, BUS, FPE, ILL, TRAP, ABRT, SYS, PIPE), those that the terminal or the
// kernel means for this process (TTIN, TTOU, CHLD), those the Go runtime uses
// for itself (URG, PROF, 32–34) and those nobody can catch.
func forwardable() []os.Signal {
	list := []os.Signal{
		unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2,
		unix.SIGALRM, unix.SIGVTALRM, unix.SIGCONT, unix.SIGTSTP, unix.SIGWINCH,
		unix.SIGIO, unix.SIGPWR, unix.SIGXCPU, unix.SIGXFSZ,
	}
	for realtime := 35; realtime <= 64; realtime++ {
		list = append(list, syscall.Signal(realtime))
	}
	return list
}

// catchSignals begins to collect signals. As PID 1 the kernel would otherwise
// ignore them, since the first process of a namespace has no default actions.
func catchSignals() *signals {
	caught := &signals{forwarded: make(chan os.Signal, 64), child: make(chan os.Signal, 1)}
	signal.Notify(caught.forwarded, forwardable()...)
	signal.Notify(caught.child, unix.SIGCHLD)
	return caught
}

// ending tells whether a signal asks a process to end.
func ending(s os.Signal) bool {
	return s == unix.SIGTERM || s == unix.SIGINT || s == unix.SIGQUIT
}

// signalStatus is the exit status that tells of a signal, as shells have it.
func signalStatus(s os.Signal) int {
	if number, ok := s.(syscall.Signal); ok {
		return 128 + int(number)
	}
	return 128
}

// supervise passes signals on to the service and reaps every child until the
// service has ended. It returns the service's exit status.
func (caught *signals) supervise(service int) int {
	for {
		if status, ended := reap(service); ended {
			return status
		}
		select {
		case <-caught.child:
		case s := <-caught.forwarded:
			// ESRCH is no matter: the service has just ended, and reap is next.
			_ = unix.Kill(service, s.(syscall.Signal))
		}
	}
}

// reap waits for all children that have ended, the service's and orphans that
// fell to this process, and tells whether the service was among them.
func reap(service int) (status int, ended bool) {
	for {
		var wait unix.WaitStatus
		pid, err := unix.Wait4(-1, &wait, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || pid == 0:
			return status, ended
		case pid == service:
			ended = true
			if status = wait.ExitStatus(); wait.Signaled() {
				status = signalStatus(wait.Signal())
			}
		}
	}
}

// grace is how long processes that outlive the service may take to end by
// themselves. They are strays, so it is short; the engine's own time to stop
// runs meanwhile.
const grace = 2 * time.Second

// endRemains ends what the service left behind: TERM, then KILL after the
// grace. As PID 1 that is every process of the namespace (the kernel would
// KILL them the moment this process ends); else it is this process's
// descendants, which as a subreaper it has all inherited.
func (caught *signals) endRemains() {
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); errors.Is(err, unix.ECHILD) {
		return
	}
	signalRemains(unix.SIGTERM)
	rounds, late := 5, time.NewTimer(grace)
	defer late.Stop()
	for {
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if errors.Is(err, unix.ECHILD) {
				return
			}
			if pid == 0 {
				break
			}
		}
		select {
		case <-caught.child:
		case <-late.C:
			if os.Getpid() == 1 || rounds == 0 {
				return
			}
			// A process that forks may slip through one look at the table, so
			// look again; one stuck in the kernel must not hold this up for ever.
			rounds--
			signalRemains(unix.SIGKILL)
			late.Reset(grace / 10)
		}
	}
}

// signalRemains sends a signal to all that endRemains speaks of.
func signalRemains(s syscall.Signal) {
	if os.Getpid() == 1 {
		// It fails only where nobody is left.
		_ = unix.Kill(-1, s)
		return
	}
	for _, pid := range descendants(os.Getpid()) {
		_ = unix.Kill(pid, s)
	}
}
