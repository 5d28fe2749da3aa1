// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"iter"
	"net/url"
	"strconv"
	"time"

	"copse/internal/api"
	"copse/internal/plan"
	"copse/internal/tree"
)

// Containers lists the named containers, or all; finished jobs only with all.
func (c *Client) Containers(ctx context.Context, names []string, all bool) ([]api.Container, error) {
	query := named(names)
	if all {
		query.Set("all", "true")
	}
	var containers []api.Container
	err := c.get(ctx, "/v1/containers", query, &containers)
	return containers, err
}

// Tree lists the sets of what is declared.
func (c *Client) Tree(ctx context.Context) ([]tree.Set, error) {
	var sets []tree.Set
	err := c.get(ctx, "/v1/tree", nil, &sets)
	return sets, err
}

// Document returns what is declared.
func (c *Client) Document(ctx context.Context) (*tree.Document, error) {
	var document tree.Document
	if err := c.get(ctx, "/v1/document", nil, &document); err != nil {
		return nil, err
	}
	return &document, nil
}

// Health lists the checks of the named containers with their last results.
func (c *Client) Health(ctx context.Context, names []string) ([]api.Health, error) {
	var checks []api.Health
	err := c.get(ctx, "/v1/health", named(names), &checks)
	return checks, err
}

// Jobs lists the jobs that run on a timer.
func (c *Client) Jobs(ctx context.Context) ([]api.Job, error) {
	var jobs []api.Job
	err := c.get(ctx, "/v1/jobs", nil, &jobs)
	return jobs, err
}

// History lists the generations of the named containers.
func (c *Client) History(ctx context.Context, names []string) ([]api.Generation, error) {
	var generations []api.Generation
	err := c.get(ctx, "/v1/history", named(names), &generations)
	return generations, err
}

// Incidents lists what happened to the named containers since then, the zero time for all that is kept.
func (c *Client) Incidents(ctx context.Context, names []string, since time.Time) ([]api.Incident, error) {
	query := named(names)
	if !since.IsZero() {
		query.Set("since", since.Format(time.RFC3339Nano))
	}
	var incidents []api.Incident
	err := c.get(ctx, "/v1/incidents", query, &incidents)
	return incidents, err
}

// Top lists the processes of the named containers.
func (c *Client) Top(ctx context.Context, names []string) ([]api.Process, error) {
	var processes []api.Process
	err := c.get(ctx, "/v1/top", named(names), &processes)
	return processes, err
}

// LogQuery says which log lines are asked for.
type LogQuery struct {
	Names []string
	// Since is the time of the first line; the zero time asks for all.
	Since time.Time
	// Tail is how many of the last lines of each container; below zero asks for all.
	Tail   int
	Follow bool
	// Request asks for the lines of one request of OpenStack, by its id; then all of them are
	// wanted: Tail below zero and no Follow.
	Request string
}

// Logs yields log lines in the order of time.
func (c *Client) Logs(ctx context.Context, q LogQuery) iter.Seq2[api.LogLine, error] {
	query := named(q.Names)
	if !q.Since.IsZero() {
		query.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	if q.Tail >= 0 {
		query.Set("tail", strconv.Itoa(q.Tail))
	}
	if q.Follow {
		query.Set("follow", "true")
	}
	if q.Request != "" {
		query.Set("request", q.Request)
	}
	return stream[api.LogLine](ctx, c, "/v1/logs", query)
}

// Secrets lists the secrets, without their values.
func (c *Client) Secrets(ctx context.Context) ([]api.Secret, error) {
	var secrets []api.Secret
	err := c.get(ctx, "/v1/secrets", nil, &secrets)
	return secrets, err
}

// RotateSecret makes a new version of a secret. Containers get it with their next generation.
func (c *Client) RotateSecret(ctx context.Context, name string) (*api.Secret, error) {
	var secret api.Secret
	if err := c.post(ctx, "/v1/secrets/"+url.PathEscape(name)+"/rotate", nil, &secret); err != nil {
		return nil, err
	}
	return &secret, nil
}

// OpenRC returns the variables of the openstack client, the administrator's password among them.
func (c *Client) OpenRC(ctx context.Context) (*api.OpenRC, error) {
	var answer api.OpenRC
	if err := c.get(ctx, "/v1/openrc", nil, &answer); err != nil {
		return nil, err
	}
	return &answer, nil
}

// Preflight says what on the agent's host stands in the way of what is to run there.
func (c *Client) Preflight(ctx context.Context, request api.PreflightRequest) ([]plan.Finding, error) {
	var findings []plan.Finding
	err := c.post(ctx, "/v1/preflight", request, &findings)
	return findings, err
}

// Config shows the configuration of the named containers as their services see it: of those that
// run, or of a document.
func (c *Client) Config(ctx context.Context, request api.ConfigRequest) ([]api.Config, error) {
	var configs []api.Config
	err := c.post(ctx, "/v1/config", request, &configs)
	return configs, err
}
