// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package procfs

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestProcessesFindsThisOne(t *testing.T) {
	processes, err := Processes()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(processes, func(p Process) bool { return p.PID == os.Getpid() })
	if i < 0 {
		t.Fatalf("own process %d is not in the list", os.Getpid())
	}
	self := processes[i]
	if !slices.Equal(self.Cmdline, os.Args) || self.PPID != os.Getppid() || self.Zombie() || self.StartTicks == 0 {
		t.Errorf("own process read as %+v", self)
	}
}

// TestLongCommandLine: a process can give itself a command line of megabytes.
func TestLongCommandLine(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "7"), 0o755); err != nil {
		t.Fatal(err)
	}
	stat := "7 (bomb) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0"
	cmdline := "/bin/bomb\x00first\x00" + strings.Repeat("x", 4<<20) + "\x00last\x00"
	for name, content := range map[string]string{"stat": stat, "cmdline": cmdline} {
		if err := os.WriteFile(filepath.Join(dir, "7", name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	processes, err := Dir(dir).Processes()
	if err != nil || len(processes) != 1 {
		t.Fatalf("%d processes, %v; want one", len(processes), err)
	}
	p := processes[0]
	if len(p.Command()) > mostCmdline || len(p.Cmdline) != 3 || p.Cmdline[0] != "/bin/bomb" || p.Cmdline[1] != "first" {
		t.Errorf("%d arguments with %d bytes, the first %.20q; want what fits into %d bytes", len(p.Cmdline), len(p.Command()), p.Cmdline[0], mostCmdline)
	}
	if err := os.WriteFile(filepath.Join(dir, "7", "stat"), []byte(stat+strings.Repeat(" 0", 1<<20)), 0o644); err != nil {
		t.Fatal(err)
	}
	if content, err := readStart(filepath.Join(dir, "7", "stat"), mostStat); err != nil || len(content) != mostStat {
		t.Errorf("%d bytes of another file in the place of a process's are read, %v; want %d", len(content), err, mostStat)
	}
	// Empty arguments cost a byte of the process and sixteen here.
	if arguments := splitCmdline(make([]byte, mostCmdline)); len(arguments) > mostArguments {
		t.Errorf("%d empty arguments are told apart, want at most %d", len(arguments), mostArguments)
	}
	many := splitCmdline([]byte(strings.Repeat("a\x00", 2*mostArguments)))
	if got, want := (Process{Cmdline: many}).Command(), strings.TrimSuffix(strings.Repeat("a ", 2*mostArguments), " "); got != want {
		t.Errorf("the command line of many arguments is %.60q, want %.60q", got, want)
	}
}

func TestParseStat(t *testing.T) {
	tail := " 4 5 6 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 1 2\n"
	tests := map[string]Process{
		"12 (sh) S 1":                 {PID: 12, PPID: 1, Comm: "sh", State: 'S', StartTicks: 777},
		"13 (a b) (c)) Z 12":          {PID: 13, PPID: 12, Comm: "a b) (c)", State: 'Z', StartTicks: 777},
		"14 (newline\nin name) R 12":  {PID: 14, PPID: 12, Comm: "newline\nin name", State: 'R', StartTicks: 777},
		"15 () S 0":                   {PID: 15, Comm: "", State: 'S', StartTicks: 777},
		"2147483647 (big number) D 1": {PID: 2147483647, PPID: 1, Comm: "big number", State: 'D', StartTicks: 777},
	}
	for head, want := range tests {
		// fields 5 to 22 follow the parent
		got, err := parseStat([]byte(head + tail))
		if err != nil || got.PID != want.PID || got.Comm != want.Comm || got.State != want.State || got.PPID != want.PPID || got.StartTicks != want.StartTicks {
			t.Errorf("%q: got %+v, %v, want %+v", head, got, err, want)
		}
	}
	for _, bad := range []string{"", "12", "12 (sh", "x (sh) S 1" + tail, "12 (sh) S 1", "12 (sh) SS 1" + tail} {
		if got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: read as %+v, want an error", bad, got)
		}
	}
}

func TestSocketsAndTheirOwner(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp4", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	path := filepath.Join(t.TempDir(), "a b.sock")
	unixListener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer unixListener.Close()

	sockets, err := Sockets()
	if err != nil {
		t.Fatal(err)
	}
	find := func(what string, match func(Socket) bool) uint64 {
		t.Helper()
		i := slices.IndexFunc(sockets, match)
		if i < 0 {
			t.Fatalf("%s is not in the tables", what)
		}
		return sockets[i].Inode
	}
	port := netip.MustParseAddrPort(listener.Addr().String())
	inodes := []uint64{
		find("the listener", func(s Socket) bool { return s.Network == TCP && s.State == Listening && s.Local == port }),
		find("the client", func(s Socket) bool {
			return s.Network == TCP && s.State == Established && s.Remote == port && s.Local.String() == client.LocalAddr().String()
		}),
		find("the packet socket", func(s Socket) bool {
			return s.Network == UDP && s.State == Listening && s.Local.String() == packets.LocalAddr().String()
		}),
		find("the unix listener", func(s Socket) bool { return s.Network == Unix && s.State == Listening && s.Path == path }),
	}
	owners, _, err := Owners(inodes)
	if err != nil {
		t.Fatal(err)
	}
	for _, inode := range inodes {
		if !slices.Contains(owners[inode], os.Getpid()) {
			t.Errorf("socket %d is held by %v, want this process %d among them", inode, owners[inode], os.Getpid())
		}
	}
}

func TestParseInetTables(t *testing.T) {
	table := "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
		"   0: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 77 1\n" +
		"   1: B80D01200000000000000000010000FE:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 78 1\n" +
		"   2: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 06 00000000:00000000 00:00000000 00000000     0        0 0 1\n"
	sockets, err := parseTable(strings.NewReader(table), TCP6, parseInet)
	if err != nil {
		t.Fatal(err)
	}
	want := []Socket{
		{Network: TCP6, State: Established, Local: netip.MustParseAddrPort("127.0.0.1:8080"), Remote: netip.MustParseAddrPort("127.0.0.1:40000"), Inode: 77},
		{Network: TCP6, State: Listening, Local: netip.MustParseAddrPort("[2001:db8::fe00:1]:80"), Remote: netip.MustParseAddrPort("[::]:0"), Inode: 78},
		{Network: TCP6, State: Other, Local: netip.MustParseAddrPort("[::]:80"), Remote: netip.MustParseAddrPort("[::]:0")},
	}
	if !slices.Equal(sockets, want) {
		t.Errorf("got %+v\nwant %+v", sockets, want)
	}
	for _, bad := range []string{"0: x y 0A", "0: 0100007F:1F90 00000000 0A a b c d e 1", "0: 0100007F:1F90 00000000:0000 0A a b c d e x"} {
		if got, err := parseTable(strings.NewReader("head\n"+bad+"\n"), TCP, parseInet); err == nil {
			t.Errorf("%q: read as %+v, want an error", bad, got)
		}
	}
}

func TestMissingTableIsEmptyAndUnknownNetworkAnError(t *testing.T) {
	empty := Dir(t.TempDir())
	if sockets, err := empty.Sockets(TCP6); err != nil || len(sockets) != 0 {
		t.Errorf("a missing table gave %v, %v", sockets, err)
	}
	if _, err := empty.Sockets("sctp"); err == nil || !strings.Contains(err.Error(), "sctp") {
		t.Errorf("an unknown network gave %v, want an error that names it", err)
	}
}
