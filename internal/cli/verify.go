// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
	"copse/internal/tree"
	"copse/internal/verify"
	"copse/internal/view"
)

func (a *app) verify() *cobra.Command {
	var options verify.Options
	command := &cobra.Command{
		Use:   "verify [--step STEP] [--keep]",
		Short: "Prove the cloud by using it",
		Long: `Prove the cloud by using it as somebody would: a project with a user of its own gets a token,
uploads an image, makes a network with a router and a floating IP, and starts a server that must
answer ping and TCP and say what the metadata service told it. Then everything is removed again,
also where a step fails or on Ctrl-C. What an earlier run could not remove, this one finds.

What the service catalogue does not have is skipped: a cloud of keystone alone can be verified too.
The server is reached from the host that this runs on. Its guest, made of Debian's kernel and
busybox, is built where it is missing.

The steps: ` + strings.Join(verify.Steps(), ", ") + `, remove.`,
		Example: `  copse verify
  copse verify --step image
  copse verify --keep
  copse verify --clean`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			unlock, err := lockVerify(filepath.Dir(a.socket()))
			if err != nil {
				return err
			}
			defer unlock()
			return a.runVerify(cmd.Context(), options)
		},
	}
	flags := command.Flags()
	flags.StringArrayVar(&options.Only, "step", nil, "run only this `STEP` and what it needs; may be repeated")
	flags.BoolVar(&options.Keep, "keep", false, "leave everything for a look; the next verify removes it")
	flags.BoolVar(&options.Clean, "clean", false, "only remove what earlier runs have left")
	flags.StringVar(&options.Network, "network", "", "the `NAME` of the external network to use (default: the first with a subnet, else one that is made for it)")
	flags.DurationVar(&options.Limit, "limit", 5*time.Minute, "how long the cloud may take for one thing")
	completeFlag(command, "step", cobra.FixedCompletions(verify.Steps(), cobra.ShellCompDirectiveNoFileComp))
	return command
}

// runVerify asks the agent what there is and for the credentials, and verifies.
func (a *app) runVerify(ctx context.Context, options verify.Options) error {
	document, err := a.declared(ctx)
	if err != nil {
		return err
	}
	needsGuest, err := verify.Needs(options, document.Containers)
	if err != nil {
		return &usageError{err.Error()}
	}
	rc, err := ask(a, func(c *client.Client) (*api.OpenRC, error) { return c.OpenRC(ctx) })
	if err != nil {
		return err
	}
	options.Credentials = rc.Variables
	options.Provider = verify.Provider{
		Name: document.Values["PROVIDER_NAME"], CIDR: document.Values["PROVIDER_NETWORK"], Gateway: document.Values["PROVIDER_ADDRESS"],
	}
	for _, c := range document.Containers {
		for _, name := range []string{c.Name, c.Component} {
			if !slices.Contains(options.Deployed, name) {
				options.Deployed = append(options.Deployed, name)
			}
		}
	}
	if needsGuest {
		guest, err := a.buildGuest(ctx, release(document))
		if err != nil {
			return err
		}
		options.Guest = func(ctx context.Context) (verify.Guest, error) { return a.parts.takeGuest(ctx, guest) }
	}
	steps := a.view.Steps()
	var writeErr error
	options.Report = func(e verify.Event) { writeErr = errors.Join(writeErr, steps.Step(stepObject(e))) }
	err = a.parts.verify(ctx, options)
	failure := (*verify.Failure)(nil)
	if err != nil && !errors.As(err, &failure) {
		return err
	}
	if err := errors.Join(writeErr, steps.End()); err != nil {
		return err
	}
	if failure != nil {
		return exit(exitFailed) // its step has said it
	}
	return nil
}

// buildGuest makes sure that the guest's image is there.
func (a *app) buildGuest(ctx context.Context, release string) (tree.Image, error) {
	guest, err := a.parts.guestImage(ctx, a.declaration(""), release)
	if err != nil {
		return guest, err
	}
	found, err := a.parts.listImages(ctx, []tree.Image{guest})
	if err != nil || len(found) == 1 && found[0].Present {
		return guest, err
	}
	return guest, a.buildImages(ctx, []tree.Image{guest})
}

// release is that of what starts servers, or of anything.
func release(document *tree.Document) string {
	name := ""
	for _, c := range document.Containers {
		if name == "" || c.Component == "nova" {
			name = c.Release
		}
	}
	return name
}

// stepObject translates an event of a verification for the view.
func stepObject(e verify.Event) *view.Step {
	step := &view.Step{
		Type: "step", Step: e.Step, Summary: e.Sentence, Status: string(e.Status), StartedAt: e.Started.UTC(),
		Seconds: e.Elapsed.Round(time.Millisecond).Seconds(), Detail: e.Detail, Console: e.Console,
	}
	if e.Err != nil {
		step.Error = e.Err.Error()
	}
	if len(e.Look) > 0 {
		step.Look = []string{fmt.Sprintf("copse logs %s --since %s", strings.Join(e.Look, " "), e.Started.UTC().Format(time.RFC3339))}
	}
	return step
}

// lockVerify makes sure that this host verifies once at a time: a second run would take what the
// first has made for leftovers. Where the directory is not ours, there is no agent of ours either.
func lockVerify(directory string) (unlock func(), err error) {
	path := filepath.Join(directory, "verify.lock")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", path, err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		closeErr := file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errors.New("another `copse verify` runs on this host: wait until it is done")
		}
		return nil, fmt.Errorf("cannot verify the cloud: %w", errors.Join(err, closeErr))
	}
	// The lock goes with the file; nothing was written.
	return func() { _ = file.Close() }, nil
}
