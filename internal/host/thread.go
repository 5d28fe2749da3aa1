// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// inMountsOf calls do on a thread of its own in the mount namespace of a process (setns(2)). Root
// and working directory become those of that namespace. Programs started by do inherit it.
func inMountsOf(pid int, do func() error) error {
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if err != nil {
		return fmt.Errorf("cannot enter the mount namespace of the container engine, process %d: %w", pid, err)
	}
	defer namespace.Close()
	return onThread(func() error {
		// A thread shares its root and working directory with all others, which setns refuses.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("cannot enter the mount namespace of the container engine: unshare: %w", err)
		}
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("cannot enter the mount namespace of the container engine, process %d: setns: %w; the agent needs SYS_ADMIN and SYS_CHROOT", pid, err)
		}
		return do()
	})
}

// onThread calls do on a thread that ends with it, because it never unlocks it. That is never
// the first thread, which /proc/self stands for.
func onThread(do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(do) // meanwhile this goroutine keeps the first thread busy
			runtime.UnlockOSThread()
			return
		}
		done <- do()
	}()
	return <-done
}
