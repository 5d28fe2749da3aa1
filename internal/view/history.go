// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"slices"

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
		if err := v.write(v.versions(versions) + "\n"); err != nil {
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
	var cells [][]cell
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
		cells = append(cells, row)
	}
	return v.write(v.list(columns, cells))
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
