// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package browser

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// patience is how long the browser may take for anything before a test gives up. It decides no
// result: what is waited for comes in seconds, or something is broken.
const patience = 5 * time.Minute

// elementKey names the reference to an element in answers: https://www.w3.org/TR/webdriver2/#elements
const elementKey = "element-6066-11e4-a52e-4f735466cecf"

// flags make Chromium one that runs as root, without a screen, and talks to nobody but the page.
var flags = []string{
	"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
	"--disable-background-networking", "--disable-component-update", "--disable-sync",
	"--disable-dev-shm-usage", // /dev/shm of a container is too small for it
	"--no-proxy-server",       // the dashboard is on this host
	"--hide-scrollbars",
}

// page is a window of a browser that lives as long as its test. Not for use by several goroutines.
type page struct {
	session string // the session's URL at chromedriver
}

// element is what a selector found in the document that was shown then.
type element struct {
	page *page
	id   string
}

// open starts chromedriver and, through it, Chromium with a profile of its own; both end with the
// test.
func open(t *testing.T, width, height int) *page {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("cannot find the browser: %v; scripts/host-setup.sh --browser installs it", err)
	}
	profile := t.TempDir()
	driver := startDriver(t)
	var created struct {
		SessionID string `json:"sessionId"`
	}
	err = call(http.MethodPost, driver+"/session", map[string]any{
		"capabilities": map[string]any{"alwaysMatch": map[string]any{
			"timeouts": map[string]int64{"implicit": patience.Milliseconds(), "pageLoad": patience.Milliseconds()},
			"goog:chromeOptions": map[string]any{
				"binary": chromium,
				"args":   append([]string{"--user-data-dir=" + profile}, flags...),
			},
		}},
	}, &created)
	if err != nil {
		t.Fatalf("cannot start %s: %v", chromium, err)
	}
	p := &page{session: driver + "/session/" + created.SessionID}
	t.Cleanup(func() {
		// Chromium ends with its session, not with chromedriver.
		if err := call(http.MethodDelete, p.session, nil, nil); err != nil {
			t.Errorf("cannot close the browser: %v", err)
		}
	})
	p.resize(t, width, height)
	return p
}

// resize gives what the page is drawn on a size in pixels. WebDriver sets the window's own, with its
// bars and frame, hence the second call.
func (p *page) resize(t *testing.T, width, height int) {
	t.Helper()
	var inner [2]int
	script := map[string]any{"script": "return [window.innerWidth, window.innerHeight]", "args": []any{}}
	window := map[string]int{"width": width, "height": height}
	err := call(http.MethodPost, p.session+"/window/rect", window, nil)
	if err == nil {
		err = call(http.MethodPost, p.session+"/execute/sync", script, &inner)
	}
	if err == nil {
		window["width"] += width - inner[0]
		window["height"] += height - inner[1]
		err = call(http.MethodPost, p.session+"/window/rect", window, nil)
	}
	if err != nil {
		t.Fatalf("cannot resize the browser's window: %v", err)
	}
}

// startDriver starts chromedriver at a free port and returns its URL.
func startDriver(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "chromedriver", "--port=0")
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		t.Fatalf("cannot start chromedriver: %v; scripts/host-setup.sh --browser installs it", err)
	}
	drained := make(chan struct{})
	ports := make(chan string, 1)
	go func() {
		defer close(drained)
		defer close(ports)
		started := regexp.MustCompile(`started successfully on port (\d+)`)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if match := started.FindStringSubmatch(lines.Text()); match != nil && len(ports) == 0 {
				ports <- match[1]
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-drained
		_ = cmd.Wait() // it was killed, and says so
	})
	port, ok := <-ports
	if !ok {
		t.Fatal("chromedriver ended before it named its port")
	}
	return "http://127.0.0.1:" + port
}

// call makes one call of the WebDriver API: https://www.w3.org/TR/webdriver2/#endpoints. Its error is
// the API's own, which repeats nothing of what was sent.
func call(method, url string, body, value any) error {
	var sent io.Reader
	if method == http.MethodPost {
		if body == nil {
			body = struct{}{} // no body is an error there
		}
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(encoded)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, sent)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	// No proxy of the environment stands between the test and this host.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Value json.RawMessage `json:"value"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("no answer of WebDriver (%s): %w", response.Status, err)
	}
	if response.StatusCode != http.StatusOK {
		var failure struct {
			Error   string `json:"error"`
			Message string `json:"message"`
		}
		if err := json.Unmarshal(answer.Value, &failure); err != nil {
			return errors.New(response.Status)
		}
		message, _, _ := strings.Cut(failure.Message, "\n")
		return fmt.Errorf("%s: %s", failure.Error, message)
	}
	if value == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, value)
}

// visit shows a URL and returns when it has been loaded.
func (p *page) visit(t *testing.T, url string) {
	t.Helper()
	if err := call(http.MethodPost, p.session+"/url", map[string]string{"url": url}, nil); err != nil {
		t.Fatalf("cannot open %s: %v", url, err)
	}
}

// url is the one that is shown.
func (p *page) url(t *testing.T) string {
	t.Helper()
	var url string
	if err := call(http.MethodGet, p.session+"/url", nil, &url); err != nil {
		t.Fatalf("cannot ask for the page's URL: %v", err)
	}
	return url
}

// find waits for the first element that a CSS selector matches.
func (p *page) find(t *testing.T, selector string) element {
	t.Helper()
	var found map[string]string
	query := map[string]string{"using": "css selector", "value": selector}
	if err := call(http.MethodPost, p.session+"/element", query, &found); err != nil {
		t.Fatalf("cannot find %s at %s: %v", selector, p.url(t), err)
	}
	return element{page: p, id: found[elementKey]}
}

// screenshot is what the window shows, as PNG.
func (p *page) screenshot(t *testing.T) []byte {
	t.Helper()
	var encoded string
	if err := call(http.MethodGet, p.session+"/screenshot", nil, &encoded); err != nil {
		t.Fatalf("cannot take a screenshot: %v", err)
	}
	picture, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatalf("cannot read the screenshot: %v", err)
	}
	return picture
}

// write types into an element. What is typed appears in no message.
func (e element) write(t *testing.T, text string) {
	t.Helper()
	if err := call(http.MethodPost, e.url("value"), map[string]string{"text": text}, nil); err != nil {
		t.Fatalf("cannot type into an element of %s: %v", e.page.url(t), err)
	}
}

// click presses it; where that leads to another page, it returns when that has been loaded.
func (e element) click(t *testing.T) {
	t.Helper()
	if err := call(http.MethodPost, e.url("click"), nil, nil); err != nil {
		t.Fatalf("cannot click an element of %s: %v", e.page.url(t), err)
	}
}

// text is what a reader sees of it.
func (e element) text(t *testing.T) string {
	t.Helper()
	var text string
	if err := call(http.MethodGet, e.url("text"), nil, &text); err != nil {
		t.Fatalf("cannot read an element of %s: %v", e.page.url(t), err)
	}
	return text
}

func (e element) url(action string) string {
	return e.page.session + "/element/" + e.id + "/" + action
}
