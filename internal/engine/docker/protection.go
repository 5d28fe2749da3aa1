// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"strings"

	"github.com/moby/moby/api/types/system"
)

// securityOptions returns the names of the protections that the engine reports: newer ones write
// "name=seccomp,profile=builtin", older ones "seccomp".
func securityOptions(reported []string) []string {
	names := make([]string, 0, len(reported))
	for _, option := range reported {
		name, _, _ := strings.Cut(option, ",")
		names = append(names, strings.TrimPrefix(name, "name="))
	}
	return names
}

// unlimited are the resources whose limits the engine says it cannot enforce.
func unlimited(info system.Info) []string {
	var names []string
	for _, one := range []struct {
		name     string
		enforced bool
	}{{"memory", info.MemoryLimit}, {"processes", info.PidsLimit}, {"CPU", info.CPUCfsQuota}} {
		if !one.enforced {
			names = append(names, one.name)
		}
	}
	return names
}
