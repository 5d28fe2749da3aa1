// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"copse/internal/api"
	"copse/internal/tree"
)

// History renders `copse history`: the versions of sets that were asked for by name, where there
// are any, and a line for each generation. In JSON it is the generations alone.
func (v *View) History(versions []Version, generations []api.Generation) error {
	if v.options.Format == JSON {
		return objects(v, generations)
	}
	if len(generations) == 0 {
		return v.Note("no generations yet: `copse up` makes the first")
	}
	if len(versions) > 0 {
		if err := v.Text([]byte(v.versions(versions) + "\n")); err != nil {
			return err
		}
	}
	columns := []column{
		{title: "GENERATION"}, {title: "RELEASE", drop: 3}, {title: "STATE"}, {title: "CHANGE", right: true},
		{title: "ACTIVE SINCE", right: true, drop: 2}, {title: "WINDOW", right: true}, {title: "FAILED", right: true, drop: 4},
		{title: "OF", drop: 6}, {title: "CAUSE", least: 16, drop: 1}, {title: "IMAGE", least: 16, drop: 5},
	}
	if v.options.Format == Plain {
		columns[4].title = "ACTIVATED"
	}
	again := slices.ContainsFunc(generations, func(g api.Generation) bool { return g.Of > 0 })
	of := slices.IndexFunc(columns, func(c column) bool { return c.title == "OF" })
	if !again {
		columns = slices.Delete(columns, of, of+1)
	}
	rows := group{}
	for _, g := range generations {
		row := []cell{
			text(clean(tree.GenerationName(g.Name, g.Generation))), text(clean(g.Release)),
			{text: clean(g.State), paint: func(s string) string { return v.generation(g.State, s) }},
			text(fmt.Sprint(g.Change)), text(v.ago(g.Activated)),
			v.window(g.WindowSeconds, g.FailedRequests), v.failed(g.FailedRequests, g.Probes),
			text(numberOr(g.Of, "-")), text(v.brief(clean(g.Cause))), {text: clean(g.Image), paint: v.theme.faint},
		}
		if !again {
			row = slices.Delete(row, of, of+1)
		}
		rows.rows = append(rows.rows, row)
	}
	return v.Text([]byte(v.table(columns, []group{rows})))
}

// window renders a measured window: "0" where no request failed, "-" where nothing was measured.
func (v *View) window(seconds *float64, failed *int) cell {
	switch {
	case seconds == nil:
		return text("-")
	case *seconds == 0 && (failed == nil || *failed == 0):
		return cell{text: "0", paint: v.theme.good}
	}
	return cell{text: fmt.Sprintf("%.2fs", *seconds), paint: v.theme.warn}
}

// failed renders how many requests failed, and of how many where that is known.
func (v *View) failed(failed *int, probes int) cell {
	if failed == nil {
		return text("-")
	}
	words := fmt.Sprint(*failed)
	if probes > 0 {
		words = fmt.Sprintf("%d of %d", *failed, probes)
	}
	if *failed > 0 {
		return cell{text: words, paint: v.theme.warn}
	}
	return text(words)
}

// widestCause is how much of a cause a line has room for where nothing limits it; all of it is in
// the JSON and in the plan of the change.
const widestCause = 80

// brief shortens a cause where no screen does.
func (v *View) brief(cause string) string {
	if v.width() > 0 {
		return cause
	}
	return ansi.Truncate(cause, widestCause, "…")
}

// generation paints the state of a generation.
func (v *View) generation(state, s string) string {
	switch state {
	case "active":
		return v.theme.good(s)
	case "failed":
		return v.theme.bad(s)
	case "preparing":
		return v.theme.busy(s)
	}
	return v.theme.faint(s)
}

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
	return v.Text([]byte(v.versions(versions)))
}

func (v *View) versions(versions []Version) string {
	columns := []column{
		{title: "SET"}, {title: "VERSION", right: true}, {title: "RELEASE", drop: 3}, {title: "CHANGE", right: true}, {title: "SINCE", right: true, drop: 2},
		{title: "WINDOW", right: true}, {title: "FAILED", right: true, drop: 4}, {title: "CHANGED", least: 16, drop: 1},
	}
	if v.options.Format == Plain {
		columns[4].title = "ACTIVATED"
	}
	rows := group{}
	for _, one := range versions {
		rows.rows = append(rows.rows, []cell{
			text(clean(one.Set)), text(fmt.Sprint(one.Version)), text(clean(strings.Join(one.Releases, ", "))), text(fmt.Sprint(one.Change)),
			text(v.ago(&one.At)), v.window(one.WindowSeconds, one.FailedRequests), v.failed(one.FailedRequests, 0),
			text(clean(strings.Join(one.Members, ", "))),
		})
	}
	return v.table(columns, []group{rows})
}
