// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"copse/internal/store"
)

// TestStoredForm holds what is stored against an example. Where this test fails the schema has changed:
// data of older programs then needs an upgrade step (store.WithUpgrades), unless a field was added whose
// zero value means what was so before. COPSE_UPDATE_GOLDEN=1 writes the example anew.
func TestStoredForm(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "db"))
	r := newRunner(t, s, map[string]Handler{
		"start": {
			Do: func(_ context.Context, t *Run) error {
				t.Log("created keystone.17")
				return errors.Join(t.Set("container", map[string]any{"name": "keystone.17", "port": 35001}), t.SetChangeData("seen", true))
			},
			Undo:    func(context.Context, *Run) error { return errors.New("the engine does not answer") },
			Cleanup: nop,
		},
		"switch": {Do: func(context.Context, *Run) error { return errors.New("the proxy refused the new back end") }},
		"record": {Do: func(ctx context.Context, _ *Run) error {
			<-ctx.Done() // it is aborted, and ends well all the same
			return nil
		}},
	}, Options{Parallel: 1})
	if err := r.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	spec := Spec{
		Kind: "upgrade", Summary: "Upgrade keystone to 2026.1", User: "root", Subjects: []string{"keystone", "glance"},
		Data: map[string]any{"release": "2026.1"},
	}
	start := spec.Add(TaskSpec{Kind: "start", Summary: "Start keystone.17", Subject: "keystone", Lane: 1, Data: map[string]any{"image": "keystone:abc"}})
	spec.Add(TaskSpec{Kind: "switch", Summary: "Switch the proxy to keystone.17", Subject: "keystone", Lane: 1, WaitFor: []TaskID{start}})
	wait(t, r, submit(t, r, spec).ID)

	whole := Spec{Kind: "up", Summary: "Bring up the cloud", Atomic: true, Subjects: []string{Everything}}
	whole.Add(TaskSpec{Kind: "record", Summary: "Record it"})
	whole.Add(TaskSpec{Kind: "record", Summary: "Record it again", WaitFor: []TaskID{1}})
	c := submit(t, r, whole)
	if err := r.Abort(c.ID, "admin"); err != nil {
		t.Fatal(err)
	}
	c = wait(t, r, c.ID)
	if c.Status() != Undone {
		t.Errorf("the second change is %s", c.Status())
	}

	stored := map[string]map[string]json.RawMessage{}
	if err := s.View(func(tx *store.Tx) error {
		for _, bucket := range []string{changeBucket, taskBucket, eventBucket} {
			stored[bucket] = map[string]json.RawMessage{}
			if err := store.Each(tx, bucket, func(key string, doc json.RawMessage) error {
				stored[bucket][key] = doc
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(stored, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	golden := filepath.Join("testdata", "stored.json")
	if os.Getenv("COPSE_UPDATE_GOLDEN") != "" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("what is stored is not what the example says:\n%s", cmp.Diff(string(want), string(got)))
	}
}
