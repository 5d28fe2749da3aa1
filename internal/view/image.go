// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import "time"

// Image is one object of `copse images --format json`.
type Image struct {
	Name      string `json:"name"`
	Release   string `json:"release"`
	Reference string `json:"reference"`
	// Present is whether the engine has it.
	Present bool `json:"present"`
	// Size is in bytes, 0 where it is not known.
	Size      int64      `json:"size,omitempty"`
	CreatedAt *time.Time `json:"created_at,omitempty"`
}

// Images renders `copse images`.
func (v *View) Images(images []Image) error {
	if v.options.Format == JSON {
		return objects(v, images)
	}
	columns := []column{
		{title: "NAME"}, {title: "RELEASE"}, {title: "BUILT"}, {title: "SIZE", right: true, drop: 1},
		{title: "AGE", right: true, drop: 2}, {title: "REFERENCE", least: 16, drop: 3},
	}
	var cells [][]cell
	for _, image := range images {
		built := cell{text: "no", paint: v.theme.warn}
		size := "-"
		if image.Present {
			built = cell{text: "yes", paint: v.theme.good}
		}
		if image.Size > 0 {
			size = Bytes(image.Size)
		}
		cells = append(cells, []cell{
			text(clean(image.Name)), text(clean(image.Release)), built, text(size), text(v.ago(image.CreatedAt)),
			{text: clean(image.Reference), paint: v.theme.faint},
		})
	}
	return v.write(v.list(columns, cells))
}
