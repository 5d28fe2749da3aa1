// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Command testbox is the only program of the conformance suite's image: it does small things
// and says what it sees, so that the suite needs no image from a registry.
//
// Several commands are separated by "--": "print out:hello -- wait".
package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	for arguments := os.Args[1:]; len(arguments) > 0; {
		command, rest := arguments, []string(nil)
		if at := slices.Index(arguments, "--"); at >= 0 {
			command, rest = arguments[:at], arguments[at+1:]
		}
		if err := run(command[0], command[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(99)
		}
		arguments = rest
	}
}

// run does one command. A mistake in the suite shows as an index out of range here.
func run(command string, arguments []string) error {
	switch command {
	case "wait": // until asked to stop
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
		<-signals
	case "ignore": // until killed
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		for { // an empty select is a deadlock to Go, which ends the program
			time.Sleep(time.Hour)
		}
	case "trap": // print the name of the first signal, exit with 40
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGTERM)
		fmt.Println("ready")
		fmt.Println("got", unix.SignalName((<-signals).(syscall.Signal)))
		os.Exit(40)
	case "exit":
		code, err := strconv.Atoi(arguments[0])
		if err != nil {
			return err
		}
		os.Exit(code)
	case "sleep": // milliseconds
		milliseconds, err := strconv.Atoi(arguments[0])
		if err != nil {
			return err
		}
		time.Sleep(time.Duration(milliseconds) * time.Millisecond)
	case "print": // "out:text" and "err:text"
		for _, argument := range arguments {
			stream, text, _ := strings.Cut(argument, ":")
			to := map[string]io.Writer{"out": os.Stdout, "err": os.Stderr}[stream]
			fmt.Fprintln(to, text)
		}
	case "long": // one line of so many characters
		length, err := strconv.Atoi(arguments[0])
		if err != nil {
			return err
		}
		fmt.Println(strings.Repeat("x", length))
	case "cat": // standard input
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	default:
		return show(command, arguments)
	}
	return nil
}

// show prints what the program sees.
func show(command string, arguments []string) error {
	switch command {
	case "env":
		fmt.Println(os.Getenv(arguments[0]))
	case "ids":
		groups, err := os.Getgroups()
		if err != nil {
			return err
		}
		fmt.Println(os.Getuid(), os.Getgid(), groups)
	case "where":
		directory, err := os.Getwd()
		fmt.Println(directory)
		return err
	case "hostname":
		name, err := os.Hostname()
		fmt.Println(name)
		return err
	case "status": // a field of /proc/self/status
		return field("/proc/self/status", arguments[0]+":")
	case "link":
		target, err := os.Readlink(arguments[0])
		fmt.Println(target)
		return err
	case "open": // for writing
		file, err := os.OpenFile(arguments[0], os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return file.Close()
	case "write":
		return os.WriteFile(arguments[0], []byte(arguments[1]), 0o600)
	case "read": // the first that exists
		return firstOf(arguments)
	case "stat":
		var stat syscall.Stat_t
		if err := syscall.Stat(arguments[0], &stat); err != nil {
			return err
		}
		fmt.Printf("%04o %d %d\n", stat.Mode&0o7777, stat.Uid, stat.Gid)
	case "mount": // the line of /proc/self/mountinfo for a target
		return mountinfo(arguments[0])
	case "limit":
		var limit unix.Rlimit
		resource := map[string]int{"memlock": unix.RLIMIT_MEMLOCK, "core": unix.RLIMIT_CORE}[arguments[0]]
		if err := unix.Getrlimit(resource, &limit); err != nil {
			return err
		}
		fmt.Println(limit.Cur, limit.Max)
	case "tty": // its size, once it has the width asked for
		for {
			size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
			if err != nil {
				return err
			}
			if strconv.Itoa(int(size.Col)) == arguments[0] {
				fmt.Println(size.Col, size.Row)
				return nil
			}
			time.Sleep(5 * time.Millisecond)
		}
	default:
		return fmt.Errorf("testbox: unknown command %q", command)
	}
	return nil
}

// field prints the value of the line that begins with a prefix.
func field(path, prefix string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(content)) {
		if value, found := strings.CutPrefix(line, prefix); found {
			fmt.Println(strings.TrimSpace(value))
			return nil
		}
	}
	return fmt.Errorf("testbox: %s has no %s", path, prefix)
}

func firstOf(paths []string) error {
	var err error
	for _, path := range paths {
		var content []byte
		if content, err = os.ReadFile(path); err == nil {
			fmt.Println(strings.TrimSuffix(string(content), "\n"))
			return nil
		}
	}
	return err
}

func mountinfo(target string) error {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	found := "not mounted"
	for line := range strings.Lines(string(content)) {
		if fields := strings.Fields(line); fields[4] == target {
			found = strings.TrimSpace(line) // the last one is on top
		}
	}
	fmt.Println(found)
	return nil
}
