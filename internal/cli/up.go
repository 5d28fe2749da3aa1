// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"copse/internal/agent"
	"copse/internal/api"
	"copse/internal/plan"
	"copse/internal/tree"
	"copse/internal/view"
)

func (a *app) up() *cobra.Command {
	var (
		address        string
		yes, noBuild   bool
		atomic, detach bool
		unpin          bool
	)
	command := &cobra.Command{
		Use:   "up [NAME…] [--address IP] [--yes]",
		Short: "Bring what is declared into being",
		Long: `Bring what is declared into being: start the agent where there is none, show what will
change and why, build the images that are missing, and follow the change to its end. Where
everything is as declared, nothing is done.

What an upgrade or a rollback has made is kept. Where the cloud file says otherwise, it is asked on
a terminal which of the two holds; --unpin has the named follow the cloud file again.

On a terminal the plan is asked about; elsewhere a plan that loses nothing goes on by itself.
Ctrl-C while a change runs only stops watching it: the agent goes on.`,
		Example: `  copse up
  copse up keystone --yes
  copse up --address 192.0.2.10
  copse up keystone --unpin`,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx := cmd.Context()
			w := wanted{address: address, names: names, unpin: unpin}
			// Faults in what is declared are told before there is an agent.
			request, settles, err := a.request(ctx, w)
			if err != nil {
				return err
			}
			started, err := a.ensure(ctx)
			if err == nil && started {
				request, settles, err = a.request(ctx, w)
			}
			if err == nil && !yes && !unpin {
				request, err = a.settle(ctx, w, request)
			}
			if err != nil {
				return err
			}
			request.Atomic = atomic
			var built *view.Phase
			return a.transit(ctx, transition{
				request:    request,
				yes:        yes,
				detach:     detach,
				question:   "Do this?",
				unattended: true,
				always:     settles,
				prepare:    a.imagesFirst(address, request.Document, noBuild, &built),
				next:       fmt.Sprintf("next: eval \"$(%s openrc)\", then use the openstack client; `%[1]s ps` shows what runs", a.streams.program()),
				conclude: func(ctx context.Context, change *api.Change) (*view.Summary, error) {
					return a.summarize(ctx, request.Document, change, built)
				},
			})
		},
	}
	flags := command.Flags()
	addressFlag(flags, &address)
	yesFlag(flags, &yes, "do not ask")
	noBuildFlag(flags, &noBuild)
	atomicFlag(flags, &atomic)
	unpinFlag(flags, &unpin)
	detachFlag(flags, &detach)
	return command
}

// imagesFirst makes the step before a change that builds the images it lacks: where that fails,
// nothing has been touched. built is set to how long it took.
func (a *app) imagesFirst(address string, document *tree.Document, noBuild bool, built **view.Phase) func(context.Context, *plan.Plan) error {
	return func(ctx context.Context, p *plan.Plan) error {
		if noBuild || len(p.Build) == 0 {
			return nil
		}
		began := a.view.Now()
		if err := a.buildMissing(ctx, document, p.Build); err != nil {
			return err
		}
		*built = a.built(len(p.Build), began)
		// Only now can options be held against what the new images know.
		_, err := a.resolveWith(ctx, address, nil, document.Pins)
		return err
	}
}

// ensure starts or replaces this host's agent. That of another host is left as it is.
// Pins that were asked for before may then not be those in force.
func (a *app) ensure(ctx context.Context) (started bool, err error) {
	if a.global.host != "" {
		return false, nil
	}
	var tellErr error
	options := agentOptions{Socket: a.socket(), StateDir: agent.DefaultStateDir}
	started, err = a.parts.ensureAgent(ctx, options, func(text string) {
		tellErr = errors.Join(tellErr, a.view.Note("%s", text))
	})
	return started, errors.Join(err, tellErr)
}

// buildMissing builds the images of the document that the agent has not found.
func (a *app) buildMissing(ctx context.Context, document *tree.Document, references []string) error {
	if len(references) == 0 {
		return nil
	}
	if a.global.host != "" {
		return fmt.Errorf("cannot build %s on %s from here: run `copse build` there first, with --release for an upgrade", strings.Join(references, ", "), a.global.host)
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
