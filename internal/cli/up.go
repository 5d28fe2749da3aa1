// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/plan"
	"copse/internal/tree"
	"copse/internal/view"
)

// defaultStateDir is where an agent keeps what it knows.
const defaultStateDir = "/var/lib/copse"

func (a *app) up() *cobra.Command {
	var (
		address        string
		yes, noBuild   bool
		atomic, detach bool
	)
	command := &cobra.Command{
		Use:   "up [NAME…] [--address IP] [--yes]",
		Short: "Bring what is declared into being",
		Long: `Bring what is declared into being: start the agent where there is none, show what will
change and why, build the images that are missing, and follow the change to its end. Where
everything is as declared, nothing is done.

On a terminal the plan is asked about; elsewhere a plan that loses nothing goes on by itself.
Ctrl-C while a change runs only stops watching it: the agent goes on.`,
		Example: `  copse up
  copse up keystone --yes
  copse up --address 192.0.2.10`,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx := cmd.Context()
			document, err := a.resolve(ctx, address, names)
			if err != nil {
				return err
			}
			if err := a.ensure(ctx); err != nil {
				return err
			}
			var built *view.Phase
			return a.transit(ctx, transition{
				request:    api.ChangeRequest{Kind: plan.Up, Document: document, Names: names, Atomic: atomic},
				yes:        yes,
				detach:     detach,
				question:   "Do this?",
				unattended: true,
				prepare: func(ctx context.Context, p *plan.Plan) error {
					if noBuild {
						return nil
					}
					began := a.view.Now()
					err := a.buildMissing(ctx, document, p.Build)
					if len(p.Build) > 0 {
						built = a.built(len(p.Build), began)
					}
					if err == nil && len(p.Build) > 0 {
						// Only now can options be held against what the new images know.
						_, err = a.resolve(ctx, address, names)
					}
					return err
				},
				next: "next: eval \"$(copse openrc)\", then use the openstack client; `copse ps` shows what runs",
				conclude: func(ctx context.Context, change *api.Change) (*view.Summary, error) {
					return a.summarize(ctx, document, change, built)
				},
			})
		},
	}
	flags := command.Flags()
	flags.StringVar(&address, "address", "", "the `IP` address where the APIs are offered (default: that of the default route)")
	flags.BoolVarP(&yes, "yes", "y", false, "do not ask")
	flags.BoolVar(&noBuild, "no-build", false, "do not build images that are missing")
	flags.BoolVar(&atomic, "atomic", false, "undo everything where one container fails")
	flags.BoolVarP(&detach, "detach", "d", false, "do not follow the change")
	return command
}

// resolve makes the document of what is declared and makes sure that the names are in it.
func (a *app) resolve(ctx context.Context, address string, names []string) (*tree.Document, error) {
	document, err := a.parts.resolve(ctx, a.declaration(address))
	if err != nil {
		return nil, err
	}
	if _, err := document.Select(names); err != nil {
		return nil, err
	}
	return document, nil
}

// ensure starts or replaces this host's agent. That of another host is left as it is.
func (a *app) ensure(ctx context.Context) error {
	if a.global.host != "" {
		return nil
	}
	var tellErr error
	options := agentOptions{Socket: a.socket(), StateDir: defaultStateDir}
	_, err := a.parts.ensureAgent(ctx, options, func(text string) {
		tellErr = errors.Join(tellErr, a.view.Note("%s", text))
	})
	return errors.Join(err, tellErr)
}

// buildMissing builds the images of the document that the agent has not found.
func (a *app) buildMissing(ctx context.Context, document *tree.Document, references []string) error {
	if len(references) == 0 {
		return nil
	}
	if a.global.host != "" {
		return fmt.Errorf("cannot build %s on %s from here: run `copse build` there first", strings.Join(references, ", "), a.global.host)
	}
	missing := map[string]bool{}
	for _, reference := range references {
		missing[reference] = true
	}
	var images []tree.Image
	for _, image := range document.Images {
		if missing[image.Reference] || missing[image.Name] {
			images = append(images, image)
		}
	}
	return a.buildImages(ctx, images)
}

// buildImages builds images and shows the progress.
func (a *app) buildImages(ctx context.Context, images []tree.Image) error {
	progress := a.view.Progress("building images")
	names := make([]string, 0, len(images))
	for _, image := range images {
		names = append(names, image.Name)
	}
	progress.Images(names)
	err := a.parts.buildImages(ctx, images, progress.Build)
	return errors.Join(err, progress.Close())
}
