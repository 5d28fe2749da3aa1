// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// answerTime bounds one question to a socket: HAProxy answers at once or hangs.
const answerTime = 10 * time.Second

// errNotRunning: no process listens at the socket.
var errNotRunning = errors.New("HAProxy does not run")

// ask sends one command to a socket in the proxy's directory and returns the whole answer.
func (p *instance) ask(ctx context.Context, socket, command string) (string, error) {
	path := filepath.Join(p.dir, socket)
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			return "", fmt.Errorf("cannot ask the proxy at %s: %w", path, errNotRunning)
		}
		return "", fmt.Errorf("cannot ask the proxy at %s: %w", path, ended(ctx, err))
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })
	defer stop()
	answer, err := exchange(conn, command)
	if err != nil {
		return "", fmt.Errorf("cannot ask the proxy %q: %w", command, ended(ctx, err))
	}
	return answer, nil
}

// ended returns why ctx ended, if that is what err comes from, else err.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return context.DeadlineExceeded // the dialer has ctx's deadline, but a clock of its own
	}
	return err
}

func exchange(conn net.Conn, command string) (string, error) {
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return "", err
	}
	// The master's socket answers only when it knows that no more commands follow.
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			return "", err
		}
	}
	answer, err := io.ReadAll(conn)
	return strings.TrimSpace(string(answer)), err
}

// tell sends a command that is silent when it succeeds, or says what it did in a line that
// contains one of expected.
func (p *instance) tell(ctx context.Context, command string, expected ...string) error {
	answer, err := p.ask(ctx, runtimeSocket, command)
	if err != nil {
		return err
	}
	if answer == "" {
		return nil
	}
	for _, text := range expected {
		if strings.Contains(answer, text) {
			return nil
		}
	}
	return fmt.Errorf("the proxy refused %q: %s", command, answer)
}

// running returns the description of the configuration that the serving process has.
func (p *instance) running(ctx context.Context) (string, error) {
	answer, err := p.ask(ctx, runtimeSocket, "show info")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(answer) {
		if key, value, found := strings.Cut(line, ":"); found && strings.EqualFold(key, "description") {
			return strings.TrimSpace(value), nil
		}
	}
	return "", nil
}

// live is what the process has in one slot.
type live struct {
	address netip.AddrPort
	state   State
}

// liveServers returns what is in each slot, by "backend/slot".
func (p *instance) liveServers(ctx context.Context) (map[string]live, error) {
	answer, err := p.ask(ctx, runtimeSocket, "show servers state")
	if err != nil {
		return nil, err
	}
	servers, err := parseServersState(answer)
	if err != nil {
		return nil, fmt.Errorf("cannot understand the proxy's answer to \"show servers state\": %w", err)
	}
	return servers, nil
}

// Bits of srv_admin_state, from HAProxy's management guide ("show servers state").
const (
	adminForcedMaint    = 0x01
	adminInheritedMaint = 0x02
	adminForcedDrain    = 0x08
	adminInheritedDrain = 0x10
	adminResolveMaint   = 0x20
	adminHostnameMaint  = 0x40
)

// parseServersState reads the table that starts with its version and a line of column names.
func parseServersState(answer string) (map[string]live, error) {
	lines := strings.Split(answer, "\n")
	if len(lines) < 2 || !strings.HasPrefix(lines[1], "# ") {
		return nil, fmt.Errorf("no line of column names in %q", answer)
	}
	columns := map[string]int{}
	for i, name := range strings.Fields(lines[1][2:]) {
		columns[name] = i
	}
	servers := map[string]live{}
	for _, line := range lines[2:] {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		get := func(name string) string {
			if i, found := columns[name]; found && i < len(fields) {
				return fields[i]
			}
			return ""
		}
		ip, err := netip.ParseAddr(get("srv_addr"))
		if err != nil {
			return nil, fmt.Errorf("address in %q: %w", line, err)
		}
		port, err := strconv.ParseUint(get("srv_port"), 10, 16)
		if err != nil {
			return nil, fmt.Errorf("port in %q: %w", line, err)
		}
		admin, err := strconv.Atoi(get("srv_admin_state"))
		if err != nil {
			return nil, fmt.Errorf("state in %q: %w", line, err)
		}
		state := Ready
		switch {
		case admin&(adminForcedMaint|adminInheritedMaint|adminResolveMaint|adminHostnameMaint) != 0:
			state = Maint
		case admin&(adminForcedDrain|adminInheritedDrain) != 0:
			state = Drain
		}
		servers[get("be_name")+"/"+get("srv_name")] = live{netip.AddrPortFrom(ip, uint16(port)), state}
	}
	return servers, nil
}

// stat is one line of "show stat".
type stat struct {
	sessions int // open now
	limit    int // -1 where it has none
}

// stats returns the lines by "proxy/FRONTEND" and "proxy/slot", summed over the serving
// process and those that still finish after a reload.
func (p *instance) stats(ctx context.Context) (map[string]stat, error) {
	answer, err := p.ask(ctx, runtimeSocket, "show stat")
	if err != nil {
		return nil, err
	}
	total, err := parseStat(answer)
	if err != nil {
		return nil, fmt.Errorf("cannot understand the proxy's answer to \"show stat\": %w", err)
	}
	processes, err := p.processes(ctx)
	if err != nil {
		return nil, err
	}
	for _, pid := range processes.former {
		answer, err := p.ask(ctx, masterSocket, "@!"+pid+" show stat")
		if err != nil {
			return nil, err
		}
		old, err := parseStat(answer)
		if err != nil {
			continue // it ended since it was listed
		}
		for name, s := range old {
			sum := total[name]
			sum.sessions += s.sessions
			total[name] = sum
		}
	}
	return total, nil
}

func parseStat(answer string) (map[string]stat, error) {
	body, found := strings.CutPrefix(answer, "# ")
	if !found {
		return nil, fmt.Errorf("no line of column names in %.80q", answer)
	}
	reader := csv.NewReader(strings.NewReader(body))
	reader.FieldsPerRecord = -1
	records, err := reader.ReadAll()
	if err != nil {
		return nil, err
	}
	columns := map[string]int{}
	for i, name := range records[0] {
		columns[name] = i
	}
	for _, name := range []string{"pxname", "svname", "scur", "slim"} {
		if _, found := columns[name]; !found {
			return nil, fmt.Errorf("there is no column %s", name)
		}
	}
	stats := map[string]stat{}
	for _, record := range records[1:] {
		if len(record) <= columns["slim"] {
			return nil, fmt.Errorf("short line %q", record)
		}
		s := stat{limit: -1}
		if s.sessions, err = strconv.Atoi(record[columns["scur"]]); err != nil {
			return nil, fmt.Errorf("sessions of %s: %w", record[columns["pxname"]], err)
		}
		if limit := record[columns["slim"]]; limit != "" {
			if s.limit, err = strconv.Atoi(limit); err != nil {
				return nil, fmt.Errorf("limit of %s: %w", record[columns["pxname"]], err)
			}
		}
		stats[record[columns["pxname"]]+"/"+record[columns["svname"]]] = s
	}
	return stats, nil
}
