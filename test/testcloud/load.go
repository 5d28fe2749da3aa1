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
	At      time.Time // when it was made
	Request string
	Err     string
}

// Report is what a load came to.
type Report struct {
	Requests int
	Rate     float64 // requests a second
	Slowest  time.Duration
	Failures []Failure
	Users    int      // whose creation was acknowledged
	Lost     []string // of these, who cannot be read back, and why
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
	token, err := l.issue(l.password())
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

// once makes one request: mostly a validation, which is what a cloud asks of keystone. Few tokens are
// issued for a password, whose hash takes a processor as long as fifty validations.
func (l *Load) once(user string) {
	var request string
	var err error
	began := time.Now()
	switch n := rand.IntN(100); {
	case n < 1:
		request = "issue a token for a password"
		_, err = l.issue(l.password())
	case n < 4:
		request = "issue a token for a token"
		_, err = l.issue(object{"methods": []string{"token"}, "token": object{"id": l.token}})
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
		l.failures = append(l.failures, Failure{began, request, err.Error()})
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

type object map[string]any

func (l *Load) domain(name string) object { return object{"name": l.account[name]} }

// password is what proves the account by its password.
func (l *Load) password() object {
	return object{"methods": []string{"password"}, "password": object{"user": object{
		"name": l.account["OS_USERNAME"], "password": l.account["OS_PASSWORD"], "domain": l.domain("OS_USER_DOMAIN_NAME"),
	}}}
}

// issue asks for a token of the account's project.
func (l *Load) issue(identity object) (string, error) {
	body, err := json.Marshal(object{"auth": object{
		"identity": identity,
		"scope":    object{"project": object{"name": l.account["OS_PROJECT_NAME"], "domain": l.domain("OS_PROJECT_DOMAIN_NAME")}},
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
	if err := l.ask(http.MethodPost, "/users", object{"user": object{"name": name}}, http.StatusCreated, &made); err != nil {
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
	return "read back user " + name, l.read(name, id)
}

// read asks for one user.
func (l *Load) read(name, id string) error {
	var read struct {
		User struct {
			Name string `json:"name"`
		} `json:"user"`
	}
	if err := l.ask(http.MethodGet, "/users/"+id, nil, http.StatusOK, &read); err != nil {
		return fmt.Errorf("user %s, created as %q: %w", id, name, err)
	}
	if read.User.Name != name {
		return fmt.Errorf("user %s is %q, and was created as %q", id, read.User.Name, name)
	}
	return nil
}

// Stop ends the load, asks for each user whose creation was acknowledged, by its number, and returns what
// the load came to.
func (l *Load) Stop() Report {
	close(l.stop)
	l.workers.Wait()
	took := time.Since(l.began)
	var lost []string
	for name, id := range l.users {
		if err := l.read(name, id); err != nil {
			lost = append(lost, err.Error())
		}
	}
	return Report{
		Requests: l.requests, Rate: float64(l.requests) / took.Seconds(), Slowest: l.slowest,
		Failures: l.failures, Users: len(l.users), Lost: lost,
	}
}

// MustBeWhole holds that no request failed, and that each user whose creation was acknowledged is there.
func (r Report) MustBeWhole(t testing.TB) {
	t.Helper()
	t.Logf("%d requests, %.0f a second, the slowest took %s, %d failed; %d users created, %d lost",
		r.Requests, r.Rate, r.Slowest.Round(time.Millisecond), len(r.Failures), r.Users, len(r.Lost))
	for _, f := range r.Failures[:min(len(r.Failures), 10)] {
		t.Errorf("at %s: %s: %s", f.At.UTC().Format(time.RFC3339Nano), f.Request, f.Err)
	}
	if len(r.Failures) > 0 {
		said := Must(t, "sh", "-c", `for c in $(docker ps --all --quiet --filter name=^keystone[.]); do docker logs "$c" 2>&1; done | grep -a -A 40 ' ERROR ' | tail -n 200`)
		t.Logf("keystone's errors:\n%s", said)
	}
	for _, lost := range r.Lost[:min(len(r.Lost), 10)] {
		t.Errorf("a user whose creation was acknowledged: %s", lost)
	}
	if r.Users == 0 {
		t.Error("no user was created")
	}
}
