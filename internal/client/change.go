// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"copse/internal/api"
	"copse/internal/plan"
)

// Plan asks what a change would do, without doing it.
func (c *Client) Plan(ctx context.Context, request api.ChangeRequest) (*plan.Plan, error) {
	var answer plan.Plan
	if err := c.post(ctx, "/v1/plan", request, &answer); err != nil {
		return nil, err
	}
	return &answer, nil
}

// Submit starts a change; the agent owns it from then on.
func (c *Client) Submit(ctx context.Context, request api.ChangeRequest) (*api.Change, error) {
	var change api.Change
	if err := c.post(ctx, "/v1/changes", request, &change); err != nil {
		return nil, err
	}
	return &change, nil
}

// Changes lists all changes, without their tasks.
func (c *Client) Changes(ctx context.Context) ([]api.Change, error) {
	var changes []api.Change
	err := c.get(ctx, "/v1/changes", nil, &changes)
	return changes, err
}

// Change returns one change with its tasks.
func (c *Client) Change(ctx context.Context, id int) (*api.Change, error) {
	var change api.Change
	if err := c.get(ctx, changePath(id), nil, &change); err != nil {
		return nil, err
	}
	return &change, nil
}

// Abort stops a change on behalf of user and undoes what it has not finished.
func (c *Client) Abort(ctx context.Context, id int, user string) (*api.Change, error) {
	return c.undo(ctx, id, "abort", user)
}

// Retry undoes, on behalf of user, what got stuck in a change that has ended, once the cause is removed.
func (c *Client) Retry(ctx context.Context, id int, user string) (*api.Change, error) {
	return c.undo(ctx, id, "retry", user)
}

func (c *Client) undo(ctx context.Context, id int, verb, user string) (*api.Change, error) {
	if err := c.check(ctx); err != nil {
		return nil, err
	}
	query := url.Values{}
	if user != "" {
		query.Set("user", user)
	}
	var change api.Change
	if err := c.exchange(ctx, http.MethodPost, changePath(id)+"/"+verb, query, nil, &change); err != nil {
		return nil, err
	}
	return &change, nil
}

// Pins lists the containers that are held at something else than what the cloud file says.
func (c *Client) Pins(ctx context.Context) ([]api.Pin, error) {
	var pins []api.Pin
	err := c.get(ctx, "/v1/pins", nil, &pins)
	return pins, err
}

// Prune removes the images that nothing needs; with DryRun it only says which.
func (c *Client) Prune(ctx context.Context, request api.PruneRequest) (*api.Prune, error) {
	var answer api.Prune
	if err := c.post(ctx, "/v1/prune", request, &answer); err != nil {
		return nil, err
	}
	return &answer, nil
}

// Events yields what happens in a change after the event with the sequence number after. It
// ends with the change, or early when the agent goes away: see Follow.
func (c *Client) Events(ctx context.Context, id int, after uint64) iter.Seq2[api.Event, error] {
	query := url.Values{}
	if after > 0 {
		query.Set("after", strconv.FormatUint(after, 10))
	}
	return stream[api.Event](ctx, c, changePath(id)+"/events", query)
}

func changePath(id int) string { return "/v1/changes/" + strconv.Itoa(id) }

// Follower follows a change across losses of the connection.
type Follower struct {
	Client *Client
	// Event is called for each event, in order, each once.
	Event func(api.Event)
	// Lost is called when the connection has been lost, Found when it is there again.
	Lost  func(error)
	Found func()
	// Wait pauses before attempt number n (from 1) to connect again.
	Wait func(ctx context.Context, n int) error
	// Attempts is how often in a row to try.
	Attempts int
}

// Pause is a Follower's usual Wait: a tenth of a second, doubled each time, at most two seconds.
func Pause(ctx context.Context, n int) error {
	timer := time.NewTimer(min(2*time.Second, 100*time.Millisecond<<min(n-1, 10)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Follow calls Event for what happens in the change until it has ended, and returns it as it
// ended. When the agent goes away, it waits for it and goes on after the last event seen.
func (f *Follower) Follow(ctx context.Context, id int) (*api.Change, error) {
	var last uint64
	attempt := 0
	for {
		var streamErr error
		for event, err := range f.Client.Events(ctx, id, last) {
			if err != nil {
				streamErr = err
				break
			}
			f.found(&attempt)
			last = max(last, event.Sequence)
			f.Event(event)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if streamErr == nil {
			change, err := f.Client.Change(ctx, id)
			if err == nil {
				f.found(&attempt)
				if change.Ended() {
					return change, nil
				}
				err = errors.New("the agent closed the stream of events")
			}
			streamErr = err
		}
		if refused := (*api.Error)(nil); errors.As(streamErr, &refused) && refused.Code != "unavailable" {
			return nil, streamErr
		}
		attempt++
		if attempt > f.Attempts {
			return nil, fmt.Errorf("%w: change %d goes on once the agent is back: `copse change %d -f` follows it", streamErr, id, id)
		}
		if attempt == 1 {
			f.Lost(streamErr)
		}
		if err := f.Wait(ctx, attempt); err != nil {
			return nil, err
		}
	}
}

// found ends a time without connection.
func (f *Follower) found(attempt *int) {
	if *attempt > 0 {
		*attempt = 0
		f.Found()
	}
}
