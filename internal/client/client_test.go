// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"copse/internal/api"
	"copse/internal/client"
	"copse/internal/client/clienttest"
	"copse/internal/plan"
)

// start starts a fake agent and returns it with its socket.
func start(t *testing.T) (*clienttest.Agent, string) {
	t.Helper()
	agent := clienttest.Cloud()
	socket := filepath.Join(t.TempDir(), "s")
	if err := agent.Start(socket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		agent.Release()
		if err := agent.Stop(); err != nil {
			t.Error(err)
		}
	})
	return agent, socket
}

func connect(t *testing.T, socket string) *client.Client {
	t.Helper()
	c := client.New(client.Unix(socket))
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestErrorsSayTheWayOut(t *testing.T) {
	ctx := context.Background()
	agent, socket := start(t)

	_, err := connect(t, socket).Containers(ctx, []string{"keyston"}, false)
	answer := (*api.Error)(nil)
	if !errors.As(err, &answer) || answer.Code != "not-found" || !strings.Contains(answer.Message, "keystone") {
		t.Errorf("an unknown name: %v", err)
	}

	agent.Lock()
	agent.Version.Level = api.Level + 1
	agent.Unlock()
	level := (*client.LevelError)(nil)
	if _, err := connect(t, socket).Changes(ctx); !errors.As(err, &level) || level.Level != api.Level+1 {
		t.Errorf("a newer agent: %v", err)
	}

	unreachable := (*client.UnreachableError)(nil)
	if _, err := connect(t, socket+"-none").Changes(ctx); !errors.As(err, &unreachable) || !unreachable.NotRunning() || !strings.Contains(err.Error(), "`copse up`") {
		t.Errorf("no socket: %v", err)
	}
	if err := agent.Stop(); err != nil {
		t.Fatal(err)
	}
	// A socket that nobody listens on any more, as a killed agent leaves it.
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, socket).Changes(ctx); !errors.As(err, &unreachable) || !unreachable.NotRunning() {
		t.Errorf("a dead socket: %v", err)
	}

	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := connect(t, socket).Changes(canceled); !errors.Is(err, context.Canceled) || errors.As(err, &unreachable) {
		t.Errorf("the caller's own end: %v", err)
	}
}

