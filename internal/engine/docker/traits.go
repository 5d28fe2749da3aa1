// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"strings"

	"github.com/moby/moby/client"
	"github.com/moby/moby/client/pkg/versions"
)

// clipsSince is the first API version (Engine 23.0) whose engine takes the capabilities of
// "privileged" and "ALL" from its own bounding set, and refuses to drop what is not in it. Older ones ask
// for every capability that the kernel knows, and the container does not start where one is missing.
// Seen with 20.10, 26.1 and 28.5.
const clipsSince = "1.42"

// traits are the differences between engines, as data.
type traits struct {
	// name is what engine.Info shows.
	name string
	// clips: "privileged" and cap_add ALL give what the host can give, without help.
	clips bool
}

// traitsOf tells the engines apart by the components that they report.
func traitsOf(version client.ServerVersionResult, apiVersion string) traits {
	for _, component := range version.Components {
		if strings.HasPrefix(component.Name, "Podman") {
			return traits{name: "Podman", clips: true}
		}
	}
	return traits{name: "Docker Engine", clips: versions.GreaterThanOrEqualTo(apiVersion, clipsSince)}
}
