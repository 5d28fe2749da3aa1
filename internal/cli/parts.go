// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"copse/internal/tree"
	"copse/internal/verify"
	"copse/internal/view"
)

// declaration is what says what is wanted: files, environment and flags.
type declaration struct {
	// CloudFile is "" where there is none.
	CloudFile   string
	EnvFiles    []string
	Environment []string // in the form of os.Environ
	// Address is where the APIs are offered, "" for the default.
	Address string
	// Former is where they are offered now, "" where no cloud is declared. It is the default.
	Former string
	// Elsewhere is set where the cloud is on another host.
	Elsewhere bool
	// Pins are those in force; their releases go before the cloud file's.
	Pins []tree.Pin
}

// agentOptions say where an agent lives.
type agentOptions struct {
	Socket, StateDir string
}

// parts are what the commands need of the rest of the program. They are put together in
// wire.go; tests bring their own.
type parts struct {
	// resolve makes the cloud document of what is declared.
	resolve func(ctx context.Context, d declaration) (*tree.Document, error)
	// releases lists the releases that images can be made from.
	releases func(d declaration) ([]string, error)
	// values works out the values of what is declared.
	values func(d declaration) ([]view.Value, error)
	// compose renders a document as one Compose file.
	compose func(document *tree.Document) ([]byte, error)
	// listImages says of images whether the engine has them.
	listImages func(ctx context.Context, images []tree.Image) ([]view.Image, error)
	// buildImages builds images and what they extend; those that are there are left alone.
	buildImages func(ctx context.Context, images []tree.Image, progress func(view.BuildEvent)) error
	// ensureAgent starts the agent of this host, or replaces one of another program, and waits
	// until it answers; tell is called with what it does.
	ensureAgent func(ctx context.Context, options agentOptions, tell func(string)) (started bool, err error)
	// runAgent is the agent itself, until ctx ends.
	runAgent func(ctx context.Context, options agentOptions) error
	// guestImage names the image of the guest that servers are started from to verify a cloud.
	guestImage func(ctx context.Context, d declaration, release string) (tree.Image, error)
	// takeGuest takes the guest's files out of its image.
	takeGuest func(ctx context.Context, image tree.Image) (verify.Guest, error)
	// verify proves a cloud by using it.
	verify func(ctx context.Context, options verify.Options) error
}
