// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"net"
)

// defaultFor is the address for those who give none: the one that the cloud has, while the host has it
// too, else the default route's. On another host it cannot be looked at, and is believed.
func defaultFor(former string, elsewhere bool) func() (string, error) {
	return func() (string, error) {
		if former != "" && (elsewhere || isOurs(former)) {
			return former, nil
		}
		return defaultAddress()
	}
}

// isOurs says whether an address is one of this host's.
func isOurs(address string) bool {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addresses {
		if network, ok := a.(*net.IPNet); ok && network.IP.Equal(net.ParseIP(address)) {
			return true
		}
	}
	return false
}

// defaultAddress is this host's own address on the default route. Connecting a UDP socket asks
// the kernel for the route and sends nothing; the far ends are addresses for documentation
// (RFC 5737, RFC 3849), which nobody has.
func defaultAddress() (string, error) {
	var errs []error
	for _, far := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		conn, err := net.Dial("udp", far)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		local, ok := conn.LocalAddr().(*net.UDPAddr)
		if err := conn.Close(); err != nil {
			return "", fmt.Errorf("cannot ask for the default route: %w", err)
		}
		if ok && !local.IP.IsUnspecified() {
			return local.IP.String(), nil
		}
	}
	return "", fmt.Errorf("this host has no default route (%w): give an address with --address", errors.Join(errs...))
}
