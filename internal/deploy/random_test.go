// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"
	"testing"

	"copse/internal/change"
	"copse/internal/tree"

	"pgregory.net/rapid"
)

// TestRandomClouds: whatever the cloud and however it changes, after a plan is applied the next
// one is empty, or says what failed.
func TestRandomClouds(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 3).Draw(r, "changes") {
			doc := randomCloud(r)
			ended := w.do(up(doc))
			w.check()
			left := w.plan(up(doc))
			if (ended == nil || ended.Status() == change.Done) && !left.Empty() {
				r.Fatalf("the change is done and the next plan is\n%s", left)
			}
			if ended != nil && ended.Status() != change.Done && left.Empty() {
				r.Fatalf("the change is %s and the next plan is empty", ended.Status())
			}
			if t.Failed() {
				r.FailNow()
			}
		}
	})
}

func randomCloud(r *rapid.T) *tree.Document {
	doc := cloud()
	template := *doc.Container("worker")
	doc.Containers = doc.Containers[:4]
	n := rapid.IntRange(0, 6).Draw(r, "containers")
	for i := range n {
		c := template
		c.Name = fmt.Sprintf("c%d", i)
		c.Depends = nil
		for j := range i {
			if rapid.Bool().Draw(r, "depends") {
				c.Depends = append(c.Depends, tree.Dependency{Name: fmt.Sprintf("c%d", j), Condition: tree.Healthy})
			}
		}
		c.Spec.Environment = map[string]string{
			"MODE":  rapid.SampledFrom([]string{"good", "good", "good", "good", "crash", "never-ready"}).Draw(r, "mode"),
			"VALUE": rapid.SampledFrom([]string{"1", "2"}).Draw(r, "value"),
		}
		if rapid.Bool().Draw(r, "start first") {
			c.Update.Order = tree.StartFirst
		}
		doc.Containers = append(doc.Containers, c)
	}
	return doc
}
