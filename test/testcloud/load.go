// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package testcloud

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Load is a steady load on keystone through the proxy: tokens are issued and validated, users are created
// and read back. Each request is made once; what does not succeed has failed.
type Load struct {
	url, token string
	client     *http.Client
	account    map[string]string

	stop    chan struct{}
	workers sync.WaitGroup

	mu       sync.Mutex
	requests int
	failures []Failure
	slowest  time.Duration
	users    map[string]string // acknowledged, id by name
	began    time.Time
}

// Failure is a request that did not succeed.
type Failure struct {
	At      time.Duration // after the load began
	Request string
	Err     string
}

// Report is what a load came to.
type Report struct {
	Requests int
	Rate     float64 // requests a second
	Slowest  time.Duration
	Failures []Failure
	Users    map[string]string
}

// loadPrefix begins the names of the users that a load creates.
const loadPrefix = "load-"

// StartLoad starts workers that ask as fast as they are answered. Some of the users that they create are
// named after what is given, so that loads do not meet.
func (c *Cloud) StartLoad(t testing.TB, name string, workers int) *Load {
	t.Helper()
	rc := Object[struct {
		Variables map[string]string `json:"variables"`
	}](t, c.Must(t, "openrc", "--format", "json")).Variables
	l := &Load{
		url: strings.TrimSuffix(rc["OS_AUTH_URL"], "/v3") + "/v3", account: rc, users: map[string]string{},
		// A connection of its own for each request, as most clients of OpenStack have.
		client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}},
		stop:   make(chan struct{}), began: time.Now(),
	}
	token, err := l.issue()
	if err != nil {
		t.Fatalf("cannot issue a token: %v", err)
	}
	l.token = token
	for worker := range workers {
		l.workers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-l.stop:
					return
				default:
					l.once(fmt.Sprintf("%s%s-%d-%d", loadPrefix, name, worker, i))
				}
			}
		})
	}
	return l
}

// once makes one request: mostly a validation, which is what a cloud asks of keystone.
func (l *Load) once(user string) {
	var request string
	var err error
	began := time.Now()
	switch n := rand.IntN(100); {
	case n < 3:
		request = "issue a token"
		_, err = l.issue()
	case n < 8:
		request = "create user " + user
		err = l.create(user)
	case n < 20:
		request, err = l.readBack()
	default:
		request = "validate a token"
		err = l.ask(http.MethodGet, "/auth/tokens", nil, http.StatusOK, nil)
	}
	took := time.Since(began)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests++
	l.slowest = max(l.slowest, took)
	if err != nil {
		l.failures = append(l.failures, Failure{began.Sub(l.began), request, err.Error()})
	}
}

// ask makes one request and decodes the answer, which must have the status.
func (l *Load) ask(method, path string, body any, status int, into any) error {
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(raw)
	}
	request, err := http.NewRequest(method, l.url+path, content)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Auth-Token", l.token)
	request.Header.Set("X-Subject-Token", l.token)
	answer, err := l.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != status {
		return fmt.Errorf("%s: %.300s", answer.Status, raw)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(raw, into)
}

func (l *Load) issue() (string, error) {
	type object map[string]any
	domain := func(name string) object { return object{"name": l.account[name]} }
	body, err := json.Marshal(object{"auth": object{
		"identity": object{"methods": []string{"password"}, "password": object{"user": object{
			"name": l.account["OS_USERNAME"], "password": l.account["OS_PASSWORD"], "domain": domain("OS_USER_DOMAIN_NAME"),
		}}},
		"scope": object{"project": object{"name": l.account["OS_PROJECT_NAME"], "domain": domain("OS_PROJECT_DOMAIN_NAME")}},
	}})
	if err != nil {
		return "", err
	}
	answer, err := l.client.Post(l.url+"/auth/tokens", "application/json", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("issue a token: %s", answer.Status)
	}
	return answer.Header.Get("X-Subject-Token"), nil
}

// create creates a user. It has no password, so that keystone has little to compute.
func (l *Load) create(name string) error {
	var made struct {
		User struct {
			ID string `json:"id"`
		} `json:"user"`
	}
	if err := l.ask(http.MethodPost, "/users", map[string]any{"user": map[string]any{"name": name}}, http.StatusCreated, &made); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users[name] = made.User.ID
	return nil
}

// readBack reads a user that was created before.
func (l *Load) readBack() (string, error) {
	l.mu.Lock()
	var name, id string
	for name, id = range l.users {
		break
	}
	l.mu.Unlock()
	if id == "" {
		return "validate a token", l.ask(http.MethodGet, "/auth/tokens", nil, http.StatusOK, nil)
	}
	var read struct {
		User struct {
			Name string `json:"name"`
		} `json:"user"`
	}
	err := l.ask(http.MethodGet, "/users/"+id, nil, http.StatusOK, &read)
	if err == nil && read.User.Name != name {
		err = fmt.Errorf("user %s is %q, and was created as %q", id, read.User.Name, name)
	}
	return "read back user " + name, err
}

// Stop ends the load and returns what it came to.
func (l *Load) Stop() Report {
	close(l.stop)
	l.workers.Wait()
	return Report{
		Requests: l.requests, Rate: float64(l.requests) / time.Since(l.began).Seconds(), Slowest: l.slowest,
		Failures: l.failures, Users: l.users,
	}
}

// MustBeWhole holds that no request failed, and that each user whose creation was acknowledged is there.
func (r Report) MustBeWhole(t testing.TB, c *Cloud) {
	t.Helper()
	t.Logf("%d requests, %.0f a second, the slowest took %s, %d users created, %d failed",
		r.Requests, r.Rate, r.Slowest.Round(time.Millisecond), len(r.Users), len(r.Failures))
	for _, f := range r.Failures[:min(len(r.Failures), 10)] {
		t.Errorf("after %s: %s: %s", f.At.Round(time.Millisecond), f.Request, f.Err)
	}
	known := Lines(c.OpenStack(t, "user", "list", "-f", "value", "-c", "Name"))
	slices.Sort(known)
	lost := 0
	for name := range r.Users {
		if _, there := slices.BinarySearch(known, name); !there {
			lost++
		}
	}
	if len(r.Users) == 0 || lost > 0 {
		t.Errorf("%d of %d users whose creation was acknowledged are lost", lost, len(r.Users))
	}
}
