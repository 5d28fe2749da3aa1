// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"net"
	"strconv"
	"sync"

	"copse/internal/deploy"
	"copse/internal/proxy"
)

// router makes HAProxy follow deploy's table.
type router struct {
	mu sync.Mutex
	// proxies are by directory; a host has one at a time.
	proxies map[string]*proxy.Proxy
}

func (r *router) in(dir string) *proxy.Proxy {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proxies[dir] == nil {
		r.proxies[dir] = proxy.New(dir)
	}
	return r.proxies[dir]
}

// Apply implements deploy.Router.
func (r *router) Apply(ctx context.Context, dir string, routes []deploy.Route) error {
	var table proxy.Table
	for _, route := range routes {
		table.Backends = append(table.Backends, backend(route))
	}
	_, err := r.in(dir).Sync(ctx, table)
	return err
}

// Drain implements deploy.Router.
func (r *router) Drain(ctx context.Context, dir, frontend string, slot int) error {
	return r.in(dir).Drain(ctx, frontend, proxy.Slot(slot))
}

func backend(route deploy.Route) proxy.Backend {
	f := route.Frontend
	b := proxy.Backend{Name: f.Name, Mode: f.Mode, Addresses: f.Addresses, Port: f.Port, CheckPath: f.CheckPath}
	for i, slot := range route.Slots {
		server := proxy.Server{State: proxy.Maint, Generation: slot.Generation}
		if slot.Port != 0 {
			server.Address = net.JoinHostPort(f.Internal, strconv.Itoa(slot.Port))
		}
		if slot.State != "" {
			server.State = proxy.State(slot.State)
		}
		b.Servers[i] = server
	}
	return b
}

// Hold implements deploy.Router.
func (r *router) Hold(ctx context.Context, dir string, frontends []string) error {
	return r.in(dir).Hold(ctx, frontends)
}

// Release implements deploy.Router.
func (r *router) Release(ctx context.Context, dir string, frontends []string) error {
	return r.in(dir).Release(ctx, frontends)
}

// Sockets implements deploy.Router.
func (r *router) Sockets(dir string, generation int) string {
	return proxy.InstanceDir(dir, generation)
}

// Handover implements deploy.Router.
func (r *router) Handover(ctx context.Context, dir string, from, to int) error {
	return r.in(dir).Handover(ctx, from, to)
}

// Forget implements deploy.Router.
func (r *router) Forget(dir string, generation int) error { return r.in(dir).Forget(generation) }
