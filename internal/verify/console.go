// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/remoteconsoles"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
)

const (
	// logLines is how much of the console's log is asked for.
	logLines = 200
	// lastLines is how much of it a failure shows.
	lastLines = 15
	// lastWordsLimit is how long a failure waits for it.
	lastWordsLimit = 15 * time.Second
)

// consoleLog waits until the guest's last word is in the console's log.
func (r *run) consoleLog(ctx context.Context) (string, error) {
	var lines []string
	err := r.wait(ctx, "the console's log has what the guest says", func(ctx context.Context) (bool, string, error) {
		var err error
		if lines, err = r.readLog(ctx); err != nil {
			return false, "", err
		}
		for _, line := range lines {
			if strings.Contains(line, guestReady) {
				return true, "", nil
			}
		}
		return false, fmt.Sprintf("it has %d lines without %q", len(lines), guestReady), nil
	})
	if err != nil {
		return "", err
	}
	for _, line := range lines {
		if _, said, ok := strings.Cut(line, guestMark); ok {
			return said, nil // its first words: which kernel is up
		}
	}
	return "", nil
}

// readLog returns the lines of the console's log without those that are empty.
func (r *run) readLog(ctx context.Context) ([]string, error) {
	nova, err := r.user.compute()
	if err != nil {
		return nil, err
	}
	text, err := servers.ShowConsoleOutput(ctx, nova, r.server, servers.ShowConsoleOutputOpts{Length: logLines}).Extract()
	if err != nil {
		return nil, fmt.Errorf("cannot read the console's log: %w", err)
	}
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// lastWords are the last lines of the console for a failure; nothing where there is no server or
// nova does not tell, which the failure itself then says well enough.
func (r *run) lastWords(ctx context.Context) []string {
	if r.server == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWordsLimit)
	defer cancel()
	lines, err := r.readLog(ctx)
	if err != nil {
		return nil
	}
	return lines[max(0, len(lines)-lastLines):]
}

// console asks for noVNC, loads its page, and does what the page does: it opens the web socket and
// waits for the screen to introduce itself.
func (r *run) console(ctx context.Context) (string, error) {
	nova, err := r.user.compute()
	if err != nil {
		return "", err
	}
	console, err := remoteconsoles.Create(whole(ctx), nova, r.server, remoteconsoles.CreateOpts{
		Protocol: remoteconsoles.ConsoleProtocolVNC, Type: remoteconsoles.ConsoleTypeNoVNC,
	}).Extract()
	if err != nil {
		return "", fmt.Errorf("cannot get the console's address: %w", err)
	}
	page, err := url.Parse(console.URL)
	if err != nil {
		return "", errors.New("cannot read the console's address, which nova gave")
	}
	// The address has a token in it that opens the console: it is not shown.
	shown := page.Scheme + "://" + page.Host + page.Path
	status, body, err := r.Probe.Get(ctx, console.URL)
	switch {
	case err != nil:
		return "", fmt.Errorf("cannot load %s: %w", shown, hide(err, page))
	case status != 200:
		return "", fmt.Errorf("%s answers %d", shown, status)
	case !strings.Contains(strings.ToLower(string(body)), "novnc"):
		return "", fmt.Errorf("%s answers, but it is not noVNC's page", shown)
	}
	version, err := r.Probe.Screen(ctx, socketAddress(page))
	if err != nil {
		return "", fmt.Errorf("cannot open the screen behind %s: %w", shown, hide(err, page))
	}
	return fmt.Sprintf("%s, and the screen answers (%s)", shown, version), nil
}

// socketAddress is where noVNC's page opens its web socket: "path" of the query, or the token
// itself in the older form.
func socketAddress(page *url.URL) string {
	query := page.Query()
	target := url.URL{Scheme: page.Scheme, Host: page.Host, Path: "/"}
	if path := query.Get("path"); path != "" {
		target.Path, target.RawQuery, _ = strings.Cut("/"+strings.TrimPrefix(path, "/"), "?")
	} else {
		target.Path, target.RawQuery = "/websockify", url.Values{"token": {query.Get("token")}}.Encode()
	}
	return target.String()
}

// hide takes the page's query, which opens the console, out of an error's text.
func hide(err error, page *url.URL) error {
	text := err.Error()
	for _, values := range page.Query() {
		for _, value := range values {
			_, token, ok := strings.Cut(value, "token=")
			if !ok {
				token = value
			}
			if len(token) > 8 {
				text = strings.ReplaceAll(text, token, "…")
			}
		}
	}
	return errors.New(text)
}
