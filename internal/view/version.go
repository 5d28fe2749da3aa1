// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"strings"

	"copse/internal/api"
)

// VersionInfo is what `copse version` tells.
type VersionInfo struct {
	Version string `json:"version"`
	Level   int    `json:"level"`
	Go      string `json:"go"`
	// Agent is null where none answers; AgentError says why.
	Agent      *api.Version `json:"agent"`
	AgentError string       `json:"agent_error,omitempty"`
}

// Version renders `copse version`.
func (v *View) Version(info *VersionInfo) error {
	if v.options.Format == JSON {
		return v.object(info)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "copse   %s (API level %d, %s)\n", info.Version, info.Level, info.Go)
	if info.Agent == nil {
		fmt.Fprintf(&b, "agent   none: %s\n", clean(info.AgentError))
		return v.write(b.String())
	}
	a := info.Agent
	fmt.Fprintf(&b, "agent   %s (API level %d, store %d) on %s\n", clean(a.Version), a.Level, a.Schema, clean(or(a.Host, a.Engine.Hostname)))
	fmt.Fprintf(&b, "engine  %s %s (API %s, %s, cgroup %s)\n", clean(a.Engine.Name), clean(a.Engine.Version), clean(a.Engine.APIVersion),
		clean(a.Engine.StorageDriver), clean(a.Engine.CgroupVersion))
	return v.write(b.String())
}
