// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"net"
	"slices"
	"time"

	"copse/internal/api"
	"copse/internal/client"
	"copse/internal/plan"
	"copse/internal/tree"
	"copse/internal/view"
)

// dashboard is the component whose container people open in a browser.
const dashboard = "horizon"

// creates reports whether a plan makes containers that were not there before.
func creates(p *plan.Plan) bool {
	return slices.ContainsFunc(p.Steps, func(s plan.Step) bool { return s.Action == plan.Create })
}

// summarize says what a cloud offers after a change, what took the time, and how to go on. built is
// the phase before the change, nil where no image was built.
func (a *app) summarize(ctx context.Context, document *tree.Document, change *api.Change, built *view.Phase) (*view.Summary, error) {
	containers, err := ask(a, func(c *client.Client) ([]api.Container, error) { return c.Containers(ctx, nil, false) })
	if err != nil {
		return nil, err
	}
	summary := &view.Summary{Type: "summary", Endpoints: []view.Endpoint{}, Phases: view.Phases(change)}
	if built != nil {
		summary.Phases = append([]view.Phase{*built}, summary.Phases...)
	}
	page := ""
	for _, c := range containers {
		// What listens elsewhere is not for clients.
		if host, _, err := net.SplitHostPort(c.Address); err != nil || host != document.Values["ADDRESS"] || c.State != "running" {
			continue
		}
		endpoint := view.Endpoint{Name: c.Name, URL: "http://" + c.Address}
		if c.Component == dashboard {
			endpoint.URL += "/"
			page = endpoint.URL
		}
		summary.Endpoints = append(summary.Endpoints, endpoint)
	}
	copse := a.streams.program()
	summary.Next = []view.Next{
		{Command: copse + " verify", Purpose: "prove the cloud by using it"},
		{Command: `eval "$(` + copse + ` openrc)"`, Purpose: "have the credentials in this shell, for the openstack client"},
	}
	if page != "" {
		summary.Next = append(summary.Next, view.Next{
			Command: copse + " openrc", Purpose: "see the user, domain and password to log in with at " + page,
		})
	}
	summary.Next = append(summary.Next, view.Next{Command: copse + " ps", Purpose: "see what runs"})
	return summary, nil
}

// built is the phase of building images that began at a time.
func (a *app) built(images int, began time.Time) *view.Phase {
	return &view.Phase{Name: "images", Count: images, Seconds: a.view.Now().Sub(began).Round(time.Millisecond).Seconds()}
}
