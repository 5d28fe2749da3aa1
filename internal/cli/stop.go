// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"copse/internal/plan"
)

func (a *app) stop() *cobra.Command {
	return a.lifecycle(plan.Stop, "Stop containers and keep them", `Stop containers, sets or components, dependents before what they depend on. They stay
stopped until `+"`copse start` or `copse up`"+`. Data is kept.`)
}
