// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Network is a kind of socket, by the name of its table in /proc/net.
type Network string

// The kinds of sockets that are read.
const (
	TCP  Network = "tcp"
	TCP6 Network = "tcp6"
	UDP  Network = "udp"
	UDP6 Network = "udp6"
	Unix Network = "unix"
)

// SocketState is what a socket is doing, as far as a check asks.
type SocketState string

const (
	// Listening sockets accept connections; a bound UDP socket without a peer counts too.
	Listening SocketState = "listening"
	// Established sockets have a peer.
	Established SocketState = "established"
	// Other is everything in between: connecting, closing, unconnected.
	Other SocketState = "other"
)

// Socket is one line of a socket table of the caller's network namespace.
type Socket struct {
	Network Network
	State   SocketState
	// Local and Remote are set for TCP and UDP. An IPv4 peer of an IPv6 socket is given as IPv4.
	Local, Remote netip.AddrPort
	// Path is set for unix sockets that have a name; abstract names begin with "@".
	Path string
	// Inode joins the socket with the processes that hold it, see [Owners]. It
	// is 0 for sockets that no process holds any more.
	Inode uint64
}

// Sockets reads the tables of the given networks, or of all when none is
// named, in that order. The network namespace is the caller's own. A table the
// kernel does not have (no IPv6) counts as empty.
func Sockets(networks ...Network) ([]Socket, error) { return Proc.Sockets(networks...) }

// Sockets is the function [Sockets] for a proc file system mounted elsewhere.
func (d Dir) Sockets(networks ...Network) ([]Socket, error) {
	if len(networks) == 0 {
		networks = []Network{TCP, TCP6, UDP, UDP6, Unix}
	}
	var sockets []Socket
	for _, network := range networks {
		table, err := d.table(network)
		if err != nil {
			return nil, fmt.Errorf("cannot read the %s sockets: %w", network, err)
		}
		sockets = append(sockets, table...)
	}
	return sockets, nil
}

func (d Dir) table(network Network) ([]Socket, error) {
	var parse func(Network, []string) (Socket, error)
	switch network {
	case TCP, TCP6, UDP, UDP6:
		parse = parseInet
	case Unix:
		parse = parseUnix
	default:
		return nil, errors.New("no such network; known are tcp, tcp6, udp, udp6, unix")
	}
	file, err := os.Open(filepath.Join(string(d), "net", string(network)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return parseTable(file, network, parse)
}

func parseTable(table io.Reader, network Network, parse func(Network, []string) (Socket, error)) ([]Socket, error) {
	var sockets []Socket
	scanner := bufio.NewScanner(table)
	scanner.Scan() // the head line
	for scanner.Scan() {
		fields := strings.Fields(scanner.Text())
		if len(fields) == 0 {
			continue
		}
		socket, err := parse(network, fields)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", scanner.Text(), err)
		}
		sockets = append(sockets, socket)
	}
	return sockets, scanner.Err()
}

// parseInet reads a line such as
// "0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 12345 …".
func parseInet(network Network, fields []string) (Socket, error) {
	const localField, remoteField, stateField, inodeField = 1, 2, 3, 9
	if len(fields) <= inodeField {
		return Socket{}, errors.New("too few fields")
	}
	local, err := parseAddrPort(fields[localField])
	if err != nil {
		return Socket{}, err
	}
	remote, err := parseAddrPort(fields[remoteField])
	if err != nil {
		return Socket{}, err
	}
	inode, err := strconv.ParseUint(fields[inodeField], 10, 64)
	if err != nil {
		return Socket{}, fmt.Errorf("inode %q is no number", fields[inodeField])
	}
	// The numbers are the kernel's include/net/tcp_states.h; a UDP socket uses
	// TCP_CLOSE for "bound, no peer".
	state := Other
	udp := network == UDP || network == UDP6
	switch fields[stateField] {
	case "01":
		state = Established
	case "0A":
		state = Listening
	case "07":
		if udp {
			state = Listening
		}
	}
	return Socket{Network: network, State: state, Local: local, Remote: remote, Inode: inode}, nil
}

// parseAddrPort reads an address as the kernel prints it: each group of four
// bytes as a 32-bit number in the machine's own byte order, then the port in
// plain hexadecimal.
func parseAddrPort(text string) (netip.AddrPort, error) {
	address, port, found := strings.Cut(text, ":")
	raw, err := hex.DecodeString(address)
	if !found || err != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, fmt.Errorf("%q is no address", text)
	}
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q has no port", text)
	}
	for group := range slices.Chunk(raw, 4) {
		binary.NativeEndian.PutUint32(group, binary.BigEndian.Uint32(group))
	}
	ip, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(ip.Unmap(), uint16(number)), nil
}

// parseUnix reads a line such as
// "ffff8e6c: 00000002 00000000 00010000 0001 01 12345 /run/x.sock".
func parseUnix(network Network, fields []string) (Socket, error) {
	const flagsField, stateField, inodeField, pathField = 3, 5, 6, 7
	if len(fields) <= inodeField {
		return Socket{}, errors.New("too few fields")
	}
	flags, err := strconv.ParseUint(fields[flagsField], 16, 32)
	if err != nil {
		return Socket{}, fmt.Errorf("flags %q are no number", fields[flagsField])
	}
	inode, err := strconv.ParseUint(fields[inodeField], 10, 64)
	if err != nil {
		return Socket{}, fmt.Errorf("inode %q is no number", fields[inodeField])
	}
	const acceptsConnections = 1 << 16 // __SO_ACCEPTCON of include/uapi/linux/net.h
	state := Other
	switch {
	case flags&acceptsConnections != 0:
		state = Listening
	case fields[stateField] == "03": // SS_CONNECTED
		state = Established
	}
	return Socket{Network: network, State: state, Path: strings.Join(fields[pathField:], " "), Inode: inode}, nil
}
