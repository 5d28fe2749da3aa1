// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func at(ms int) time.Time { return time.Unix(0, int64(ms)*int64(time.Millisecond)) }

func lines(origin string, times ...int) Source[string] {
	return func(_ context.Context, emit func(Line[string]) error) error {
		for _, ms := range times {
			if err := emit(Line[string]{Time: at(ms), Origin: origin}); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestMergeIsOrderedAndComplete(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var sources []Source[string]
		var want []int
		for range rapid.IntRange(0, 5).Draw(r, "sources") {
			times := rapid.SliceOf(rapid.IntRange(0, 50)).Draw(r, "times")
			slices.Sort(times)
			want = append(want, times...)
			sources = append(sources, lines("x", times...))
		}
		slices.Sort(want)
		var got []int
		if err := Merge(context.Background(), sources, func(l Line[string]) error {
			got = append(got, int(l.Time.UnixMilli()))
			return nil
		}); err != nil {
			r.Fatal(err)
		}
		if !slices.Equal(got, want) {
			r.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestMergeEndsWithTheFirstError(t *testing.T) {
	broken := errors.New("broken")
	failing := func(context.Context, func(Line[string]) error) error { return broken }
	if err := Merge(context.Background(), []Source[string]{lines("a", 1, 2), failing}, func(Line[string]) error { return nil }); !errors.Is(err, broken) {
		t.Errorf("error %v; want the source's", err)
	}
	gone := errors.New("gone")
	n := 0
	if err := Merge(context.Background(), []Source[string]{lines("a", 1, 2, 3)}, func(Line[string]) error { n++; return gone }); !errors.Is(err, gone) || n != 1 {
		t.Errorf("error %v after %d lines; want emit's after the first", err, n)
	}
}

func TestFollowOrdersWhatComesTogether(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var got []string
	err := Follow(ctx, []Source[string]{lines("late", 2), lines("early", 1), lines("last", 3)}, func(l Line[string]) error {
		got = append(got, l.Origin)
		if len(got) == 3 {
			cancel()
		}
		return nil
	})
	if err != nil || len(got) != 3 || !slices.Contains(got, "early") {
		t.Errorf("got %v, %v", got, err)
	}
}
