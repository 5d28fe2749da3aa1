// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"runtime"

	"github.com/spf13/cobra"

	"copse/internal/api"
	"copse/internal/view"
)

// version is the program's; the linker sets it (see the Makefile).
var version = "dev"

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of the program, the agent and the engine",
		Args:  arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			info := view.VersionInfo{Version: version, Level: api.Level, Go: runtime.Version()}
			c, err := a.client()
			if err != nil {
				return err
			}
			agent, err := c.Version(cmd.Context())
			switch {
			case cmd.Context().Err() != nil:
				return cmd.Context().Err()
			case err != nil:
				info.AgentError = err.Error()
			default:
				info.Agent = &agent
			}
			return a.view.Version(&info)
		},
	}
}
