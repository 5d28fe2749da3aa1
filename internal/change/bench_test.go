// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"context"
	"path/filepath"
	"testing"

	"copse/internal/store"
)

// BenchmarkChange runs changes of 500 tasks in 100 chains of five, as a whole cloud has, on disk and
// without fsync. A step of the benchmark is one change.
func BenchmarkChange(b *testing.B) {
	for name, opts := range map[string][]store.Option{"fsync": nil, "nosync": {store.WithoutSync()}} {
		b.Run(name, func(b *testing.B) {
			s, err := store.Open(filepath.Join(b.TempDir(), "db"), opts...)
			if err != nil {
				b.Fatal(err)
			}
			r, err := NewRunner(s, map[string]Handler{"nop": {Do: nop}}, Options{Keep: 10})
			if err != nil {
				b.Fatal(err)
			}
			if err := r.Resume(b.Context()); err != nil {
				b.Fatal(err)
			}
			spec := Spec{Kind: "bench"}
			for i := range 500 {
				ts := TaskSpec{Kind: "nop", Summary: "Do nothing", Lane: i / 5}
				if i%5 != 0 {
					ts.WaitFor = []TaskID{TaskID(i)}
				}
				spec.Add(ts)
			}
			for b.Loop() {
				c, err := r.Submit(spec)
				if err != nil {
					b.Fatal(err)
				}
				if c, err = r.Wait(b.Context(), c.ID); err != nil || c.Status() != Done {
					b.Fatal(c.Status(), err)
				}
			}
			b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
			if err := r.Stop(context.Background()); err != nil {
				b.Fatal(err)
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
