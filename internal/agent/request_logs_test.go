// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"copse/internal/api"
	"copse/internal/client"
	"copse/internal/engine/fake"
	"copse/internal/plan"
	"copse/internal/tree"
)

// The ids of one request: what the client was given, what goes from service to service; and of another one.
const (
	givenID  = "req-11111111-1111-4111-8111-111111111111"
	sharedID = "req-22222222-2222-4222-8222-222222222222"
	otherID  = "req-33333333-3333-4333-8333-333333333333"
)

// TestRequestLogs: the lines about one request, from all services that it went through, whichever of its
// ids is asked for, and none about whether a service is there.
func TestRequestLogs(t *testing.T) {
	h := start(t)
	wrote := map[string][]string{
		"db":  {"[" + sharedID + " " + givenID + "] create", "[" + otherID + "] something else", "no request"},
		"api": {"[" + sharedID + "] \"GET /healthcheck HTTP/1.1\" 200", "[" + sharedID + "] done"},
	}
	h.engine.Program = func(_ string, spec tree.Spec) fake.Program {
		p := program("", spec)
		p.Lines = nil
		for _, text := range wrote[spec.Labels[tree.LabelContainer]] {
			p.Lines = append(p.Lines, fake.Line{Text: text})
		}
		return p
	}
	doc := cloud()
	doc.Containers = append(doc.Containers, tree.Container{
		Host: testHost, Set: "database-control", Name: "api", Component: "api", Release: "2025.1", Spec: tree.Spec{Image: "copse/api:1"},
		Frontend: &tree.Frontend{Name: "api", Addresses: []string{"127.0.0.1"}, Port: 5000, Internal: "127.0.0.1", Mode: "http", CheckPath: "/healthcheck"},
		Depends:  []tree.Dependency{{Name: "db", Condition: tree.Healthy}},
	})
	if c := h.do(api.ChangeRequest{Kind: plan.Up, Document: doc}); c.Status != "done" {
		t.Fatalf("up ended %s: %s", c.Status, c.Error)
	}
	for _, id := range []string{givenID, sharedID} {
		var got []string
		before := 0.0
		for l, err := range h.client.Logs(context.Background(), client.LogQuery{Request: id, Tail: -1}) {
			if err != nil {
				t.Fatal(err)
			}
			if l.Elapsed == nil || *l.Elapsed < before || !slices.Contains(l.Requests, sharedID) {
				t.Errorf("%+v has the time %v and the requests %v", l, l.Elapsed, l.Requests)
			} else {
				before = *l.Elapsed
			}
			got = append(got, l.Container+": "+l.Text)
		}
		want := []string{"db: [" + sharedID + " " + givenID + "] create", "api: [" + sharedID + "] done"}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the lines are %q, want %q", id, got, want)
		}
		if before <= 0 {
			t.Errorf("%s: the last line came %v s after the first", id, before)
		}
	}
	for what, query := range map[string]client.LogQuery{"no id": {Request: "keystone", Tail: -1}, "following": {Request: givenID, Follow: true, Tail: -1}} {
		for _, err := range h.client.Logs(context.Background(), query) {
			var refused *api.Error
			if !errors.As(err, &refused) || refused.Code != "invalid" || !strings.Contains(err.Error(), "request") {
				t.Errorf("%s: %v", what, err)
			}
			break
		}
	}
}
