// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"copse/internal/change"
	"copse/internal/engine"
	"copse/internal/tree"
)

// Defaults for checks that do not say.
const (
	defaultDeadline      = 2 * time.Minute
	defaultCheckTimeout  = 10 * time.Second
	defaultStartInterval = 250 * time.Millisecond
	// firstCheckInterval is the time from a first readiness check to the second; it grows from there.
	firstCheckInterval = 50 * time.Millisecond
	// logTail is how many of a failed container's last lines an error shows.
	logTail = 15
	// mostInLine is how much of each of these is kept, in bytes.
	mostInLine = 2000
	// mostOutput is how much of what a check writes is kept, in bytes; the end of it is what counts.
	mostOutput = 4 << 10
)

// ready waits until the new generation has proved itself.
func (d *Deployer) ready(ctx context.Context, t *change.Run) error {
	g, err := d.generation(t)
	if err != nil {
		return err
	}
	err = d.waitReady(ctx, g, func(text string) {
		t.Progress(0, 0, text)
		d.releaseOverdue(ctx, g.Container.Name)
	})
	if err != nil || g.Container.Proxy == nil {
		return err
	}
	return d.tookOver(ctx, g)
}

// waitReady runs a container's readiness check inside it until it succeeds, the container
// ends, or the deadline has passed. It tells progress what each check says that fails.
func (d *Deployer) waitReady(ctx context.Context, g *tree.Generation, progress func(string)) error {
	check := g.Container.ReadyCheck()
	if check == nil {
		return d.mustRun(ctx, g, d.Clock.Now())
	}
	began := d.Clock.Now()
	deadline := check.StartPeriod
	if deadline <= 0 {
		deadline = defaultDeadline
	}
	most := check.StartInterval
	if most <= 0 {
		most = defaultStartInterval
	}
	for interval := min(firstCheckInterval, most); ; interval = min(interval*3/2, most) {
		if err := d.mustRun(ctx, g, began); err != nil {
			return err
		}
		ok, output, err := d.RunCheck(ctx, g.Name(), check)
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if ok {
			return nil
		}
		progress(output)
		if now := d.Clock.Now(); now.Sub(began) >= deadline {
			return d.failure(ctx, g, fmt.Sprintf("was not ready after %s: its check says: %s", since(now, began), output))
		}
		if err := d.Clock.Sleep(ctx, interval); err != nil {
			return context.Cause(ctx)
		}
	}
}

// mustRun returns an error with the container's last words where it does not run.
func (d *Deployer) mustRun(ctx context.Context, g *tree.Generation, began time.Time) error {
	c, err := d.Engine.Inspect(ctx, g.Name())
	if err != nil {
		return fmt.Errorf("cannot look at %s: %w", g.Name(), err)
	}
	if c.State == engine.Running {
		return nil
	}
	why := fmt.Sprintf("ended with status %d after %s", c.ExitCode, since(d.Clock.Now(), began))
	if c.OOMKilled {
		why += " (killed: it needed more memory than its limit)"
	}
	return d.failure(ctx, g, why)
}

// RunCheck runs a check once and returns the last line that it wrote, without secrets. An error means
// that it could not be run; that is unhealthy too.
func (d *Deployer) RunCheck(ctx context.Context, container string, check *tree.Check) (ok bool, output string, err error) {
	timeout := check.Timeout
	if timeout <= 0 {
		timeout = defaultCheckTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("it did not end within %s", timeout))
	defer cancel()
	var out ending
	code, err := d.Checks.Exec(ctx, container, engine.Exec{Command: check.Test, Stdout: &out, Stderr: &out, Kill: true})
	output = strings.TrimSpace(string(out))
	switch {
	case err != nil && ctx.Err() != nil:
		return false, context.Cause(ctx).Error(), err
	case err != nil:
		return false, err.Error(), err
	case code != 0 && output == "":
		output = fmt.Sprintf("exit status %d", code)
	}
	return code == 0, shown(d.Secrets.Hide(lastLine(output))), nil
}

// ending keeps the end of what is written: a check may write without end, and its container may want it to.
type ending []byte

// Write implements io.Writer.
func (e *ending) Write(p []byte) (int, error) {
	n := len(p)
	if len(p) > mostOutput {
		p = p[len(p)-mostOutput:]
	}
	if over := len(*e) + len(p) - mostOutput; over > 0 {
		*e = append((*e)[:0], (*e)[over:]...)
	}
	*e = append(*e, p...)
	return n, nil
}

func lastLine(s string) string { return s[strings.LastIndexByte(s, '\n')+1:] }

// shown makes a line of a fit length, without control characters: it goes into the environment of an
// operator's programs, which takes no zero bytes, and to their terminals.
func shown(line string) string {
	line = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(line, "\uFFFD"))
	const most = 300
	return cut(line, most)
}

// cut keeps so many bytes of the start of a line.
func cut(line string, most int) string {
	if len(line) > most {
		line = strings.ToValidUTF8(line[:most], "") + "…"
	}
	return line
}

// failure is an error about a container, with its last lines and what to do next.
func (d *Deployer) failure(ctx context.Context, g *tree.Generation, why string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", g.Name(), why)
	if lines := d.lastLines(context.WithoutCancel(ctx), g.Name()); len(lines) > 0 {
		b.WriteString("\nits last lines:")
		for _, line := range lines {
			b.WriteString("\n  | " + line)
		}
	} else {
		b.WriteString("\nit wrote nothing")
	}
	fmt.Fprintf(&b, "\nmend what the lines say and run the command again; \"copse change %d\" shows this again", g.Change)
	return errors.New(b.String())
}

func (d *Deployer) lastLines(ctx context.Context, container string) []string {
	ctx, cancel := context.WithTimeout(ctx, defaultCheckTimeout)
	defer cancel()
	var lines []string
	// What cannot be read is not shown: the failure itself is the message.
	_ = d.Engine.Logs(ctx, container, engine.LogOptions{Tail: logTail}, func(l engine.LogLine) {
		lines = append(lines, cut(d.Secrets.Hide(l.Text), mostInLine))
	})
	return lines
}
