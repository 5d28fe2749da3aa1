// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

// Value is one value of a cloud, as `copse values` shows it.
type Value struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Value       string `json:"value"`
	Description string `json:"description"`
	// From is where it was set, "default" where nobody set it.
	From string `json:"from"`
}

// Values renders `copse values`.
func (v *View) Values(values []Value) error {
	if v.options.Format == JSON {
		return objects(v, values)
	}
	columns := []column{
		{title: "NAME"}, {title: "VALUE", least: 12}, {title: "TYPE", drop: 2}, {title: "FROM", least: 8, drop: 1},
		{title: "MEANING", least: 20},
	}
	var cells [][]cell
	for _, value := range values {
		shown := text(clean(value.Value))
		if value.From != "default" {
			shown.paint = v.theme.good
		}
		cells = append(cells, []cell{
			text(clean(value.Name)), shown, text(clean(value.Type)), text(clean(value.From)),
			{text: clean(value.Description), paint: v.theme.faint},
		})
	}
	return v.write(v.list(columns, cells))
}
