// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"copse/internal/api"
	"copse/internal/tree"
)

// Version is one version of a set: what a change made of its containers. `copse rollback SET --to
// VERSION` goes back to it while its generations are kept.
type Version struct {
	Set string `json:"set"`
	// Version is the highest number among the generations that the change made.
	Version int `json:"version"`
	Change  int `json:"change"`
	// At is when the last of them became active.
	At time.Time `json:"at"`
	// Releases are those that the members were made from, in order.
	Releases []string `json:"releases"`
	// Members are the generations that the change made.
	Members []string `json:"members"`
	// WindowSeconds is the longest window among them; null: none was measured.
	WindowSeconds *float64 `json:"window_seconds"`
	// FailedRequests is the sum over all of them; null: none was measured.
	FailedRequests *int `json:"failed_requests"`
}

// Versions works out the versions of a set, oldest first, from the generations of its members
// (those of other sets are left out). What has never been active is part of none.
func Versions(set string, generations []api.Generation) []Version {
	byChange := map[int]*Version{}
	for _, g := range generations {
		if !tree.InSet(g.Set, set) || g.Activated == nil {
			continue
		}
		version := byChange[g.Change]
		if version == nil {
			version = &Version{Set: set, Change: g.Change}
			byChange[g.Change] = version
		}
		version.Version = max(version.Version, g.Generation)
		if g.Activated.After(version.At) {
			version.At = *g.Activated
		}
		if !slices.Contains(version.Releases, g.Release) {
			version.Releases = append(version.Releases, g.Release)
		}
		version.Members = append(version.Members, tree.GenerationName(g.Name, g.Generation))
		version.WindowSeconds, version.FailedRequests = worse(version.WindowSeconds, g.WindowSeconds), sum(version.FailedRequests, g.FailedRequests)
	}
	versions := make([]Version, 0, len(byChange))
	for _, version := range byChange {
		slices.Sort(version.Releases)
		slices.Sort(version.Members)
		versions = append(versions, *version)
	}
	slices.SortFunc(versions, func(a, b Version) int { return cmp.Compare(a.Version, b.Version) })
	return versions
}

// worse is the longer of two windows, either of which may not have been measured.
func worse(a, b *float64) *float64 {
	if a == nil || (b != nil && *b > *a) {
		return b
	}
	return a
}

// sum adds two counts, either of which may not have been measured.
func sum(a, b *int) *int {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	both := *a + *b
	return &both
}

// Versions renders `copse history --versions`: a line for each version of each set.
func (v *View) Versions(versions []Version) error {
	if v.options.Format == JSON {
		return objects(v, versions)
	}
	if len(versions) == 0 {
		return v.Note("no versions yet: `copse up` makes the first")
	}
	return v.write(v.versions(versions))
}

func (v *View) versions(versions []Version) string {
	columns := []column{
		{title: "SET"}, {title: "VERSION", right: true}, {title: "RELEASE", drop: 3}, {title: "CHANGE", right: true}, {title: "SINCE", right: true, drop: 2},
		{title: "WINDOW", right: true}, {title: "FAILED", right: true, drop: 4}, {title: "CHANGED", least: 16, drop: 1},
	}
	if v.options.Format == Plain {
		columns[4].title = "ACTIVATED"
	}
	var cells [][]cell
	for _, one := range versions {
		cells = append(cells, []cell{
			text(clean(one.Set)), text(fmt.Sprint(one.Version)), text(clean(strings.Join(one.Releases, ", "))), text(fmt.Sprint(one.Change)),
			text(v.ago(&one.At)), v.window(one.WindowSeconds, one.FailedRequests), v.failed(one.FailedRequests, 0),
			text(clean(strings.Join(one.Members, ", "))),
		})
	}
	return v.list(columns, cells)
}
