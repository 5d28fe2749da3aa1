// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"

	"github.com/spf13/cobra"
)

func (a *app) completion() *cobra.Command {
	shells := []string{"bash", "fish", "zsh"}
	return &cobra.Command{
		Use:   "completion bash|fish|zsh",
		Short: "Print the completion script of a shell",
		Long: `Print a script that teaches a shell to complete commands, flags, and the names that the
agent knows.`,
		Example: `  source <(copse completion bash)
  copse completion fish | source
  source <(copse completion zsh)`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := arguments(1, 1, "the name of a shell")(cmd, args); err != nil {
				return err
			}
			if !slices.Contains(shells, args[0]) {
				return &usageError{"no completion for the shell " + quoted(args[0]) + hint(args[0], shells) + ": it is one of bash, fish, zsh"}
			}
			return nil
		},
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(a.streams.Out, true)
			case "fish":
				return cmd.Root().GenFishCompletion(a.streams.Out, true)
			}
			return cmd.Root().GenZshCompletion(a.streams.Out)
		},
	}
}
