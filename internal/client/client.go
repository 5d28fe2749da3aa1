// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package client is the typed client of the agent's API: one method for each endpoint, over a
// unix socket of this host or of another one through SSH. It is safe for concurrent use.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"copse/internal/api"
)

// Dialer opens one connection to an agent.
type Dialer interface {
	Dial(ctx context.Context) (net.Conn, error)
	// Where names the agent for messages, e.g. "/run/copse/copse.sock on node-2".
	Where() string
	// Close gives back what connections share.
	Close() error
}

// Client talks to one agent.
type Client struct {
	dialer  Dialer
	http    *http.Client
	checked atomic.Bool
}

// New returns a client that opens its connections with dialer.
func New(dialer Dialer) *Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.Dial(ctx)
		},
		DisableCompression: true,
	}
	return &Client{dialer: dialer, http: &http.Client{Transport: transport}}
}

// Where names the agent for messages.
func (c *Client) Where() string { return c.dialer.Where() }

// Close closes idle connections and what they share. Streams that are read end by their context.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return c.dialer.Close()
}

// LevelError says that program and agent cannot talk to each other.
type LevelError struct {
	Where   string
	Version string // the agent's
	Level   int    // the agent's
}

// Error names both levels and the way out.
func (e *LevelError) Error() string {
	if e.Level > api.Level {
		return fmt.Sprintf("cannot talk to the agent at %s: it is copse %s and speaks level %d of the API, this program level %d: use the copse that the agent came from",
			e.Where, e.Version, e.Level, api.Level)
	}
	return fmt.Sprintf("cannot talk to the agent at %s: it is copse %s and speaks level %d of the API, this program level %d: `copse up` replaces the agent",
		e.Where, e.Version, e.Level, api.Level)
}

// Version asks what the agent is. It is the one call that works with an agent of any level.
func (c *Client) Version(ctx context.Context) (api.Version, error) {
	var version api.Version
	err := c.exchange(ctx, http.MethodGet, "/v1/version", nil, nil, &version)
	return version, err
}

// check makes sure, once, that both speak the same level of the API.
func (c *Client) check(ctx context.Context) error {
	if c.checked.Load() {
		return nil
	}
	version, err := c.Version(ctx)
	if err != nil {
		return err
	}
	if version.Level != api.Level {
		return &LevelError{Where: c.Where(), Version: version.Version, Level: version.Level}
	}
	c.checked.Store(true)
	return nil
}

// get decodes the answer to a GET into out.
func (c *Client) get(ctx context.Context, path string, query url.Values, out any) error {
	if err := c.check(ctx); err != nil {
		return err
	}
	return c.exchange(ctx, http.MethodGet, path, query, nil, out)
}

// post sends in (nil: nothing) and decodes the answer into out.
func (c *Client) post(ctx context.Context, path string, in, out any) error {
	if err := c.check(ctx); err != nil {
		return err
	}
	return c.exchange(ctx, http.MethodPost, path, nil, in, out)
}

func (c *Client) exchange(ctx context.Context, method, path string, query url.Values, in, out any) error {
	response, err := c.do(ctx, method, path, query, in, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(out); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("cannot read the agent's answer to %s %s: %w", method, path, err)
	}
	return nil
}

// do sends a request and returns the answer, or its error where the status is 400 or above.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, in any, header http.Header) (*http.Response, error) {
	target := url.URL{Scheme: "http", Host: "agent", RawPath: path, RawQuery: query.Encode()}
	target.Path, _ = url.PathUnescape(path)
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("cannot write the request %s %s: %w", method, path, err)
		}
		body = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, fmt.Errorf("cannot make the request %s %s: %w", method, path, err)
	}
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for key, values := range header {
		request.Header[key] = values
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.transportError(ctx, err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		defer response.Body.Close()
		return nil, answerError(response)
	}
	return response, nil
}

// transportError makes an UnreachableError of everything but the caller's own cancellation.
func (c *Client) transportError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return &UnreachableError{Where: c.Where(), Err: err}
}

// answerError reads the error in an answer.
func answerError(response *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	var answer api.Error
	if err := json.Unmarshal(data, &answer); err != nil || answer.Message == "" {
		text := strings.TrimSpace(string(data))
		if text == "" {
			text = response.Status
		}
		answer = api.Error{Code: "internal", Message: fmt.Sprintf("the agent answered %q: %s", response.Status, text)}
	}
	return &answer
}

// stream yields the JSON objects of an answer one by one until it ends. The last pair carries
// the error, if there is one.
func stream[T any](ctx context.Context, c *Client, path string, query url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		if err := c.check(ctx); err != nil {
			yield(zero, err)
			return
		}
		response, err := c.do(ctx, http.MethodGet, path, query, nil, nil)
		if err != nil {
			yield(zero, err)
			return
		}
		defer response.Body.Close()
		decoder := json.NewDecoder(response.Body)
		for {
			var item T
			err := decoder.Decode(&item)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(zero, c.transportError(ctx, err))
				return
			}
			if !yield(item, nil) {
				return
			}
		}
	}
}

// named is the query that asks for some containers, sets or components.
func named(names []string) url.Values {
	query := url.Values{}
	for _, name := range names {
		query.Add("name", name)
	}
	return query
}
