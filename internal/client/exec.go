// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"copse/internal/api"
)

// ExecStream is a program that runs in a container. Send may be called from several
// goroutines, Receive from one.
type ExecStream struct {
	conn    io.ReadWriteCloser
	decoder *json.Decoder

	mu      sync.Mutex // guards encoder
	encoder *json.Encoder
}

// Exec starts a program in a container.
func (c *Client) Exec(ctx context.Context, request api.ExecRequest) (*ExecStream, error) {
	if err := c.check(ctx); err != nil {
		return nil, err
	}
	header := http.Header{"Connection": {"Upgrade"}, "Upgrade": {api.ExecProtocol}}
	response, err := c.do(ctx, http.MethodPost, "/v1/exec", nil, request, header)
	if err != nil {
		return nil, err
	}
	conn, ok := response.Body.(io.ReadWriteCloser)
	if response.StatusCode != http.StatusSwitchingProtocols || !ok {
		_ = response.Body.Close() // what it answered is the error to tell
		return nil, fmt.Errorf("cannot run %q in %s: the agent answered %q instead of opening a stream", request.Command, request.Container, response.Status)
	}
	return &ExecStream{conn: conn, decoder: json.NewDecoder(conn), encoder: json.NewEncoder(conn)}, nil
}

// Send passes a frame to the program.
func (s *ExecStream) Send(frame api.Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.encoder.Encode(frame)
}

// Receive returns the next frame of the program. A stream that ends without an exit status is
// an error.
func (s *ExecStream) Receive() (api.Frame, error) {
	var frame api.Frame
	err := s.decoder.Decode(&frame)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the connection to the agent was lost before the program had ended")
	}
	return frame, err
}

// Close ends the stream; a program that still runs loses its terminal.
func (s *ExecStream) Close() error { return s.conn.Close() }
