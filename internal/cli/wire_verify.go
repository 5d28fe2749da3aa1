// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"copse/internal/tree"
	"copse/internal/verify"
)

// guestImage names the image of the guest as this program's catalogue makes it for a release.
func (p *program) guestImage(ctx context.Context, d declaration, release string) (tree.Image, error) {
	if _, err := p.resolve(ctx, d); err != nil {
		return tree.Image{}, err
	}
	guest, err := p.images.Resolve(release, verify.GuestImage)
	return tree.Image{Name: guest.Name, Release: guest.Release, Reference: guest.Reference}, err
}

// takeGuest takes the guest's files out of its image.
func (p *program) takeGuest(ctx context.Context, image tree.Image) (verify.Guest, error) {
	host, err := p.connect(ctx)
	if err != nil {
		return verify.Guest{}, err
	}
	return verify.TakeGuest(ctx, host, image.Reference)
}
