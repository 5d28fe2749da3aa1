// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// pollInterval is how often a state that HAProxy does not announce is looked at.
const pollInterval = 20 * time.Millisecond

// masterTime is how long the master may be away while workers serve: ten seconds were seen where thirty
// other programs wanted the same two processors.
const masterTime = time.Minute

// processes is what the master says about its workers.
type processes struct {
	// failed reports that the last reload failed: the workers are those from before it.
	failed  bool
	current []string // process ids
	former  []string // that finish what they have
}

var failedReloads = regexp.MustCompile(`\[failed: (\d+)\]`)

// processes asks the master. HAProxy's answer has a section for each kind:
//
//	#<PID>  <type>  <reloads>      <uptime>    <version>
//	1162    master  1 [failed: 0]  0d00h02m07s 3.0.1
//	# workers
//	1271    worker  0              0d00h00m00s 3.0.1
//	# old workers
//	1233    worker  1              0d00h00m43s 3.0.1
//
// The master's socket is away for a moment after a start and in a reload, while workers serve.
func (p *instance) processes(ctx context.Context) (processes, error) {
	waiting, cancel := context.WithTimeout(ctx, masterTime)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		answer, err := p.ask(ctx, masterSocket, "show proc")
		if err == nil {
			return parseProcesses(answer), nil
		}
		if !errors.Is(err, errNotRunning) {
			return processes{}, err
		}
		if _, err := p.running(ctx); err != nil {
			return processes{}, err
		}
		select {
		case <-ctx.Done():
			return processes{}, fmt.Errorf("cannot ask the proxy's master: %w", context.Cause(ctx))
		case <-waiting.Done():
			return processes{}, errors.New("cannot ask the proxy's master: its socket does not answer; restart the proxy's container")
		case <-ticker.C:
		}
	}
}

func parseProcesses(answer string) processes {
	var all processes
	section := ""
	for line := range strings.Lines(answer) {
		line = strings.TrimSpace(line)
		if title, found := strings.CutPrefix(line, "# "); found {
			section = title
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch {
		case fields[1] == "master":
			failed := failedReloads.FindStringSubmatch(line)
			all.failed = failed != nil && failed[1] != "0"
		case fields[1] == "worker" && section == "workers":
			all.current = append(all.current, fields[0])
		case fields[1] == "worker" && section == "old workers":
			all.former = append(all.former, fields[0])
		}
	}
	return all
}

// reload makes the master read its configuration again and waits until a worker with the
// description wanted serves. Workers from before finish what they have by themselves.
func (p *instance) reload(ctx context.Context, wanted string) error {
	before, err := p.processes(ctx)
	if err != nil {
		return err
	}
	// The master replaces itself and may close the connection without a word.
	if answer, err := p.askOnce(ctx, masterSocket, "reload"); err == nil && strings.HasPrefix(answer, "Success=0") {
		return refusedReload(answer)
	} else if err != nil && ctx.Err() != nil {
		return err
	}
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		now, err := p.processes(ctx)
		if err == nil && now.failed {
			return refusedReload("")
		}
		if errors.Is(err, errNotRunning) {
			return fmt.Errorf("cannot reload the proxy: it has ended meanwhile: %w", err)
		}
		if err == nil && replaced(before, now) {
			if description, err := p.running(ctx); err == nil && description == wanted {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot see the proxy's new process: %w; the proxy's log says more", context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

// replaced reports whether all that served before has a successor.
func replaced(before, now processes) bool {
	if len(now.current) == 0 {
		return false
	}
	for _, pid := range before.current {
		for _, serving := range now.current {
			if pid == serving {
				return false
			}
		}
	}
	return true
}

func refusedReload(answer string) error {
	detail := "the proxy's log says why, most often a port that is taken"
	for line := range strings.Lines(answer) {
		if strings.Contains(line, "[ALERT]") {
			detail = strings.TrimSpace(line)
			break
		}
	}
	return fmt.Errorf("cannot reload the proxy, it goes on as before: %s", detail)
}
