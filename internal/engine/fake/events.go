// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"context"
	"fmt"
	"maps"
	"time"

	"copse/internal/engine"
)

// stream is a caller of Events.
type stream struct {
	labels map[string]string
	queue  []engine.Event
	lost   bool // the engine went away
}

// publish gives an event to all streams that want it. The lock is held.
func (e *Engine) publish(c *containerState, action string, at time.Time, code int) {
	for s := range e.streams {
		if s.lost || !carries(c.Labels, s.labels) {
			continue
		}
		s.queue = append(s.queue, engine.Event{
			Time: at, Action: action, ID: c.ID, Name: c.Name, Labels: maps.Clone(c.Labels), ExitCode: code,
		})
	}
	e.notify()
}

// Events implements engine.Engine.
func (e *Engine) Events(ctx context.Context, labels map[string]string, handle func(engine.Event)) error {
	s := &stream{labels: maps.Clone(labels)}
	err := e.do(ctx, "Events", "", func() error {
		e.streams[s] = true
		s.queue = append(s.queue, engine.Event{Time: e.now(), Action: engine.EventConnected})
		return nil
	})
	defer e.unsubscribe(s)
	for err == nil {
		e.lock()
		if !e.down {
			e.tick()
		}
		queue, lost, changed, due := s.queue, s.lost, e.changed, e.nextDue()
		s.queue = nil
		e.mu.Unlock()
		for _, event := range queue {
			handle(event)
		}
		switch {
		case lost:
			return fmt.Errorf("cannot follow events: the connection is lost: %w", engine.ErrUnavailable)
		case len(queue) == 0:
			err = e.wait(ctx, changed, due)
		default:
			err = ctx.Err()
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (e *Engine) unsubscribe(s *stream) {
	e.lock()
	defer e.mu.Unlock()
	delete(e.streams, s)
}
