// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
)

// maxconn is how many connections a front end accepts. Hold sets it to 0 and Release back.
const maxconn = 4096

// head is all that does not depend on the table.
//
//   - fd-hard-limit: HAProxy derives its connection limit and the size of its tables from the
//     limit on files, and an engine's million of them would cost 100 MB.
//   - expose-fd listeners: a reload hands the listening sockets over, and so does one generation of
//     HAProxy's container to the next.
//   - httpclose: a client's next request is a new connection, so it can be held in the
//     kernel's backlog while what is behind is replaced, and no connection outlives a drain.
//   - retry-on: a server that stopped before it took the connection, or closed it without a
//     byte, has not answered: another try is what the client would do.
//   - timeouts: image transfers and slow API calls pause for minutes, consoles for hours.
const head = `# Written by Copse; changes made here are lost.
global
    description %s
    stats socket "${%s}/%s" mode 600 level admin expose-fd listeners
    stats timeout 1m
    log stdout format raw local0 info
    fd-hard-limit 20000
    hard-stop-after 24h

defaults
    log global
    mode http
    option httplog
    option dontlognull
    option httpclose
    option redispatch
    option tcpka
    retries 3
    retry-on conn-failure empty-response
    backlog 4096
    maxconn %d
    timeout connect 5s
    timeout http-request 30s
    timeout client 10m
    timeout server 10m
    timeout queue 1m
    timeout check 5s
    timeout tunnel 24h
`

// httpFront gives each request an id that the services log and pass on, in the form that
// oslo.middleware accepts, and tells them what the client used. Its log joins that id with the one
// that the service answers with, which is what the client knows. Only requests that may be sent
// twice are: after an empty answer nobody knows whether the first was carried out.
const httpFront = `    option forwardfor
    http-request set-header X-Openstack-Request-Id req-%[uuid()] unless { req.hdr(X-Openstack-Request-Id) -m found }
    http-request set-header X-Forwarded-Proto http
    http-request capture req.hdr(X-Openstack-Request-Id) len 40
    capture response header X-Openstack-Request-Id len 40
    http-request disable-l7-retry unless METH_GET || METH_OPTIONS
`

// Render returns the configuration for a table of the proxy that is kept in dir. The same table
// gives the same bytes.
func Render(dir string, table Table) ([]byte, error) {
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	if err := table.Validate(); err != nil {
		return nil, err
	}
	return render(table, description(table)), nil
}

// description names the structure of a configuration: all of it but what is in the slots. The
// running process reports it, so whether a reload is needed can be asked of the process itself.
func description(table Table) string {
	empty := Table{Backends: make([]Backend, len(table.Backends))}
	for i, backend := range table.Backends {
		backend.Servers = [2]Server{}
		empty.Backends[i] = backend
	}
	sum := sha256.Sum256(render(empty, ""))
	return "copse-" + hex.EncodeToString(sum[:8])
}

func render(table Table, description string) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, head, description, SocketsVariable, runtimeSocket, maxconn)
	for _, backend := range table.Backends {
		renderBackend(&out, backend)
	}
	return out.Bytes()
}

func renderBackend(out *bytes.Buffer, b Backend) {
	fmt.Fprintf(out, "\nfrontend %s\n", b.Name)
	if b.Mode == "tcp" {
		out.WriteString("    mode tcp\n    option tcplog\n    timeout client 24h\n")
	}
	seen := map[netip.Addr]bool{}
	for _, address := range b.Addresses {
		ip, _ := netip.ParseAddr(address)
		if !seen[ip] {
			seen[ip] = true
			fmt.Fprintf(out, "    bind %s\n", netip.AddrPortFrom(ip, uint16(b.Port)))
		}
	}
	if b.Mode == "http" {
		out.WriteString(httpFront)
	}
	fmt.Fprintf(out, "    default_backend %s\n", b.Name)

	fmt.Fprintf(out, "\nbackend %s\n", b.Name)
	checked := ""
	if b.Mode == "tcp" {
		out.WriteString("    mode tcp\n    timeout server 24h\n")
	} else if b.CheckPath != "" {
		fmt.Fprintf(out, "    option httpchk GET %s\n", b.CheckPath)
		checked = " check inter 2s fastinter 500ms rise 1 fall 3"
	}
	for i, server := range b.Servers {
		address, state := server.effective()
		if server.Address != "" {
			fmt.Fprintf(out, "    # generation %s, %s\n", strconv.Itoa(server.Generation), server.State)
		}
		disabled := ""
		if state != Ready {
			// A process that starts with this file has no connection to drain.
			disabled = " disabled"
		}
		fmt.Fprintf(out, "    server %s %s%s%s\n", Slot(i), address, checked, disabled)
	}
}