// An answer that is no JSON (a proxy in between, a panic) is told as it is.
func TestForeignAnswers(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/version" {
			_ = json.NewEncoder(w).Encode(api.Version{Level: api.Level}) // a client that has gone does not matter
			return
		}
		http.Error(w, "the back end is gone", http.StatusBadGateway)
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	_, err = connect(t, socket).Secrets(context.Background())
	if err == nil || err.Error() != `the agent answered "502 Bad Gateway": the back end is gone` {
		t.Errorf("got %v", err)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// submit starts a change of the fake and returns its number.
func submit(t *testing.T, c *client.Client) int {
	t.Helper()
	ctx := context.Background()
	p, err := c.Plan(ctx, api.ChangeRequest{Kind: plan.Restart, Names: []string{"keystone"}})
	if err != nil {
		t.Fatal(err)
	}
	change, err := c.Submit(ctx, api.ChangeRequest{Kind: plan.Restart, Names: []string{"keystone"}, Revision: &p.Revision})
	if err != nil {
		t.Fatal(err)
	}
	return change.ID
}

func TestStaleRevisionIsRefused(t *testing.T) {
	_, socket := start(t)
	old := uint64(1)
	_, err := connect(t, socket).Submit(context.Background(), api.ChangeRequest{Kind: plan.Restart, Revision: &old})
	answer := (*api.Error)(nil)
	if !errors.As(err, &answer) || answer.Code != "stale" {
		t.Errorf("got %v", err)
	}
}

// Whatever breaks in between, each event comes once and in order, and the end comes.
func TestFollowAcrossLosses(t *testing.T) {
	for drop := 1; drop <= 6; drop++ {
		agent, socket := start(t)
		c := connect(t, socket)
		id := submit(t, c)
		agent.Lock()
		agent.DropAfter = drop
		agent.Unlock()
		var sequences []uint64
		var story []string
		follower := client.Follower{
			Client:   c,
			Event:    func(e api.Event) { sequences = append(sequences, e.Sequence) },
			Lost:     func(error) { story = append(story, "lost") },
			Found:    func() { story = append(story, "found") },
			Wait:     func(context.Context, int) error { return nil },
			Attempts: 3,
		}
		change, err := follower.Follow(context.Background(), id)
		if err != nil || change.Status != "done" {
			t.Fatalf("drop after %d: %v, %v", drop, change, err)
		}
		if diff := cmp.Diff([]uint64{1, 2, 3, 4, 5, 6}, sequences); diff != "" {
			t.Errorf("drop after %d: events (-want +got):\n%s", drop, diff)
		}
		want := []string{"lost", "found"}
		if drop == 6 {
			want = nil // there was nothing left to lose
		}
		if diff := cmp.Diff(want, story); diff != "" {
			t.Errorf("drop after %d (-want +got):\n%s", drop, diff)
		}
	}
}

// The agent is killed and another one started in the middle: following goes on.
func TestFollowAcrossARestart(t *testing.T) {
	agent, socket := start(t)
	agent.Held = 3
	c := connect(t, socket)
	id := submit(t, c)
	var got int
	restarted := false
	follower := client.Follower{
		Client: c,
		Event: func(e api.Event) {
			if got++; e.Sequence == 3 {
				if err := agent.Stop(); err != nil {
					t.Error(err)
				}
			}
		},
		Lost:  func(error) {},
		Found: func() {},
		Wait: func(_ context.Context, n int) error {
			if n == 3 {
				agent.Release()
				restarted = true
				return agent.Start(socket)
			}
			return nil
		},
		Attempts: 5,
	}
	change, err := follower.Follow(context.Background(), id)
	if err != nil || !change.Ended() || got != 6 || !restarted {
		t.Errorf("change %v, error %v, %d events, restarted %v", change, err, got, restarted)
	}
}

func TestFollowGivesUp(t *testing.T) {
	agent, socket := start(t)
	c := connect(t, socket)
	id := submit(t, c)
	if err := agent.Stop(); err != nil {
		t.Fatal(err)
	}
	waits := 0
	follower := client.Follower{
		Client: c, Event: func(api.Event) {}, Lost: func(error) {}, Found: func() {},
		Wait:     func(context.Context, int) error { waits++; return nil },
		Attempts: 4,
	}
	_, err := follower.Follow(context.Background(), id)
	if err == nil || !strings.Contains(err.Error(), "`copse change 2 -f` follows it") || waits != 4 {
		t.Errorf("after %d waits: %v", waits, err)
	}
}

// A change that is not there is no reason to look for the agent.
func TestFollowOfAnUnknownChange(t *testing.T) {
	_, socket := start(t)
	follower := client.Follower{
		Client: connect(t, socket), Event: func(api.Event) {}, Found: func() {}, Attempts: 4,
		Lost: func(err error) { t.Errorf("lost: %v", err) },
		Wait: client.Pause,
	}
	_, err := follower.Follow(context.Background(), 99)
	answer := (*api.Error)(nil)
	if !errors.As(err, &answer) || answer.Code != "not-found" {
		t.Errorf("got %v", err)
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	agent, socket := start(t)
	agent.Held = 1
	c := connect(t, socket)
	id := submit(t, c)
	ctx, cancel := context.WithCancel(context.Background())
	follower := client.Follower{
		Client: c, Event: func(api.Event) { cancel() }, Lost: func(error) {}, Found: func() {}, Wait: client.Pause, Attempts: 4,
	}
	if _, err := follower.Follow(ctx, id); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestExec(t *testing.T) {
	_, socket := start(t)
	ctx := context.Background()
	stream, err := connect(t, socket).Exec(ctx, api.ExecRequest{Container: "keystone", Command: []string{"cat"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(stream.Send(api.Frame{Stdin: []byte("a\x00\xff")}), stream.Send(api.Frame{EOF: true})); err != nil {
		t.Fatal(err)
	}
	var out []byte
	for {
		frame, err := stream.Receive()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, frame.Stdout...)
		if frame.Exit != nil {
			break
		}
	}
	if string(out) != "cat\na\x00\xff" {
		t.Errorf("got %q", out)
	}
	if _, err := stream.Receive(); err == nil || !strings.Contains(err.Error(), "lost before the program had ended") {
		t.Errorf("after the end: %v", err)
	}
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
}
