// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
	"copse/internal/plan"
	"copse/internal/tree"
)

func (a *app) rollback() *cobra.Command {
	var (
		to              string
		atomic, restore bool
		yes, detach     bool
		dryRun          bool
	)
	command := &cobra.Command{
		Use:   "rollback [NAME…] [--to GENERATION] [--restore]",
		Short: "Put containers, sets or components back to an earlier generation",
		Long: `Put containers, sets, components or the whole cloud back to what they were: the image, the
configuration and the secrets of an earlier generation, under a new number. Without --to it is what
was there before the last change that touched any of them. For a set, GENERATION is one of its
versions, as ` + "`copse history SET`" + ` lists them: each container goes to its newest generation up to it.
The last three generations of each container are kept.

Where data have gone to a newer release for good, a rollback is refused and says what would be lost;
--restore has the data that were saved before the upgrade put back, and everything written since is
lost. The containers stay there whatever the cloud file says: ` + "`copse up NAME --unpin`" + ` follows it again.

With --dry-run the plan alone is shown; the exit code is 2 where there is something to do.`,
		Example: `  copse rollback keystone
  copse rollback keystone --to 41
  copse rollback openstack-control --dry-run`,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			ctx := cmd.Context()
			generation, err := generationNumber(to)
			if err != nil {
				return err
			}
			request := api.ChangeRequest{
				Kind: plan.Rollback, Names: names, To: generation, Restore: restore, Atomic: atomic, User: a.operator(),
			}
			if dryRun {
				return a.showPlan(ctx, request)
			}
			return a.transit(ctx, transition{
				request:    request,
				yes:        yes,
				detach:     detach,
				question:   "Do this?",
				unattended: true,
				prepare:    a.imagesBack,
				next:       "it stays as it is now; `copse up" + strings.Join(append([]string{""}, names...), " ") + " --unpin` follows the cloud file again",
			})
		},
	}
	flags := command.Flags()
	flags.StringVar(&to, "to", "", "the `GENERATION` to go back to, or the version of a set (default: what was before the last change)")
	flags.BoolVar(&restore, "restore", false, "put saved data back where there is no other way; what was written since is lost")
	atomicFlag(flags, &atomic)
	dryRunFlag(flags, &dryRun)
	yesFlag(flags, &yes, "do not ask, whatever is lost")
	detachFlag(flags, &detach)
	completeFlag(command, "to", a.completeGenerations)
	return command
}

// imagesBack builds the images of the jobs that take data back, where they have gone from the engine and
// the catalogue still makes the same of them. What the containers go back to is there, or refused.
func (a *app) imagesBack(ctx context.Context, p *plan.Plan) error {
	if len(p.Build) == 0 {
		return nil
	}
	var images []tree.Image
	for _, reference := range p.Build {
		image, err := imageOf(reference)
		if err != nil {
			return err
		}
		images = append(images, image)
	}
	// The catalogue is read with what is declared.
	document, err := a.resolve(ctx, "", nil)
	if err != nil {
		return err
	}
	document.Images = images
	return a.buildMissing(ctx, document, p.Build)
}

// imageOf takes a reference of the catalogue apart: "copse/keystone:2025.1-0123456789ab".
func imageOf(reference string) (tree.Image, error) {
	path, tag, _ := strings.Cut(reference, ":")
	dash := strings.LastIndexByte(tag, '-')
	if dash < 1 {
		return tree.Image{}, fmt.Errorf("cannot build %s: it is not made by this catalogue: bring it to the engine by hand, or go back to another generation", reference)
	}
	return tree.Image{Name: path[strings.LastIndexByte(path, '/')+1:], Release: tag[:dash], Reference: reference}, nil
}

// generationNumber reads a generation as tables show it, "keystone.41", or its number alone; "" is 0.
func generationNumber(arg string) (int, error) {
	if arg == "" {
		return 0, nil
	}
	number, err := strconv.Atoi(arg[strings.LastIndexByte(arg, '.')+1:])
	if err != nil || number < 1 {
		return 0, &usageError{quoted(arg) + " is not the number of a generation: `copse history` lists them"}
	}
	return number, nil
}

// completeGenerations completes the generations that the named can go back to, the newest first.
func (a *app) completeGenerations(cmd *cobra.Command, names []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx := cmd.Context()
	generations, err := ask(a, func(c *client.Client) ([]api.Generation, error) { return c.History(ctx, names) })
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	slices.SortFunc(generations, func(x, y api.Generation) int { return cmp.Compare(y.Generation, x.Generation) })
	var matches []string
	for _, g := range generations {
		if g.State == "superseded" && g.Activated != nil {
			matches = append(matches, strconv.Itoa(g.Generation)+"\t"+g.Name+" at "+g.Release+": "+g.Cause)
		}
	}
	return matches, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}
