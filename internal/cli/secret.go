// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/client"
)

func (a *app) secret() *cobra.Command {
	ls := &cobra.Command{
		Use:   "ls",
		Short: "List secrets, their versions and what uses them; never their values",
		Args:  arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			secrets, err := a.listSecrets(ctx)
			if err != nil {
				return err
			}
			return a.view.Secrets(secrets)
		},
	}
	rotate := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Make a new version of a secret",
		Long: `Make a new version of a secret. Containers that use it get it with their next generation:
` + "`copse up`" + ` makes that, and ` + "`copse plan`" + ` names them.`,
		Args: arguments(1, 1, "the NAME of a secret"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			names, _ := a.secretNames(cmd.Context()) // no names, no completion
			return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, start) }), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			secret, err := ask(a, func(c *client.Client) (*api.Secret, error) { return c.RotateSecret(ctx, args[0]) })
			if err != nil {
				return a.nameTheSecret(ctx, args[0], err)
			}
			return a.view.SecretRotated(secret)
		},
	}
	return parent("secret", "List and rotate secrets", ls, rotate)
}

// nameTheSecret puts the nearest name beside the agent's "not found".
func (a *app) nameTheSecret(ctx context.Context, name string, err error) error {
	answer := (*api.Error)(nil)
	if !errors.As(err, &answer) || answer.Code != "not-found" {
		return err
	}
	known, listErr := a.secretNames(ctx)
	if listErr != nil {
		return err
	}
	return &api.Error{Code: "not-found", Message: "no secret is called " + quoted(name) + hint(name, known) + ": `copse secret ls` lists them"}
}

func (a *app) listSecrets(ctx context.Context) ([]api.Secret, error) {
	return ask(a, func(c *client.Client) ([]api.Secret, error) { return c.Secrets(ctx) })
}

func (a *app) secretNames(ctx context.Context) ([]string, error) {
	secrets, err := a.listSecrets(ctx)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(secrets))
	for _, s := range secrets {
		names = append(names, s.Name)
	}
	return names, nil
}
