// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"copse/internal/change"
	"copse/internal/engine"
	"copse/internal/probe"
	"copse/internal/store"
	"copse/internal/tree"
)

// How often what is being replaced is asked.
const (
	httpInterval  = 50 * time.Millisecond
	tcpInterval   = 20 * time.Millisecond
	checkInterval = time.Second
	// atOnce is how many front ends are asked at that rate; more of them share it.
	atOnce = 4
)

// Measurement asks something until it is ended, by the one who began it.
type Measurement interface {
	// End returns what was measured, nil for nothing that means anything.
	End() *tree.Window
	// Abandon ends it at once.
	Abandon()
}

// windows are the measurements that go on, by the name of the generation that takes over.
type windows struct {
	mu   sync.Mutex
	open map[string]*window
}

type window struct {
	measurement Measurement
	ended       bool
	result      *tree.Window
}

// openWindow begins to measure what clients see while the lane's generation takes over from the one
// before. It is called by each task that may be the first to interrupt; the first one begins.
func (d *Deployer) openWindow(ctx context.Context, t *change.Run) error {
	var first bool
	if _, err := t.Get(dataFirst, &first); err != nil || !first || d.Measure == nil {
		return err
	}
	var begun bool
	if _, err := t.Get(dataWindow, &begun); err != nil || begun {
		return err
	}
	g, err := d.generation(t)
	if err != nil {
		return err
	}
	old, err := d.previous(t)
	if err != nil || old == nil {
		return err
	}
	// Where the old one does not run, nothing is interrupted that was not before.
	c, err := d.Engine.Inspect(ctx, old.Name())
	if errors.Is(err, engine.ErrNotFound) || err == nil && c.State != engine.Running {
		return nil
	} else if err != nil {
		return fmt.Errorf("cannot look at %s: %w", old.Name(), err)
	}
	targets, err := d.targets(g, old)
	if err != nil || len(targets) == 0 {
		return err
	}
	if err := t.Set(dataWindow, true); err != nil {
		return err
	}
	d.windows.mu.Lock()
	defer d.windows.mu.Unlock()
	if d.windows.open == nil {
		d.windows.open = map[string]*window{}
	}
	d.windows.open[g.Name()] = &window{measurement: d.Measure(targets)}
	return nil
}

// endWindow ends the measurement for a generation and returns what it says, nil where there is
// none. It may be called again until dropWindow.
func (d *Deployer) endWindow(g *tree.Generation) *tree.Window {
	d.windows.mu.Lock()
	w := d.windows.open[g.Name()]
	d.windows.mu.Unlock()
	if w == nil {
		return nil
	}
	// One task of a lane runs at a time: nobody else ends it meanwhile, but the end of the agent.
	if !w.ended {
		w.ended, w.result = true, w.measurement.End()
	}
	return w.result
}

// dropWindow forgets what was measured, once it is recorded.
func (d *Deployer) dropWindow(g *tree.Generation) {
	d.windows.mu.Lock()
	defer d.windows.mu.Unlock()
	delete(d.windows.open, g.Name())
}

// abandonWindows ends all measurements when the agent ends. No task runs any more.
func (d *Deployer) abandonWindows() {
	d.windows.mu.Lock()
	defer d.windows.mu.Unlock()
	for name, w := range d.windows.open {
		if !w.ended {
			w.measurement.Abandon()
		}
		delete(d.windows.open, name)
	}
}

// targets are what is asked while g takes over from old: what clients use. For a container whose
// requests are held, and for the proxy, that is the front ends behind which something serves.
func (d *Deployer) targets(g, old *tree.Generation) ([]probe.Target, error) {
	c := &g.Container
	doc, err := d.Document()
	if err != nil || doc == nil {
		return nil, err
	}
	dir, err := d.proxyDirectory()
	if err != nil {
		return nil, err
	}
	switch {
	case dir != "" && c.Frontend != nil:
		return frontTargets([]tree.Frontend{*c.Frontend}), nil
	case dir != "" && (c.Proxy != nil || c.Update.Hold):
		serving, err := d.servingFrontends(doc, c)
		if err != nil || len(serving) > 0 || c.Proxy != nil {
			return frontTargets(serving), err
		}
	}
	var targets []probe.Target
	for _, p := range c.Ports {
		if p.Protocol == "tcp" {
			targets = append(targets, probe.Target{Interval: tcpInterval, Ask: probe.TCP(endpointOf(p.Address, p.Port))})
		}
	}
	if len(targets) > 0 || c.Check == nil {
		return targets, nil
	}
	return []probe.Target{{Interval: checkInterval, Ask: d.askCheck(g, old)}}, nil
}

// servingFrontends are the front ends behind which something serves at the moment: all of them for
// the proxy, those that depend on it for another container.
func (d *Deployer) servingFrontends(doc *tree.Document, c *tree.Container) ([]tree.Frontend, error) {
	concerned := map[string]bool{}
	if c.Proxy == nil {
		names, err := dependentFrontends(doc, c.Name)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			concerned[name] = true
		}
	}
	var serving []tree.Frontend
	err := d.Store.View(func(tx *store.Tx) error {
		for i := range doc.Containers {
			one := &doc.Containers[i]
			if one.Frontend == nil || one.Host != d.HostName || c.Proxy == nil && !concerned[one.Frontend.Name] {
				continue
			}
			r, err := loadRoute(tx, d.HostName, one.Name)
			if err != nil {
				return err
			}
			if r.Slots[0].State == slotReady || r.Slots[1].State == slotReady {
				serving = append(serving, *one.Frontend)
			}
		}
		return nil
	})
	return serving, err
}

func frontTargets(frontends []tree.Frontend) []probe.Target {
	share := time.Duration((len(frontends) + atOnce - 1) / atOnce)
	var targets []probe.Target
	for _, f := range frontends {
		if len(f.Addresses) == 0 {
			continue
		}
		at := endpointOf(f.Addresses[0], f.Port)
		target := probe.Target{Interval: httpInterval * share, Ask: probe.Stream(at)}
		if f.Mode == "http" {
			target.Ask = probe.HTTP("http://" + at + max(f.CheckPath, "/"))
		}
		targets = append(targets, target)
	}
	return targets
}

// endpointOf is where a client on this host finds a port; one that listens everywhere is at home too.
func endpointOf(address string, port int) string {
	if ip, err := netip.ParseAddr(address); err == nil && ip.IsUnspecified() {
		address = "127.0.0.1"
		if ip.Is6() {
			address = "::1"
		}
	}
	return net.JoinHostPort(address, strconv.Itoa(port))
}

// askCheck asks whichever of two generations runs, the new one first.
func (d *Deployer) askCheck(g, old *tree.Generation) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		var failure error
		for _, one := range []*tree.Generation{g, old} {
			ok, output, err := d.RunCheck(ctx, one.Name(), one.Container.Check)
			if ok {
				return nil
			}
			if errors.Is(err, engine.ErrUnavailable) {
				return fmt.Errorf("%w: %w", probe.ErrUnknown, err)
			}
			failure = fmt.Errorf("the check of %s says: %s", one.Name(), output)
		}
		return failure
	}
}
