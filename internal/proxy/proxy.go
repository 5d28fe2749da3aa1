// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package proxy keeps HAProxy in step with a routing table: which front end goes to which
// generation of a container.
//
// The table is rendered into haproxy.cfg first and then made true in the running process, so
// a restart of HAProxy at any moment comes up with what was last wanted. Every front end has
// two slots, a and b: while one generation serves in the one, its successor is put into the
// other, made ready, and the first is drained. A change of slots needs no reload and fails no
// request; a change of front ends reloads the process, which hands its listening sockets over.
//
// The agent and HAProxy must see the directory under the same path. In it, each generation of
// HAProxy's container has a directory for its sockets: while one replaces another, both serve, and
// what is done is done to both.
package proxy

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// Names of files in the proxy's directory.
const (
	configFile    = "haproxy.cfg"
	runtimeSocket = "runtime.sock"
	masterSocket  = "master.sock"
)

// Table is everything that HAProxy is to do.
type Table struct {
	Backends []Backend
}

// Backend is one service: where clients find it, and the two slots that serve it.
type Backend struct {
	// Name is the front end's, e.g. "keystone".
	Name string
	// Mode is "http" or "tcp".
	Mode string
	// Addresses and Port are where clients connect.
	Addresses []string
	Port      int
	// CheckPath is asked of a ready server in http mode, every two seconds; "" asks nothing.
	// A server is never checked in tcp mode: databases count a connection without a login
	// as an attack.
	CheckPath string
	// Servers are the slots a and b.
	Servers [2]Server
}

// State is what a server may be given.
type State string

// The states of a server, in HAProxy's words.
const (
	Ready State = "ready" // new connections
	Drain State = "drain" // no new ones; those that are open go on
	Maint State = "maint" // nothing
)

// Server is what is in a slot.
type Server struct {
	// Address is "IP:port"; an empty slot has "" and is in maintenance whatever State says.
	Address string
	State   State
	// Generation is for the reader of the configuration.
	Generation int
}

// Slot is one of the two places for a server.
type Slot int

// The slots of every front end.
const (
	SlotA Slot = 0
	SlotB Slot = 1
)

func (s Slot) String() string { return string(rune('a' + s)) }

// Proxy is the HAProxy whose files are in one directory. It is safe for concurrent use.
type Proxy struct {
	dir string
	// syncing keeps one table from overtaking another between the file and the process.
	syncing sync.Mutex
}

// New returns the proxy that lives in dir, which must exist when it is used.
func New(dir string) *Proxy { return &Proxy{dir: dir} }

// startScript is how HAProxy must be started for this package to find it, with SocketsVariable set: in
// the foreground, as master and worker, with the master's socket among its generation's. After
// Handover it asks the generation before it for its listening sockets (-x).
//
// SIGUSR1, which lets it finish, may come when the master cannot do with it what it should: after a start
// and a reload the master sets itself up anew while its worker serves already. HAProxy 3.0 drops what
// it is sent meanwhile (mworker_loop in its haproxy.c sets the signal to SIG_IGN first) and would go on
// for ever, 3.2 would die of it and cut off what its worker has accepted. So the master does not get it
// before it asks for it (env --block-signal), and the shell stays and sends it again and again, with
// pauses that double, until the master has ended. One that finishes what it has does not mind.
const startScript = `old=$PROXY_SOCKETS/previous/runtime.sock haproxy= stopping= repeating=
finish() {
  stopping=yes
  test -n "$haproxy" || return
  (pause=1; while kill -USR1 $haproxy; do sleep $pause; pause=$((2 * pause)); done) >/dev/null 2>&1 &
  repeating="$repeating $!"
}
trap finish USR1
for signal in HUP INT QUIT TERM USR2; do trap "kill -$signal \$haproxy" $signal; done
env --block-signal=USR1 haproxy -W -db -S "$PROXY_SOCKETS/master.sock,mode,600" -f "$0" $(test ! -S "$old" || echo "-x $old") &
haproxy=$!
test -z "$stopping" || finish
while wait $haproxy; status=$?; kill -0 $haproxy 2>/dev/null; do :; done
wait $haproxy; last=$?
kill $repeating 2>/dev/null
test $last = 127 && exit $status || exit $last`

