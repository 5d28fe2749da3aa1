// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"strings"

	"copse/internal/api"
)

// Prune renders `copse prune`: the images that nothing needs, removed or, in a dry run, to be removed.
func (v *View) Prune(p *api.Prune) error {
	if v.options.Format == JSON {
		return v.object(p)
	}
	if len(p.Images) == 0 {
		return v.printf("Nothing to remove: every image is needed, or can be gone back to.")
	}
	failed := 0
	var cells [][]cell
	for _, image := range p.Images {
		result := cell{text: "removed", paint: v.theme.good}
		switch {
		case p.DryRun:
			result = text("not needed")
		case image.Error != "":
			failed++
			result = cell{text: "not removed: " + clean(firstLine(image.Error)), paint: v.theme.bad}
		}
		cells = append(cells, []cell{
			text(clean(or(strings.Join(image.References, ", "), image.ID))), text(Bytes(image.Size)), result,
		})
	}
	columns := []column{{title: "IMAGE", least: 24}, {title: "SIZE", right: true, drop: 1}, {title: "RESULT", least: 12}}
	words := fmt.Sprintf("%s removed, at most %s freed", count(len(p.Images)-failed, "image"), Bytes(p.Bytes))
	if p.DryRun {
		words = fmt.Sprintf("%s to remove, at most %s", count(len(p.Images), "image"), Bytes(p.Bytes))
	}
	return v.write(v.list(columns, cells) + v.theme.strong(words+" (images share layers)") + "\n")
}
