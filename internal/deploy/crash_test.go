// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"testing"
	"time"

	"copse/internal/change"
	"copse/internal/plan"
	"copse/internal/tree"
)

func scenarios() map[string]Request {
	all := with("api", func(c *tree.Container) { c.Spec.Environment["NEW"] = "1" })
	for i := range all.Containers {
		all.Containers[i].Spec.Environment["ALL"] = "1"
	}
	return map[string]Request{
		"replace start-first": up(with("api", func(c *tree.Container) { c.Spec.Environment["NEW"] = "1" })),
		"replace stop-first":  up(with("db", func(c *tree.Container) { c.Spec.Environment["NEW"] = "1" })),
		"replace all":         up(all),
		"start-first fails":   up(with("api", mode("never-ready"))),
		"stop-first fails":    up(with("db", mode("crash"))),
		"sickens behind the proxy": up(with("api", func(c *tree.Container) {
			mode("sickens")(c)
			c.Update.Order, c.Update.Monitor = tree.StopFirst, time.Minute
		})),
		"job fails":            up(with("api-db-sync", mode("fail"))),
		"atomic failure":       {Kind: plan.Up, Document: failing(all), Atomic: true},
		"stop":                 {Kind: plan.Stop, Options: plan.Options{Names: []string{"db", "api"}}},
		"restart":              {Kind: plan.Restart},
		"down":                 {Kind: plan.Down},
		"undeclare the worker": up(without("worker")),
		"prepare the host":     up(moreHosted()),
		"replace held":         up(with("db", func(c *tree.Container) { c.Spec.Environment["NEW"], c.Update.Hold = "1", true })),
		"held fails":           up(with("db", func(c *tree.Container) { mode("never-ready")(c); c.Update.Hold = true })),
		"monitored":            up(with("api", func(c *tree.Container) { mode("better")(c); c.Update.Monitor = time.Minute })),
		"held sickens": up(with("db", func(c *tree.Container) {
			mode("sickens")(c)
			c.Update.Hold, c.Update.Monitor = true, time.Minute
		})),
		"proxy takes over": up(with("proxy", func(c *tree.Container) { mode("better")(c); c.Update.Order = tree.StartFirst })),
		"proxy fails":      up(with("proxy", func(c *tree.Container) { mode("never-ready")(c); c.Update.Order = tree.StartFirst })),
		"proxy sickens": up(with("proxy", func(c *tree.Container) {
			mode("sickens")(c)
			c.Update.Order, c.Update.Monitor = tree.StartFirst, time.Minute
		})),
	}
}

func failing(doc *tree.Document) *tree.Document {
	copied := *doc
	copied.Containers = append([]tree.Container{}, doc.Containers...)
	mode("never-ready")(copied.Container("worker"))
	return &copied
}

func without(name string) *tree.Document {
	doc := cloud()
	for i := range doc.Containers {
		if doc.Containers[i].Name == name {
			doc.Containers = append(doc.Containers[:i], doc.Containers[i+1:]...)
			break
		}
	}
	return doc
}

// TestCrashAtEveryBoundary kills the agent at each boundary of each scenario: the next one ends
// what was begun, with exactly the old or exactly the new of each container and nothing else.
func TestCrashAtEveryBoundary(t *testing.T) {
	scenarios := scenarios()
	scenarios["from nothing"] = up(hosted())
	for name, request := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for at := 1; ; at += stride {
				w := newWorld(t)
				if name != "from nothing" {
					w.numbered()
				}
				if !crashOnce(t, w, request, at) {
					if at < 5 {
						t.Errorf("there were only %d boundaries", at-1)
					}
					return
				}
				if t.Failed() {
					t.Fatalf("with a crash at boundary %d", at)
				}
			}
		})
	}
}

// crashOnce runs a request that crashes at a boundary, and then another life to its end. It
// says whether the crash came about.
func crashOnce(t testing.TB, w *world, request Request, at int) bool {
	t.Helper()
	before := w.begin(at)
	c, p, err := before.deployer.Submit(context.Background(), request)
	if err != nil {
		t.Fatal(err)
	}
	ended, crashed := before.wait(c.ID)
	before.end()
	if crashed {
		after := w.begin(0)
		ended, _ = after.wait(c.ID)
		after.end()
	}
	if s := ended.Status(); s == change.Stuck {
		t.Errorf("change %d is stuck: %v", c.ID, ended.Err())
	}
	w.check()
	// What the change said it would do is done, or is still to do.
	left := w.plan(Request{Kind: request.Kind, Document: request.Document, Options: request.Options})
	if ended.Status() == change.Done && !left.Empty() && request.Kind != plan.Restart {
		t.Errorf("the change is done and the next plan is\n%s", left)
	}
	if ended.Status() != change.Done && len(left.Steps) > len(p.Steps) {
		t.Errorf("the next plan has more to do than before:\n%s\nbefore:\n%s", left, p)
	}
	return crashed
}
