// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

// imageRelease is the release of the image that a container runs: its own, or that of the component
// whose image it borrows. What dumps keystone's database is of the database's release, wherever
// keystone is.
func (b *builder) imageRelease(c *madeContainer) string {
	if b.input.options.ImageComponent == nil {
		return c.Release
	}
	owner, ok := b.input.options.ImageComponent(c.imageName)
	if !ok || owner == c.Component {
		return c.Release
	}
	// Releases compare as text. Within a component the newest counts: its tools know the older ones.
	newest := ""
	for _, other := range b.made {
		if other.Component == owner {
			newest = max(newest, other.Release)
		}
	}
	return orDefault(newest, orDefault(b.input.cloud.Releases[owner], b.input.cloud.Release))
}
