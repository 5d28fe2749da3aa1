// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package agent is the daemon of a host: it owns every transition of the cloud's containers,
// keeps the store, runs checks, and offers the API of package api on a unix socket.
package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"copse/internal/change"
	"copse/internal/deploy"
	"copse/internal/engine"
	"copse/internal/health"
	"copse/internal/hook"
	"copse/internal/optionlist"
	"copse/internal/probe"
	"copse/internal/proxy"
	"copse/internal/schedule"
	"copse/internal/secret"
	"copse/internal/store"
	"copse/internal/supervise"

	"golang.org/x/sync/errgroup"
)

// DefaultStateDir is where an agent keeps what it knows.
const DefaultStateDir = "/var/lib/copse"

// Options say how an agent runs.
type Options struct {
	// StateDir must be the same path on the host and where the agent runs.
	StateDir string
	// Socket is the path of the API's unix socket.
	Socket string
	// Engine is the engine that runs the containers.
	Engine engine.Engine
	// EnginePID returns the engine's process, in whose mount namespace the host is prepared; nil
	// for an agent of a cloud that asks nothing of its host.
	EnginePID func(ctx context.Context) (int, error)
	// HostName is this host's name in the cloud; "" is the kernel's.
	HostName string
	// Version is the program's, for GET /v1/version.
	Version string
	Log     *slog.Logger
	// Changes are options for the runner of changes; tests set failpoints.
	Changes change.Options
}

// Agent is a running agent.
type Agent struct {
	Options
	deployer *deploy.Deployer
	secrets  *secret.Secrets
	lists    *optionlist.Lists
	monitor  *health.Monitor
	// supervisor acts on what the monitor and the engine's events say.
	supervisor *supervise.Supervisor
	incidents  func(since time.Time) ([]supervise.Incident, error)
	timers     *schedule.Scheduler
	watcher    *hook.Watcher
	meters     http.Handler // GET /metrics
	build      string
}

// Run runs an agent until ctx ends. It returns nil at an orderly end.
func Run(ctx context.Context, options Options) (err error) {
	a, closeStore, err := open(options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()

	listener, err := listen(options.Socket)
	if err != nil {
		return err
	}
	prepared := a.prepareHost(ctx)
	if err := a.deployer.Resume(ctx); err != nil {
		return errors.Join(err, listener.Close())
	}
	group, ctx := errgroup.WithContext(ctx)
	server := &http.Server{
		Handler: a.handler(), ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(a.Log.Handler(), slog.LevelWarn),
	}
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("cannot serve the API on %s: %w", options.Socket, err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		// Streams end with ctx; what has not ended by then is cut off.
		if err := server.Shutdown(ending); err != nil {
			_ = server.Close()
		}
		return a.deployer.Stop(ending)
	})
	group.Go(func() error {
		a.monitor.Run(ctx)
		return nil
	})
	group.Go(func() error {
		a.supervisor.Run(ctx, prepared)
		return nil
	})
	a.startMonitoring(ctx, group)
	a.Log.Info("the agent is ready", "socket", options.Socket, "state", options.StateDir, "version", options.Version)
	return group.Wait()
}

// prepareHost brings back what a reboot has taken, before anything goes on. What cannot be had is
// no reason not to watch over the rest; it shows in each plan until it is mended. It returns the
// directories that were mounted anew.
func (a *Agent) prepareHost(ctx context.Context) []string {
	mounted, err := a.deployer.PrepareHost(ctx, func(done string) { a.Log.Info("prepared the host", "done", done) })
	if err != nil {
		a.Log.Error("containers may fail to start", "error", err)
	}
	return mounted
}

func open(options Options) (*Agent, func() error, error) {
	if options.Log == nil {
		options.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if options.HostName == "" {
		name, err := os.Hostname()
		if err != nil {
			return nil, nil, fmt.Errorf("cannot learn this host's name: %w", err)
		}
		options.HostName = name
	}
	build, err := Build()
	if err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(options.StateDir, 0o711); err != nil {
		return nil, nil, fmt.Errorf("cannot make the state directory: %w", err)
	}
	db, err := store.Open(filepath.Join(options.StateDir, "store", "copse.db"))
	if err != nil {
		return nil, nil, err
	}
	secrets, err := secret.Open(filepath.Join(options.StateDir, "secrets"))
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	a := &Agent{Options: options, secrets: secrets, build: build}
	a.lists = &optionlist.Lists{Engine: options.Engine, Dir: filepath.Join(options.StateDir, "options")}
	a.deployer, err = deploy.New(deploy.Options{
		Store: db, Engine: options.Engine, Secrets: secrets,
		Router: &router{proxies: map[string]*proxy.Proxy{}},
		Host:   a.hostFiles(), Clock: wallClock{}, HostName: options.HostName,
		StateDir: options.StateDir, Logger: options.Log, Changes: options.Changes,
		// The engine takes about two processors to stop one container and start the next.
		Interrupted: runtime.NumCPU() / 2,
		Checks:      health.Outside{Engine: options.Engine},
		Measure:     func(targets []probe.Target) deploy.Measurement { return probe.Begin(targets) },
	})
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	a.setUpSupervision(db)
	a.setUpMonitoring()
	return a, db.Close, nil
}

// listen makes the socket for root alone. A socket that a dead agent left is replaced; a living
// agent is not.
func listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("cannot make the directory of the API's socket: %w", err)
	}
	if conn, err := net.Dial("unix", path); err == nil {
		return nil, errors.Join(fmt.Errorf("cannot listen on %s: another agent answers there", path), conn.Close())
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot replace the socket of an earlier agent: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot keep %s for root alone: %w", path, err), listener.Close())
	}
	return listener, nil
}

// Build is the hash of the running program.
func Build() (string, error) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", fmt.Errorf("cannot read the running program: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("cannot read the running program: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

// wallClock is real time.
type wallClock struct{}

func (wallClock) Now() time.Time { return time.Now() }

func (wallClock) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
