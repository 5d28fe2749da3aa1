// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package standing

import (
	"testing"

	"copse/internal/tree"
)

func TestSets(t *testing.T) {
	sets := []tree.Set{{Path: "a"}, {Path: "a/b"}, {Path: "ab"}, {Path: "empty"}, {Path: "down"}}
	containers := []Container{
		{Set: "a", Name: "one", Health: "healthy"}, {Set: "a/b", Name: "two", Health: "unhealthy", Why: "it says no"},
		{Set: "ab", Name: "three", Health: "healthy"},
		{Set: "down", Name: "four", Health: "stopped", Why: "stopped by change 7"},
	}
	want := map[string]State{"a": Unhealthy, "a/b": Unhealthy, "ab": Healthy, "down": Stopped}
	got := Sets(sets, containers)
	if len(got) != len(want) {
		t.Errorf("%d sets stand somehow; want %d: one without containers does not", len(got), len(want))
	}
	for _, s := range got {
		if s.State != want[s.Path] {
			t.Errorf("%s is %s; want %s", s.Path, s.State, want[s.Path])
		}
	}
	if got[0].Containers != 2 || got[0].Cause() != "two is unhealthy: it says no" {
		t.Errorf("a has %d containers and %q", got[0].Containers, got[0].Cause())
	}
}

func TestOf(t *testing.T) {
	stopped := Container{Name: "s", Health: "stopped"}
	for name, test := range map[string]struct {
		containers []Container
		want       State
		cause      string
	}{
		"all well":        {[]Container{{Name: "a", Health: "healthy"}}, Healthy, ""},
		"one is starting": {[]Container{{Name: "a", Health: "starting"}}, Unhealthy, "a is starting"},
		"one is stopped":  {[]Container{{Name: "a", Health: "healthy"}, stopped}, Unhealthy, "s is stopped"},
		"all are stopped": {[]Container{stopped, stopped}, Stopped, "s is stopped; s is stopped"},
		"many":            {[]Container{stopped, stopped, stopped, stopped, stopped}, Stopped, "s is stopped; s is stopped; s is stopped; …"},
	} {
		t.Run(name, func(t *testing.T) {
			s := Of("x", test.containers)
			if s.State != test.want || s.Cause() != test.cause {
				t.Errorf("%s, %q; want %s, %q", s.State, s.Cause(), test.want, test.cause)
			}
		})
	}
}
