// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"copse/internal/tree"
)

// standaloneConfig is where the proxy finds its configuration when no agent writes one.
const standaloneConfig = "/etc/copse/haproxy.cfg"

// proxy gives the proxy's service a configuration of its own and a private directory in place
// of the one that it shares with the agent.
func (r *renderer) proxy(file *composeDocument, s *composeService, c *tree.Container) {
	directory := c.Proxy.Directory
	s.Volumes = slices.DeleteFunc(s.Volumes, func(m composeMount) bool { return m.Type == "bind" && m.Source == directory })
	uid, gid, _ := userIDs(c.Spec.User)
	s.Tmpfs = append(s.Tmpfs, fmt.Sprintf("%s:mode=0750,uid=%d,gid=%d,size=16m", directory, uid, gid))
	for i, argument := range s.Command {
		s.Command[i] = strings.ReplaceAll(argument, path.Join(directory, "haproxy.cfg"), standaloneConfig)
	}
	name := c.Name + "-standalone"
	file.Configs[name] = composeContent{Content: r.proxyConfig(directory)}
	s.Configs = append(s.Configs, composeFileMount{Source: name, Target: standaloneConfig, Mode: "0444"})
	s.ReadOnly = false
}

// proxyConfig is a configuration for HAProxy with one server behind each front end.
func (r *renderer) proxyConfig(directory string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `global
    log stdout format raw local0 notice
    stats socket %s mode 0600 level admin

defaults
    log global
    mode http
    option httpclose
    option forwardfor
    option redispatch
    retries 3
    retry-on conn-failure empty-response
    timeout connect 5s
    timeout client 120s
    timeout server 120s
`, path.Join(directory, "runtime.sock"))
	for i := range r.doc.Containers {
		f := r.doc.Containers[i].Frontend
		if f == nil {
			continue
		}
		fmt.Fprintf(&b, "\nlisten %s\n    mode %s\n", f.Name, f.Mode)
		for _, address := range f.Addresses {
			fmt.Fprintf(&b, "    bind %s\n", hostPort(address, f.Port))
		}
		if f.Mode == "http" {
			b.WriteString("    http-request set-header X-Forwarded-Proto http\n")
			if f.CheckPath != "" {
				fmt.Fprintf(&b, "    option httpchk GET %s\n", f.CheckPath)
			}
		}
		fmt.Fprintf(&b, "    server %s %s check inter 2s\n", f.Name, hostPort(f.Internal, r.port(f)))
	}
	return b.String()
}

// hostPort writes an address as HAProxy reads it; IPv6 needs its brackets.
func hostPort(address string, port int) string {
	if strings.Contains(address, ":") {
		return fmt.Sprintf("[%s]:%d", address, port)
	}
	return fmt.Sprintf("%s:%d", address, port)
}
