// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"io"
	"maps"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"copse/internal/engine"
)

// followed are the actions that are asked for. The others, such as the three that each exec
// makes, would only be thrown away here.
var followed = []events.Action{
	events.ActionCreate, events.ActionStart, events.ActionRestart, events.ActionStop,
	events.ActionPause, events.ActionUnPause, events.ActionUpdate, events.ActionRename,
	events.ActionKill, events.ActionDie, events.ActionOOM, events.ActionDestroy,
}

// notLabels are the attributes that the engine mixes with the labels.
var notLabels = []string{"image", "name", "exitCode", "signal", "execDuration", "oldName", "execID"}

// Events implements engine.Engine. Nothing that happens after the call is lost, although the
// engine answers before it has subscribed: the request asks for what happened since the
// engine's clock was read.
func (e *Engine) Events(ctx context.Context, labels map[string]string, handle func(engine.Event)) error {
	info, err := e.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return e.fail(err, "follow the events of containers")
	}
	filters := labelFilters(labels).Add("type", string(events.ContainerEventType))
	for _, action := range followed {
		filters.Add("event", string(action))
	}
	options := client.EventsListOptions{Filters: filters}
	if now := parseTime(info.Info.SystemTime); !now.IsZero() {
		options.Since = apiTime(now)
	}
	// The client's goroutine ends with the request, which ends with this context.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream := e.api.Events(ctx, options)
	connected := false
	for {
		if !connected && len(stream.Err) == 0 {
			connected = true
			handle(engine.Event{Time: time.Now(), Action: engine.EventConnected})
		}
		select {
		case message := <-stream.Messages:
			handle(eventOf(message))
		case err := <-stream.Err:
			if ctx.Err() != nil {
				return nil
			}
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return e.fail(err, "follow the events of containers")
		}
	}
}

// eventOf translates an event.
func eventOf(message events.Message) engine.Event {
	event := engine.Event{
		Time:   time.Unix(0, message.TimeNano),
		Action: string(message.Action),
		ID:     message.Actor.ID,
		Name:   message.Actor.Attributes["name"],
		Labels: maps.Clone(message.Actor.Attributes),
	}
	for _, key := range notLabels {
		delete(event.Labels, key)
	}
	if message.Action == events.ActionDie {
		// Absent or not a number: the engine did not learn it.
		if code, err := strconv.Atoi(message.Actor.Attributes["exitCode"]); err == nil {
			event.ExitCode = code
		}
	}
	return event
}

// apiTime writes a time as the API reads it: seconds, with nanoseconds after the point.
func apiTime(t time.Time) string {
	nanoseconds := strconv.Itoa(1_000_000_000 + t.Nanosecond())
	return strconv.FormatInt(t.Unix(), 10) + "." + nanoseconds[1:]
}
