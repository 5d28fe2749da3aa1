// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"copse/internal/hook"
	hostprep "copse/internal/host"
	"copse/internal/metrics"
	"copse/internal/schedule"
	"copse/internal/tree"

	"golang.org/x/sync/errgroup"
)

const (
	// listenInterval is how soon a new value of the cloud is followed, and how often a port that is
	// taken is tried again.
	listenInterval = 5 * time.Second
	// scrapeLimit is how long the answer to a scrape may take.
	scrapeLimit = 8 * time.Second
	// mostStrangers is how many connections health and metrics are offered on at a time, and idleTime how
	// long one may be kept without asking: whoever opens many and says nothing must not keep others out.
	mostStrangers = 256
	idleTime      = 10 * time.Second
	// mostAnswers is how many of them are told of health at a time: for each the engine is asked, and it has
	// other things to do.
	mostAnswers = 8
)

// setUpMonitoring makes what runs beside the API: the timers of jobs, the watcher of sets and the metrics.
func (a *Agent) setUpMonitoring() {
	a.timers = schedule.New(timetable{a}, time.Now, func(job string, err error) {
		if job == "" {
			a.Log.Warn("cannot see which jobs are due", "error", err)
			return
		}
		a.Log.Warn("a job that is due waits", "job", job, "why", err)
	})
	a.watcher = hook.New(hooks{a, &hostprep.Host{EnginePID: a.EnginePID}}, hookInterval, time.Now, a.Log)
	a.meters = metrics.Handler(a.snapshot, scrapeLimit, a.Log)
}

// startMonitoring runs it until ctx ends.
func (a *Agent) startMonitoring(ctx context.Context, group *errgroup.Group) {
	group.Go(func() error { a.timers.Run(ctx); return nil })
	group.Go(func() error { a.watcher.Run(ctx); return nil })
	group.Go(func() error { a.offerMonitoring(ctx); return nil })
}

// offerMonitoring listens where the declared cloud says, and follows it when that changes.
func (a *Agent) offerMonitoring(ctx context.Context) {
	var (
		now  *offer // nil for none
		told string // what was said last about an address that cannot be had
	)
	defer func() { now.end() }()
	tick := time.NewTicker(listenInterval)
	defer tick.Stop()
	for {
		wanted, err := a.monitoringAddress()
		if err != nil {
			a.Log.Warn("cannot read where to offer health and metrics", "error", err)
		} else if wanted != now.at() {
			now.end()
			now, err = a.offer(wanted)
			if err != nil && err.Error() != told {
				told = err.Error()
				a.Log.Error("cannot offer health and metrics: give "+tree.ValueMonitoringListen+" an address and a port that are free", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// offer is a listener with what serves on it; nil is none.
type offer struct {
	address string
	server  *http.Server
	served  chan struct{}
}

// offer begins to serve; nowhere for "".
func (a *Agent) offer(address string) (*offer, error) {
	if address == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	o := &offer{address: address, server: a.monitoringServer(), served: make(chan struct{})}
	go func() { // until end
		defer close(o.served)
		if err := o.server.Serve(limit(listener, mostStrangers)); !errors.Is(err, http.ErrServerClosed) {
			a.Log.Error("health and metrics are not offered any more", "error", err)
		}
	}()
	a.Log.Info("health and metrics are offered", "address", listener.Addr().String())
	return o, nil
}

func (o *offer) at() string {
	if o == nil {
		return ""
	}
	return o.address
}

// end ends it at once: what is still being answered is asked again by whoever asked.
func (o *offer) end() {
	if o == nil {
		return
	}
	_ = o.server.Close()
	<-o.served
}

// monitoringAddress is where health and metrics are to be offered, "" for nowhere.
func (a *Agent) monitoringAddress() (string, error) {
	doc, err := a.deployer.Document()
	if err != nil || doc == nil {
		return "", err
	}
	return doc.Values[tree.ValueMonitoringListen], nil
}

// monitoringServer answers strangers: it can only be read from, and shows nothing that is secret.
func (a *Agent) monitoringServer() *http.Server {
	mux := http.NewServeMux()
	health := atMost(mostAnswers, a.answering(a.getSetHealth))
	mux.Handle("GET /v1/health", health)
	mux.Handle("GET /v1/health/{name...}", health)
	mux.Handle("GET /metrics", a.meters)
	return &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: idleTime, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(a.Log.Handler(), slog.LevelDebug),
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
