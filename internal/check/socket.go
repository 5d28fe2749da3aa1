// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"time"
)

// parseTCP makes a check that connects, and may say and expect something.
func parseTCP(w *words, from place) (probe, error) {
	return parseSocket(w, "tcp", "one HOST:PORT", func(address string) error {
		host, port, err := net.SplitHostPort(address)
		if err != nil || host == "" || port == "" {
			return fmt.Errorf("%q is not HOST:PORT", address)
		}
		if from.outside && (!literal(host) || !numeric(port)) {
			return errInsideOnly
		}
		return nil
	})
}

// parseUnix is parseTCP for a socket in the file system.
func parseUnix(w *words, from place) (probe, error) {
	if from.outside {
		return nil, errInsideOnly
	}
	return parseSocket(w, "unix", "one PATH", func(path string) error {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("%q is no absolute path", path)
		}
		return nil
	})
}

func parseSocket(w *words, network, what string, valid func(string) error) (probe, error) {
	send, err1 := w.value("send")
	expect, err2 := w.value("expect")
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	plain, err := w.plain(1, what)
	if err != nil {
		return nil, err
	}
	address := plain[0]
	if err := valid(address); err != nil {
		return nil, err
	}
	toSend, err1 := unescape(send)
	toExpect, err2 := unescape(expect)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		if err := converse(ctx, network, address, toSend, toExpect); err != nil {
			return fmt.Errorf("%s %s: %w", network, address, err)
		}
		return nil
	}, nil
}

// unescape reads a text with the escapes of Go's string literals (\r \n \x00).
func unescape(text string) ([]byte, error) {
	var out []byte
	for rest := text; rest != ""; {
		r, multibyte, tail, err := strconv.UnquoteChar(rest, 0)
		if err != nil {
			return nil, fmt.Errorf(`%q has an unknown escape; known are those of \r \n \t \\ \x00`, text)
		}
		if multibyte {
			out = append(out, string(r)...)
		} else {
			out = append(out, byte(r))
		}
		rest = tail
	}
	return out, nil
}

func converse(ctx context.Context, network, address string, send, expect []byte) error {
	connection, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		if at, ok := errors.AsType[*net.OpError](err); ok {
			return at.Err
		}
		return err
	}
	defer connection.Close()
	stop := context.AfterFunc(ctx, func() { _ = connection.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if len(send) > 0 {
		if _, err := connection.Write(send); err != nil {
			return err
		}
	}
	if len(expect) == 0 {
		return nil
	}
	var answer []byte
	chunk := make([]byte, 4096)
	for len(answer) < largestBody {
		size, err := connection.Read(chunk)
		// Only what is new is searched: an answer may come byte by byte.
		from := max(0, len(answer)-len(expect)+1)
		answer = append(answer, chunk[:size]...)
		if bytes.Contains(answer[from:], expect) {
			return nil
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && len(answer) > 0 && isTimeout(err) {
			break
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("answered %q, want %q", shorten(answer), expect)
}

// shorten keeps a reason to one line that can be read.
func shorten(answer []byte) []byte {
	const most = 120
	if len(answer) > most {
		return append(answer[:most:most], "..."...)
	}
	return answer
}
