// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// UnreachableError says that there was no talking to the agent at all.
type UnreachableError struct {
	Where string
	Err   error
}

// Error says what is the matter and what to do about it.
func (e *UnreachableError) Error() string {
	switch {
	case e.NotRunning():
		return fmt.Sprintf("cannot reach the agent at %s: none is running there: `copse up` starts one", e.Where)
	case errors.Is(e.Err, os.ErrPermission):
		return fmt.Sprintf("cannot reach the agent at %s: permission denied: run copse as root", e.Where)
	}
	return fmt.Sprintf("cannot reach the agent at %s: %v", e.Where, e.Err)
}

// Unwrap gives the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// NotRunning reports whether nobody listens where the agent should.
func (e *UnreachableError) NotRunning() bool {
	return errors.Is(e.Err, os.ErrNotExist) || errors.Is(e.Err, syscall.ECONNREFUSED)
}

// Unix dials a socket of this host.
func Unix(path string) Dialer { return unixDialer(path) }

type unixDialer string

func (d unixDialer) Dial(ctx context.Context) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, "unix", string(d))
}

func (d unixDialer) Where() string { return string(d) }

func (d unixDialer) Close() error { return nil }
