// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// answerTime bounds one question to a socket: HAProxy answers at once or never.
const answerTime = 10 * time.Second

// beginTime is how long an answer may take to begin before the socket is told that no more questions
// follow.
const beginTime = time.Second

// mostAnswer is how many bytes an answer may have. The longest, "show stat", has less than a KiB for each
// front end and server: some hundred KiB for the whole of OpenStack.
const mostAnswer = 8 << 20

// errNotRunning: no process listens at the socket.
var errNotRunning = errors.New("HAProxy does not run")

// errUnanswered: the socket was closed before the answer began. The process has just stopped listening,
// or has replaced itself.
var errUnanswered = errors.New("HAProxy closed the connection without an answer")

// errTooLong: what listens there does not come to an end.
var errTooLong = fmt.Errorf("HAProxy's answer is longer than %d MiB; restart the proxy's container", mostAnswer>>20)

// errSilent: the connection is open, but nothing comes.
var errSilent = fmt.Errorf("HAProxy does not answer within %s", answerTime)

// ask sends one command to a socket in the proxy's directory and returns the whole answer. Where the
// socket is closed before it has answered, the command is sent again, until somebody answers or nobody
// listens: it must be one that may be given twice.
func (p *instance) ask(ctx context.Context, socket, command string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, errSilent)
	defer cancel()
	for {
		answer, err := p.askOnce(ctx, socket, command)
		if !errors.Is(err, errUnanswered) {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("cannot ask the proxy %q: %w: %w", command, context.Cause(ctx), err)
		case <-time.After(pollInterval):
		}
	}
}

// askOnce is ask for a command that must not be given twice.
func (p *instance) askOnce(ctx context.Context, socket, command string) (string, error) {
	path := filepath.Join(p.dir, socket)
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, errSilent)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return "", fmt.Errorf("cannot ask the proxy at %s: %w", path, errNotRunning)
	case errors.Is(err, syscall.EAGAIN): // as many as it accepts wait already
		return "", fmt.Errorf("cannot ask the proxy at %s: %w: %w", path, errUnanswered, err)
	case err != nil:
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

// exchange sends a command and reads to the end of the connection, but no more than mostAnswer.
//
// The master closes it only when it knows that no more commands follow. But it must not learn that
// while it deals with this one: where it has no such worker, which is so when one that finishes its
// connections ends just then, it says so and misses the end, and neither the connection nor its place
// among the ten that the master accepts is ever free again (seen with 3.0.11 and 3.2.26, in one of seven such
// questions). So it is told when the answer has begun, or does not begin.
func exchange(conn net.Conn, command string) (string, error) {
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return "", unanswered(err)
	}
	noMore := sync.OnceFunc(func() {
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite() // where the other end is closed already, reading says so
		}
	})
	late := time.AfterFunc(beginTime, noMore)
	defer late.Stop()
	var answer bytes.Buffer
	limited := io.LimitReader(conn, mostAnswer+1)
	part := make([]byte, 16<<10)
	for {
		n, err := limited.Read(part)
		answer.Write(part[:n])
		if n > 0 {
			noMore()
		}
		switch {
		case answer.Len() > mostAnswer:
			return "", errTooLong
		case err == nil:
		case answer.Len() == 0:
			return "", unanswered(err)
		case errors.Is(err, io.EOF):
			return strings.TrimSpace(answer.String()), nil
		default:
			return "", unanswered(err)
		}
	}
}

// unanswered makes the error of a connection that its other end has closed one that says so. HAProxy
// ends each answer with an empty line: one without a single byte is none.
func unanswered(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("%w: %w", errUnanswered, err)
	}
	return err
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
		old, err := p.former(ctx, pid)
		if err != nil {
			return nil, err
		}
		for name, s := range old {
			sum := total[name]
			sum.sessions += s.sessions
			total[name] = sum
		}
	}
	return total, nil
}

// former returns what a process still has open that finishes its connections after a reload; nothing
// where it ends meanwhile, which may be at any moment.
func (p *instance) former(ctx context.Context, pid string) (map[string]stat, error) {
	limited, cancel := context.WithTimeoutCause(ctx, 2*answerTime, errSilent)
	defer cancel()
	for {
		answer, err := p.askOnce(limited, masterSocket, "@!"+pid+" show stat")
		if err == nil {
			var open map[string]stat
			if open, err = parseStat(answer); err == nil {
				return open, nil
			}
		}
		now, listing := p.processes(ctx)
		if listing != nil {
			return nil, listing
		}
		if !slices.Contains(now.former, pid) {
			return nil, nil
		}
		select {
		case <-limited.Done():
			return nil, fmt.Errorf("cannot see what process %s of the proxy still has open: %w", pid, ended(limited, err))
		case <-time.After(pollInterval):
		}
	}
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
