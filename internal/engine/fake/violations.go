// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"fmt"
	"slices"
	"strings"

	"copse/internal/tree"
)

// Violations are what must never happen and happened, in order: two generations of one
// container that ran at the same time with a volume that both write (SharedVolume excepts
// volumes), and containers in the host's network that wanted the same port.
func (e *Engine) Violations() []string {
	e.lock()
	defer e.mu.Unlock()
	return slices.Clone(e.violations)
}

// base is the name of a container without its generation; see tree.GenerationName.
func base(name string) string {
	if at := strings.LastIndexByte(name, '.'); at > 0 {
		return name[:at]
	}
	return name
}

// checkVolumes notes other generations that write what c writes.
func (e *Engine) checkVolumes(c *containerState) {
	for _, other := range e.sorted() {
		if other == c || !other.running() || base(other.Name) != base(c.Name) {
			continue
		}
		for _, volume := range c.written() {
			if slices.Contains(other.written(), volume) && (e.SharedVolume == nil || !e.SharedVolume(volume)) {
				e.violations = append(e.violations,
					fmt.Sprintf("%s and %s both run and write volume %s", other.Name, c.Name, volume))
			}
		}
	}
}

// written are the named volumes that a container can write.
func (c *containerState) written() []string {
	var volumes []string
	for _, m := range c.Mounts {
		if m.Type == tree.NamedVolume && !m.ReadOnly {
			volumes = append(volumes, m.Source)
		}
	}
	return volumes
}

// ports are what a container listens on in the host's network.
func (c *containerState) ports() []string {
	if c.spec.NetworkMode != "host" {
		return nil
	}
	ports := slices.Clone(c.program.Ports)
	if port := c.spec.Environment["PORT"]; port != "" {
		ports = append(ports, port)
	}
	return ports
}

// takenPort is a port of c that another container has, or "".
func (e *Engine) takenPort(c *containerState) string {
	for _, other := range e.sorted() {
		if other == c || !other.running() {
			continue
		}
		for _, port := range c.ports() {
			if slices.Contains(other.ports(), port) {
				e.violations = append(e.violations,
					fmt.Sprintf("%s and %s both want port %s", other.Name, c.Name, port))
				return port
			}
		}
	}
	return ""
}
