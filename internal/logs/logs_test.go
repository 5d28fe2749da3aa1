// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"copse/internal/engine"
)

func at(millisecond int) time.Time { return time.Unix(1000, int64(millisecond)*1e6) }

func line(millisecond int, text string) engine.LogLine {
	return engine.LogLine{Time: at(millisecond), Stream: "stdout", Text: text}
}

// finished is a log that ends.
func finished(name string, lines ...engine.LogLine) Source {
	return Source{Name: name, Read: func(_ context.Context, handle func(engine.LogLine)) error {
		for _, l := range lines {
			handle(l)
		}
		return nil
	}}
}

func collect(into *[]string) func(Line) error {
	return func(l Line) error {
		*into = append(*into, l.Container+" "+l.Text)
		return nil
	}
}

func TestMerge(t *testing.T) {
	var got []string
	err := Merge(t.Context(), []Source{
		finished("nova", line(2, "b"), line(3, "d"), line(9, "f")),
		finished("silent"),
		finished("keystone", line(1, "a"), line(3, "e")),
		finished("glance", line(2, "c")),
	}, collect(&got))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"keystone a", "nova b", "glance c", "nova d", "keystone e", "nova f"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Whatever the logs are: nothing is lost, all is in order, and each log keeps its own order.
func TestMergeProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sources []Source
		total := 0
		for i, times := range rapid.SliceOfN(rapid.SliceOf(rapid.IntRange(0, 50)), 0, 6).Draw(t, "times") {
			slices.Sort(times)
			var lines []engine.LogLine
			for n, millisecond := range times {
				lines = append(lines, line(millisecond, fmt.Sprint(n)))
			}
			total += len(lines)
			sources = append(sources, finished(fmt.Sprint(i), lines...))
		}
		var last time.Time
		seen := map[string]int{}
		count := 0
		err := Merge(context.Background(), sources, func(l Line) error {
			if l.Time.Before(last) {
				t.Fatalf("%v after %v", l.Time, last)
			}
			last = l.Time
			if l.Text != fmt.Sprint(seen[l.Container]) {
				t.Fatalf("container %s: line %s, want %d", l.Container, l.Text, seen[l.Container])
			}
			seen[l.Container]++
			count++
			return nil
		})
		if err != nil || count != total {
			t.Fatalf("%d of %d lines, %v", count, total, err)
		}
	})
}

// A reader that does not keep up bounds what is read ahead.
func TestMergeIsBounded(t *testing.T) {
	var read, handled atomic.Int64
	endless := Source{Name: "endless", Read: func(ctx context.Context, handle func(engine.LogLine)) error {
		for n := 0; ctx.Err() == nil; n++ {
			read.Add(1)
			handle(line(n, "x"))
		}
		return nil
	}}
	enough := errors.New("enough")
	err := Merge(t.Context(), []Source{endless}, func(Line) error {
		if ahead := read.Load() - handled.Add(1); ahead > buffered+2 {
			return fmt.Errorf("%d lines are read ahead", ahead)
		}
		if handled.Load() == 10_000 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
}

func TestMergeFailure(t *testing.T) {
	gone := errors.New("engine went away")
	failing := Source{Name: "nova", Read: func(context.Context, func(engine.LogLine)) error { return gone }}
	waiting := Source{Name: "glance", Read: func(ctx context.Context, _ func(engine.LogLine)) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	err := Merge(t.Context(), []Source{waiting, failing}, func(Line) error { return nil })
	if !errors.Is(err, gone) || !strings.Contains(err.Error(), "log of nova") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Merge(ctx, []Source{waiting}, func(Line) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// fakeClock hands out windows that the test ends.
type fakeClock struct{ windows chan chan time.Time }

func (c fakeClock) after(time.Duration) <-chan time.Time {
	window := make(chan time.Time)
	c.windows <- window
	return window
}

// fed is a log that the test writes.
func fed(name string) (Source, chan<- engine.LogLine) {
	lines := make(chan engine.LogLine)
	return Source{Name: name, Read: func(ctx context.Context, handle func(engine.LogLine)) error {
		for {
			select {
			case l, open := <-lines:
				if !open {
					return nil
				}
				handle(l)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}}, lines
}

func TestFollowOrdersWithinTheWindow(t *testing.T) {
	nova, writeNova := fed("nova")
	glance, writeGlance := fed("glance")
	clock := fakeClock{make(chan chan time.Time)}
	out := make(chan string, 100)
	done := make(chan error)
	go func() {
		done <- follow(t.Context(), []Source{nova, glance}, func(l Line) error {
			out <- l.Text
			return nil
		}, nil, clock.after)
	}()
	writeNova <- line(5, "second")
	<-clock.windows // it never ends by itself
	// An older line arrives while the first waits; the end of all logs lets them go.
	writeGlance <- line(4, "first")
	writeGlance <- line(6, "third")
	if len(out) != 0 {
		t.Fatalf("%q did not wait", <-out)
	}
	close(writeGlance)
	close(writeNova)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"first", "second", "third"} {
		if got := <-out; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestFollowLetsGoAfterTheWindow(t *testing.T) {
	nova, writeNova := fed("nova")
	clock := fakeClock{make(chan chan time.Time)}
	out := make(chan string)
	done := make(chan error)
	go func() {
		done <- follow(t.Context(), []Source{nova}, func(l Line) error {
			out <- l.Text
			return nil
		}, nil, clock.after)
	}()
	for n := range 3 {
		want := fmt.Sprint(n)
		writeNova <- line(n, want)
		(<-clock.windows) <- time.Time{}
		if got := <-out; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	close(writeNova)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFollowIsBounded(t *testing.T) {
	const lines = maxPending + 500
	many := Source{Name: "many", Read: func(_ context.Context, handle func(engine.LogLine)) error {
		for n := range lines {
			handle(line(n, fmt.Sprint(n)))
		}
		return nil
	}}
	never := func(time.Duration) <-chan time.Time { return nil }
	stop := errors.New("stop")
	handled := 0
	waiting, _ := fed("waiting") // so that the end of the other does not let all go
	err := follow(t.Context(), []Source{many, waiting}, func(l Line) error {
		if l.Text != fmt.Sprint(handled) {
			return fmt.Errorf("line %s, want %d", l.Text, handled)
		}
		if handled++; handled == 500 {
			return stop
		}
		return nil
	}, nil, never)
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
}

func TestFollowGoesOnWithoutOne(t *testing.T) {
	gone := errors.New("container removed")
	failing := Source{Name: "nova", Read: func(context.Context, func(engine.LogLine)) error { return gone }}
	glance, write := fed("glance")
	var got []string
	failures := make(chan error, 1)
	done := make(chan error)
	go func() {
		done <- Follow(t.Context(), []Source{failing, glance}, collect(&got), func(err error) { failures <- err })
	}()
	if err := <-failures; !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
	write <- line(1, "still here")
	close(write)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, []string{"glance still here"}) {
		t.Errorf("got %q", got)
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	nova, _ := fed("nova")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- Follow(ctx, []Source{nova}, func(Line) error { return nil }, nil) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
