// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package docker implements engine.Engine for the Docker Engine and what speaks its API
// (API 1.40 and newer, which is Engine 19.03). It is the only package that imports the
// engine's client.
//
// What differs between engines is looked up in the table of traits.go; no method is written
// twice.
package docker

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/moby/moby/client"

	"copse/internal/engine"
)

// DefaultHost is the engine's address where neither the caller nor DOCKER_HOST names one.
const DefaultHost = "unix:///var/run/docker.sock"

// Engine is a connection to one container engine. It is safe for concurrent use. Connections
// are made per request, so an engine that restarts is found again without any action here; one
// that was upgraded to a version that no longer speaks the negotiated API needs a new Connect.
type Engine struct {
	api         *client.Client
	host        string
	traits      traits
	credentials func(registry string) (user, password string, err error)
	// missing are the capabilities that the engine's process lacks, in order of their
	// numbers; nil also where that cannot be known.
	missing []string
}

var _ engine.Engine = (*Engine)(nil)

// Option changes how Connect sets up an Engine.
type Option func(*Engine)

// WithCredentials gives the user and password for a registry, named as in references
// ("registry.example:5000"; "docker.io" for names without a registry). An empty user means
// that no credentials are sent.
func WithCredentials(lookup func(registry string) (user, password string, err error)) Option {
	return func(e *Engine) { e.credentials = lookup }
}

// Connect connects to the engine at host: "unix:///path", "tcp://address:port", or the path of
// a socket. An empty host means DOCKER_HOST with its companions DOCKER_TLS_VERIFY and
// DOCKER_CERT_PATH, else DefaultHost. The API version is negotiated. Where no engine answers,
// the error matches engine.ErrUnavailable and says where it was looked for and how to start one.
func Connect(ctx context.Context, host string, options ...Option) (*Engine, error) {
	if host == "" {
		host = os.Getenv(client.EnvOverrideHost)
	}
	if host == "" {
		host = DefaultHost
	}
	if strings.HasPrefix(host, "/") {
		host = "unix://" + host
	}
	api, err := client.New(
		client.WithTLSClientConfigFromEnv(),
		client.WithHost(host),
		client.WithAPIVersionFromEnv(),
		client.WithUserAgent("copse"),
	)
	if err != nil {
		return nil, fmt.Errorf("cannot use %q as the container engine's address: %w", host, err)
	}
	e := &Engine{api: api, host: host}
	for _, option := range options {
		option(e)
	}
	if _, err := api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		_ = api.Close()
		return nil, e.fail(err, "connect to the container engine at %s", host)
	}
	version, err := api.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		_ = api.Close()
		return nil, e.fail(err, "ask the container engine at %s for its version", host)
	}
	e.traits = traitsOf(version, api.ClientVersion())
	e.missing = missingCapabilities(ctx, host)
	return e, nil
}

// Close closes idle connections. Calls under way are not ended by it.
func (e *Engine) Close() error { return e.api.Close() }

// Host is the address that the engine was reached at.
func (e *Engine) Host() string { return e.host }

// Info implements engine.Engine.
func (e *Engine) Info(ctx context.Context) (engine.Info, error) {
	result, err := e.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return engine.Info{}, e.fail(err, "ask the container engine at %s about its host", e.host)
	}
	info := result.Info
	return engine.Info{
		Name:                e.traits.name,
		Version:             info.ServerVersion,
		APIVersion:          e.api.ClientVersion(),
		StorageDriver:       info.Driver,
		DataRoot:            info.DockerRootDir,
		CgroupVersion:       info.CgroupVersion,
		LiveRestore:         info.LiveRestoreEnabled,
		Hostname:            info.Name,
		CPUs:                info.NCPU,
		Memory:              info.MemTotal,
		MissingCapabilities: append([]string(nil), e.missing...),
		SecurityOptions:     securityOptions(info.SecurityOptions),
		Unlimited:           unlimited(info),
	}, nil
}

// DialHijack opens a raw connection to the engine by upgrading a request to proto. BuildKit's
// client talks over it: path "/grpc" with proto "h2c" for control, "/session" for the
// session, whose headers are meta. The caller closes the connection; ctx ends the handshake
// alone.
func (e *Engine) DialHijack(ctx context.Context, path, proto string, meta map[string][]string) (net.Conn, error) {
	connection, err := e.api.DialHijack(ctx, path, proto, meta)
	if err != nil {
		return nil, e.fail(err, "open %s at the container engine at %s", path, e.host)
	}
	return connection, nil
}
