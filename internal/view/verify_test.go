// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// On a terminal the step that runs is shown in one line, which the end of the step replaces.
func TestStepsOnTerminal(t *testing.T) {
	var out bytes.Buffer
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	v := New(Options{
		Out: &out, Err: &out, Format: Human, Live: true,
		Size: func() (int, int) { return 50, 24 }, Now: func() time.Time { return now },
	})
	steps := v.Steps()
	for _, step := range []*Step{
		{Step: "server", Summary: "Start a server", Status: "running"},
		{Step: "server", Summary: "Start a server", Status: "running", Seconds: 3, Detail: "it is BUILD\x1b[2J (spawning) and this goes on for long"},
		{Step: "server", Summary: "Start a server", Status: "done", Seconds: 21, Detail: "on node-1"},
		{Step: "ping", Summary: "Ping it", Status: "failed", Seconds: 62, Error: "no answer", Look: []string{"copse logs neutron"}, Console: []string{"\x1b[2Jpanic"}},
		{Step: "tcp", Summary: "Fetch", Status: "skipped", Detail: "it needs ping, which failed"},
	} {
		if err := steps.Step(step); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(83 * time.Second)
	if err := steps.End(); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"⠙ Start a server  0.0s\r\x1b[K⠹ Start a server  3.0s  it is BUILD (spawning) a…\r\x1b[K✔ Start a server  21s  on node-1",
		"✗ Ping it  1m02s",
		"  no answer",
		"  see `copse logs neutron`",
		"  the last lines of the server's console:",
		"    panic",
		"- Fetch  it needs ping, which failed",
		"✗ the cloud does not work: 1 step failed, 1 done, 1 skipped, in 1m23s",
		"",
	}, "\n")
	if got := out.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
