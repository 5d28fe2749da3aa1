// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"copse/internal/plan"
)

func (a *app) restart() *cobra.Command {
	return a.lifecycle(plan.Restart, "Stop and start containers", `Stop and start containers, sets or components in the order of their dependencies. Their
generation stays the same.`)
}
