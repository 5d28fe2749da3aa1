// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package fake_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"copse/internal/engine"
	"copse/internal/engine/enginetest"
	"copse/internal/engine/fake"
	"copse/internal/tree"
)

// clock is a clock that moves when it is told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock {
	return &clock{now: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestConformance(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) (engine.Engine, enginetest.Fixture) {
		clock := newClock()
		labels := map[string]string{"test": "conformance"}
		e := &fake.Engine{Now: clock.Now, Program: testbox}
		e.AddImage(engine.Image{References: []string{"testbox:1"}, Labels: labels})
		return e, enginetest.Fixture{
			TestImage: "testbox:1", Labels: labels, Prefix: "t-",
			Pass: func() { clock.Advance(time.Second); e.Tick() },
		}
	})
}

// testbox behaves as the program of that name in the suite's image.
func testbox(_ string, spec tree.Spec) fake.Program {
	program := fake.Program{Exec: execTestbox}
	for _, command := range split(spec.Command) {
		switch command[0] {
		case "exit":
			code, _ := strconv.Atoi(command[1])
			program.Exit = &fake.Exit{Code: code}
		case "print":
			for _, argument := range command[1:] {
				stream, text, _ := strings.Cut(argument, ":")
				program.Lines = append(program.Lines, fake.Line{Stream: "std" + stream, Text: text, After: sleeps(program)})
			}
			program.Exit = &fake.Exit{After: sleeps(program)}
		case "sleep":
			milliseconds, _ := strconv.Atoi(command[1])
			program.Exit = &fake.Exit{After: sleeps(program) + time.Duration(milliseconds)*time.Millisecond}
		case "trap":
			program.Lines = append(program.Lines, fake.Line{Text: "ready", After: sleeps(program)})
			program.StopCode, program.Exit = 40, nil
		case "ignore":
			program.Lines = append(program.Lines, fake.Line{Text: "ready"})
			program.IgnoresStop = true
		case "wait":
			program.Exit = nil
		}
	}
	return program
}

// sleeps is how long a program has slept so far.
func sleeps(program fake.Program) time.Duration {
	if program.Exit == nil {
		return 0
	}
	return program.Exit.After
}

// split separates commands at "--".
func split(arguments []string) [][]string {
	commands := [][]string{nil}
	for _, argument := range arguments {
		if argument == "--" {
			commands = append(commands, nil)
			continue
		}
		commands[len(commands)-1] = append(commands[len(commands)-1], argument)
	}
	return commands
}

func execTestbox(ctx context.Context, exec engine.Exec) (int, error) {
	for _, command := range split(exec.Command[1:]) {
		switch command[0] {
		case "exit":
			return strconv.Atoi(command[1])
		case "print":
			for _, argument := range command[1:] {
				stream, text, _ := strings.Cut(argument, ":")
				to := map[string]io.Writer{"out": exec.Stdout, "err": exec.Stderr}[stream]
				fmt.Fprintln(to, text)
			}
		case "env":
			fmt.Fprintln(exec.Stdout, exec.Environment[command[1]])
		case "cat":
			if exec.Stdin == nil {
				return 0, nil
			}
			_, err := io.Copy(exec.Stdout, exec.Stdin)
			return 0, err
		case "ids":
			user, group, _ := strings.Cut(exec.User, ":")
			fmt.Fprintf(exec.Stdout, "%s %s [%s]\n", user, group, group)
		case "wait":
			<-ctx.Done()
			return 0, ctx.Err()
		default:
			return 0, errors.New("unknown command " + command[0])
		}
	}
	return 0, nil
}
