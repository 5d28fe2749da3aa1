// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"copse/internal/client"
	"copse/internal/view"
)

// defaultTail is how many lines of each container are shown where nothing else is asked for.
const defaultTail = 100

// requestSince is how far back a request is searched for where nothing else is asked for.
const requestSince = time.Hour

func (a *app) logs() *cobra.Command {
	var (
		follow  bool
		since   string
		tail    int
		request string
	)
	command := &cobra.Command{
		Use:   "logs [NAME…] [-f] [--since TIME] [--tail N] [--request ID]",
		Short: "Show what containers wrote, in the order of time",
		Long: `Show what containers, sets or components wrote, in the order of time, each line with its
container and generation. Without --since and --tail the last 100 lines of each container.

With --request, the path of one request of OpenStack through all services, each line with the time
since the first one. The id is what an API gives in the header X-Openstack-Request-Id, what the
openstack client shows with an error, or any that stands in a log. Without --since, the last hour
is searched.`,
		Example: `  copse logs keystone -f
  copse logs --request req-3f0e9c52-7c1d-4f0a-9d86-0b6c1d0a8a11
  copse logs --since 10m
  copse logs mariadb --since 2026-01-31T08:00:00Z --tail -1`,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			query := client.LogQuery{Names: names, Tail: tail, Follow: follow}
			if since != "" {
				at, err := parseSince(since, a.view.Now())
				if err != nil {
					return err
				}
				query.Since = at
				if !cmd.Flags().Changed("tail") {
					query.Tail = -1
				}
			}
			if request != "" {
				for _, flag := range []string{"follow", "tail"} {
					if cmd.Flags().Changed(flag) {
						return &usageError{"--request shows all lines of a request that there are: leave out --" + flag}
					}
				}
				query.Request, query.Tail = request, -1
				if since == "" {
					query.Since = a.view.Now().Add(-requestSince)
				}
				return a.showRequest(cmd.Context(), query)
			}
			return a.showLogs(cmd.Context(), query)
		},
	}
	command.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is written from now on")
	command.Flags().StringVar(&since, "since", "", "from a `TIME` on: 10m, 2h, 3d, 2026-01-31, 2026-01-31T08:00:00Z")
	command.Flags().StringVar(&request, "request", "", "only what services wrote about the request with this `ID`")
	command.Flags().IntVar(&tail, "tail", defaultTail, "only the last `N` lines of each container; -1 for all")
	return command
}

// parseSince reads a duration before now or a point in time; one without a zone is local.
func parseSince(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if days, ok := parseDays(s); ok {
		return now.Add(-days), nil
	}
	if at, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return at, nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if at, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return at, nil
		}
	}
	return time.Time{}, &usageError{"cannot read the time " + quoted(s) + ": write it as 10m, 2h, 3d, 2026-01-31 or 2026-01-31T08:00:00Z"}
}

// parseDays reads "3d", which Go's durations do not know.
func parseDays(s string) (time.Duration, bool) {
	if len(s) < 2 || s[len(s)-1] != 'd' {
		return 0, false
	}
	hours, err := time.ParseDuration(s[:len(s)-1] + "h")
	if err != nil || hours < 0 {
		return 0, false
	}
	return 24 * hours, true
}

// showLogs shows lines; where it follows and the agent goes away, it waits and goes on after
// the last line seen.
func (a *app) showLogs(ctx context.Context, query client.LogQuery) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	renderer := a.view.Logs(query.Names)
	lost := 0
	for {
		err := a.logLines(ctx, c, &query, renderer, &lost)
		unreachable := (*client.UnreachableError)(nil)
		if !query.Follow || query.Since.IsZero() || !errors.As(err, &unreachable) || lost >= attempts {
			return err
		}
		if lost++; lost == 1 {
			if err := a.view.Note("lost the agent, looking for it: %v", err); err != nil {
				return err
			}
		}
		if err := client.Pause(ctx, lost); err != nil {
			return err
		}
	}
}

// logLines shows one stream of lines and moves the query on to what comes after them.
func (a *app) logLines(ctx context.Context, c *client.Client, query *client.LogQuery, renderer *view.Logs, lost *int) error {
	for line, err := range c.Logs(ctx, *query) {
		if err != nil {
			return err
		}
		*lost = 0
		if query.Follow {
			query.Since, query.Tail = line.Time.Add(time.Nanosecond), -1
		}
		if err := renderer.Line(&line); err != nil {
			return err
		}
	}
	return nil
}

// showRequest shows the lines of one request. That there is none is a failure, for scripts.
func (a *app) showRequest(ctx context.Context, query client.LogQuery) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	renderer := a.view.Request(query.Request)
	for line, err := range c.Logs(ctx, query) {
		if err != nil {
			return err
		}
		if err := renderer.Line(&line); err != nil {
			return err
		}
	}
	if renderer.Lines() == 0 {
		return fmt.Errorf("no line since %s speaks of request %s: look further back with --since 1d; what a request that succeeds leaves in the logs is more with the value DEBUG",
			query.Since.Format(time.RFC3339), query.Request)
	}
	return renderer.Close()
}
