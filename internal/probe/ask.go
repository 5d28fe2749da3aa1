// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

const (
	// connectTime is how long a connection may take: longer than the first SYN's repetition.
	connectTime = 5 * time.Second
	// answerTime is how long a request may wait. A proxy that holds requests makes them wait, and that
	// is no failure for a client that is as patient as this.
	answerTime = 30 * time.Second
	// openTime is how long a stream behind a proxy must stay open: where the proxy has nobody to send it
	// to, it closes it at once.
	openTime = 20 * time.Millisecond
	// largestHead bounds what may come before an answer's body, in bytes; the body is not kept.
	largestHead = 64 << 10
)

// HTTP asks for a URL, each time over a connection of its own. What says that the server is at fault
// (status 5xx) is a failure; whatever else it says is an answer.
func HTTP(url string) func(ctx context.Context) error {
	dialer := &net.Dialer{Timeout: connectTime}
	client := &http.Client{
		Timeout:       answerTime,
		Transport:     &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, MaxResponseHeaderBytes: largestHead},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		request.Header.Set("User-Agent", "copse-probe")
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return err
		}
		if response.StatusCode >= http.StatusInternalServerError {
			return fmt.Errorf("it answers %s", response.Status)
		}
		return nil
	}
}

// TCP connects to an address and hangs up.
func TCP(address string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		conn, err := dial(ctx, address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// Stream connects to an address that a proxy listens on; a connection that it closes at once has
// reached nobody.
func Stream(address string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		conn, err := dial(ctx, address)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetReadDeadline(time.Now().Add(openTime)); err != nil {
			return fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		_, err = conn.Read(make([]byte, 1))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		return err
	}
}

func dial(ctx context.Context, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: connectTime}
	return dialer.DialContext(ctx, "tcp", address)
}
