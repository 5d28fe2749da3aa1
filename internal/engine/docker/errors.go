// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"copse/internal/engine"
)

// failure is an operation that the engine did not do. It matches its kind, which is one of
// the errors of package engine or nil, and its cause.
type failure struct {
	operation string
	kind      error
	cause     error
	advice    string
}

// Error reads "cannot do X: why; way out".
func (f *failure) Error() string {
	// The client puts this before everything; it says nothing that the operation does not.
	why := strings.TrimPrefix(f.cause.Error(), "Error response from daemon: ")
	text := "cannot " + f.operation + ": " + why
	if f.advice != "" {
		text += "; " + f.advice
	}
	return text
}

// Unwrap lets errors.Is and errors.As see both.
func (f *failure) Unwrap() []error {
	if f.kind == nil {
		return []error{f.cause}
	}
	return []error{f.kind, f.cause}
}

// fail makes the error of an operation from the client's; nil stays nil.
func (e *Engine) fail(err error, format string, arguments ...any) error {
	if err == nil {
		return nil
	}
	f := &failure{operation: fmt.Sprintf(format, arguments...), kind: kindOf(err), cause: err}
	switch f.kind {
	case engine.ErrUnavailable:
		f.advice = "start it with \"systemctl start docker\", or with \"dockerd\" where there is no systemd"
		if !strings.Contains(f.operation+err.Error(), e.host) {
			f.operation += " at " + e.host
		}
	case engine.ErrNoSpace:
		f.advice = "free space below the engine's data directory, for instance with \"docker system df\" and \"docker image prune\""
	}
	return f
}

// kindOf sorts an error of the client into the errors of package engine; nil where a caller
// has nothing to act on.
func kindOf(err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return nil
	case isNoSpace(err):
		return engine.ErrNoSpace
	case errdefs.IsNotFound(err):
		return engine.ErrNotFound
	case errdefs.IsConflict(err):
		return engine.ErrConflict
	case client.IsErrConnectionFailed(err), isLostConnection(err):
		return engine.ErrUnavailable
	}
	return nil
}

// isLostConnection reports whether a connection broke while something was read from it, or
// could not be made where the client gives the plain network error.
func isLostConnection(err error) bool {
	var operation *net.OpError
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.As(err, &operation)
}

// isNoSpace is the one place where an error's text is looked at: the API has no status for a
// full disk. The engine answers 500 with the kernel's words (strerror(ENOSPC)) inside.
func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), syscall.ENOSPC.Error())
}