// Command is the command of HAProxy's container. It ends by SIGUSR1, which lets it finish the
// connections that it has; SIGTERM cuts them off.
func Command(dir string) []string {
	return []string{"/bin/sh", "-c", startScript, ConfigPath(dir)}
}

// ConfigPath is the configuration file in a proxy's directory.
func ConfigPath(dir string) string { return filepath.Join(dir, configFile) }

// What may stand in the configuration as it is: nothing that HAProxy would take apart.
var (
	nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
	pathForm = regexp.MustCompile(`^/[A-Za-z0-9_.~/?=&%-]*$`)
	dirForm  = regexp.MustCompile(`^/[A-Za-z0-9_./-]*$`)
)

// Validate reports the first thing in the table that HAProxy could not do, or that would mean
// something else to it.
func (t Table) Validate() error {
	names := map[string]bool{}
	binds := map[netip.AddrPort]string{}
	for _, b := range t.Backends {
		if !nameForm.MatchString(b.Name) {
			return fmt.Errorf("cannot route to %q: a front end's name is letters, digits, dots, dashes and underscores", b.Name)
		}
		if names[b.Name] {
			return fmt.Errorf("cannot route to %s: two front ends have this name", b.Name)
		}
		names[b.Name] = true
		if err := b.validate(); err != nil {
			return fmt.Errorf("cannot route to %s: %w", b.Name, err)
		}
		for _, address := range b.Addresses {
			ip, _ := netip.ParseAddr(address)
			bind := netip.AddrPortFrom(ip, uint16(b.Port))
			if other, taken := binds[bind]; taken && other != b.Name {
				return fmt.Errorf("cannot route to %s: %s is taken by front end %s", b.Name, bind, other)
			}
			binds[bind] = b.Name
		}
	}
	return nil
}

func (b Backend) validate() error {
	if b.Mode != "http" && b.Mode != "tcp" {
		return fmt.Errorf("mode %q is neither http nor tcp", b.Mode)
	}
	if len(b.Addresses) == 0 {
		return fmt.Errorf("it has no address to listen on")
	}
	for _, address := range b.Addresses {
		if _, err := netip.ParseAddr(address); err != nil {
			return fmt.Errorf("%q is not an IP address", address)
		}
	}
	if b.Port < 1 || b.Port > 65535 {
		return fmt.Errorf("%d is not a port", b.Port)
	}
	if b.CheckPath != "" && !pathForm.MatchString(b.CheckPath) {
		return fmt.Errorf("check path %q is not the path of a URL", b.CheckPath)
	}
	for i, server := range b.Servers {
		if server.Address == "" {
			continue
		}
		address, err := netip.ParseAddrPort(server.Address)
		if err != nil || address.Port() == 0 {
			return fmt.Errorf("server %s: %q is not an address and port", Slot(i), server.Address)
		}
		if server.State != Ready && server.State != Drain && server.State != Maint {
			return fmt.Errorf("server %s: state %q is not one of ready, drain, maint", Slot(i), server.State)
		}
	}
	return nil
}

// emptyAddress stands in an empty slot. Nothing listens there, and nothing is sent there.
var emptyAddress = netip.MustParseAddrPort("127.0.0.1:1")

// effective returns what HAProxy is to have in a slot.
func (s Server) effective() (netip.AddrPort, State) {
	if s.Address == "" {
		return emptyAddress, Maint
	}
	address, _ := netip.ParseAddrPort(s.Address)
	return address, s.State
}

// mostInDir is how long the path of the proxy's directory may be.
const mostInDir = 107 - len("/1234567/runtime.sock.4194304.tmp")

func checkDir(dir string) error {
	if !dirForm.MatchString(dir) || strings.Contains(dir, "..") {
		return fmt.Errorf("cannot keep the proxy in %q: it must be an absolute path of letters, digits and ._-", dir)
	}
	// A path of a unix socket has 107 bytes. There is one that leads through the link to the generation
	// before, and HAProxy appends its process id and ".tmp" to the others.
	if len(dir) > mostInDir {
		return fmt.Errorf("cannot keep the proxy in %s: its path is longer than %d bytes", dir, mostInDir)
	}
	return nil
}
