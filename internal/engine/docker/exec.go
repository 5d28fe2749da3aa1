// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"io"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"copse/internal/engine"
)

// Exec implements engine.Processes. A Read of exec.Stdin that is under way when the program
// ends cannot be interrupted: the goroutine that reads ends with that Read.
func (e *Engine) Exec(ctx context.Context, id string, exec engine.Exec) (int, error) {
	privileged, err := e.execPrivileged(ctx, id, exec.Privileged)
	if err != nil {
		return 0, e.fail(err, "run %q in container %s", exec.Command, id)
	}
	created, err := e.api.ExecCreate(ctx, id, client.ExecCreateOptions{
		User:         exec.User,
		Privileged:   privileged,
		TTY:          exec.TTY,
		AttachStdin:  exec.Stdin != nil,
		AttachStdout: true,
		AttachStderr: true,
		Env:          environment(exec.Environment),
		WorkingDir:   exec.WorkingDir,
		Cmd:          exec.Command,
	})
	if err != nil {
		return 0, e.fail(err, "run %q in container %s", exec.Command, id)
	}
	attached, err := e.api.ExecAttach(ctx, created.ID, client.ExecAttachOptions{TTY: exec.TTY})
	if err != nil {
		return 0, e.fail(e.whyNotAttached(ctx, created.ID, err), "run %q in container %s", exec.Command, id)
	}
	defer attached.Close()
	// The connection does not know ctx: closing it is what ends the copying.
	stop := context.AfterFunc(ctx, attached.Close)
	defer stop()
	if exec.Kill {
		defer func() {
			if ctx.Err() != nil {
				e.killExec(context.WithoutCancel(ctx), created.ID)
			}
		}()
	}

	if exec.Resize != nil {
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		defer func() { cancel(); <-done }()
		go func() {
			defer close(done)
			e.resize(ctx, created.ID, exec.Resize)
		}()
	}
	if exec.Stdin != nil {
		go func() {
			// An error here is the program's end or its closed stdin; the exit status tells.
			_, _ = io.Copy(attached.Conn, exec.Stdin)
			_ = attached.CloseWrite()
		}()
	}
	if err := copyOutput(attached.Reader, exec); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return 0, e.fail(err, "read the output of %q in container %s", exec.Command, id)
	}
	code, err := e.exitCode(ctx, created.ID)
	return code, e.fail(err, "learn the exit status of %q in container %s", exec.Command, id)
}

// execPrivileged is what to ask the engine for where a privileged program is wanted. In a
// container whose privileges were spelled out (see setPrivileges) a program has them anyway,
// and an engine that cannot give all would refuse to give more.
func (e *Engine) execPrivileged(ctx context.Context, id string, wanted bool) (bool, error) {
	if !wanted || !e.lacking() {
		return wanted, nil
	}
	result, err := e.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return false, err
	}
	host := result.Container.HostConfig
	return host == nil || !hasAll(host.CapAdd), nil
}

// whyNotAttached replaces an error of the hijacked connection, which has no type, by what the
// engine says about the exec where that is an error as well: most often that the container
// has stopped meanwhile.
func (e *Engine) whyNotAttached(ctx context.Context, execID string, err error) error {
	if _, inspected := e.api.ExecInspect(ctx, execID, client.ExecInspectOptions{}); inspected != nil {
		return inspected
	}
	return err
}

// copyOutput copies until the program's streams end.
func copyOutput(from io.Reader, exec engine.Exec) error {
	stdout, stderr := orDiscard(exec.Stdout), orDiscard(exec.Stderr)
	if exec.TTY {
		_, err := io.Copy(stdout, from)
		return err
	}
	_, err := stdcopy.StdCopy(stdout, stderr, from)
	return err
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// exitCode waits until the engine knows how the program ended: it closes the streams first
// and takes note of the exit a moment later. There is no event to wait on.
func (e *Engine) exitCode(ctx context.Context, execID string) (int, error) {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		state, err := e.api.ExecInspect(ctx, execID, client.ExecInspectOptions{})
		if err != nil {
			return 0, err
		}
		if !state.Running {
			return state.ExitCode, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// resize passes on the sizes of the terminal until ctx ends.
func (e *Engine) resize(ctx context.Context, execID string, sizes <-chan engine.Size) {
	for {
		select {
		case <-ctx.Done():
			return
		case size, open := <-sizes:
			if !open {
				return
			}
			// A size that is not taken over costs a badly wrapped line, nothing else.
			_, _ = e.api.ExecResize(ctx, execID, client.ExecResizeOptions{Height: size.Height, Width: size.Width})
		}
	}
}
