// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The flags that several commands have, each with one name and one meaning.

func addressFlag(flags *pflag.FlagSet, address *string) {
	flags.StringVar(address, "address", "", "the `IP` address where the APIs are offered (default: that of the default route)")
}

func atomicFlag(flags *pflag.FlagSet, atomic *bool) {
	flags.BoolVar(atomic, "atomic", false, "undo everything where one container fails")
}

func detachFlag(flags *pflag.FlagSet, detach *bool) {
	flags.BoolVarP(detach, "detach", "d", false, "do not follow the change")
}

func dryRunFlag(flags *pflag.FlagSet, dryRun *bool) {
	flags.BoolVar(dryRun, "dry-run", false, "only show what would be done")
}

func noBuildFlag(flags *pflag.FlagSet, noBuild *bool) {
	flags.BoolVar(noBuild, "no-build", false, "do not build images that are missing")
}

func unpinFlag(flags *pflag.FlagSet, unpin *bool) {
	flags.BoolVar(unpin, "unpin", false, "have the named follow the cloud file, whatever upgrades and rollbacks have made of them")
}

// yesFlag is for what is asked; what says how far the answer goes.
func yesFlag(flags *pflag.FlagSet, yes *bool, what string) {
	flags.BoolVarP(yes, "yes", "y", false, what)
}

// completeFlag has a shell complete the values of a flag that the command has.
func completeFlag(command *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if err := command.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // there is no such flag, which every run of the program would find
	}
}
