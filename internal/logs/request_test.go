// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"copse/internal/engine"
)

const (
	asked  = "req-11111111-1111-4111-8111-111111111111" // what the client was given
	shared = "req-22222222-2222-4222-8222-222222222222" // what goes from service to service
	deep   = "req-33333333-3333-4333-8333-333333333333" // a service's own, further down
	other  = "req-44444444-4444-4444-8444-444444444444"
)

func TestRequestIDs(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"nothing req- here, nor req-1234", nil},
		{"INFO nova.compute [" + shared + " " + deep + " admin] Booting", []string{shared, deep}},
		{"INFO x [None " + deep + " - - - -] y", []string{deep}},
		{"twice " + deep + " and " + deep, []string{deep}},
		{"{" + shared + "}{" + deep + "} \"GET / HTTP/1.1\"", []string{shared, deep}},
		{"req-" + deep, []string{deep}},
		{strings.ToUpper(deep), nil},
		{"cut short: " + deep[:39], nil},
		{"req-11111111_1111-4111-8111-111111111111", nil},
	} {
		if got := RequestIDs(c.text); !slices.Equal(got, c.want) {
			t.Errorf("RequestIDs(%q) = %q, want %q", c.text, got, c.want)
		}
	}
}

func TestParseRequestID(t *testing.T) {
	for _, s := range []string{asked, " " + asked + "\n", strings.TrimPrefix(asked, "req-"), strings.ToUpper(asked)} {
		if got, err := ParseRequestID(s); err != nil || got != asked {
			t.Errorf("ParseRequestID(%q) = %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "req-", "req-12", asked + "0", asked + " " + deep, "keystone"} {
		if got, err := ParseRequestID(s); err == nil || !strings.Contains(err.Error(), "X-Openstack-Request-Id") {
			t.Errorf("ParseRequestID(%q) = %q, %v; want an error that says where ids come from", s, got, err)
		}
	}
}

// written is a source of lines, a second apart from a start.
func written(name string, start int, texts ...string) Source {
	return Source{Name: name, Read: func(_ context.Context, handle func(engine.LogLine)) error {
		for i, text := range texts {
			handle(engine.LogLine{Time: time.Unix(int64(start+10*i), 0), Stream: "stderr", Text: text})
		}
		return nil
	}}
}

func TestRequestThroughServices(t *testing.T) {
	sources := []Source{
		written("proxy", 9, "{"+shared+"} POST /servers", "{"+other+"} GET /"),
		written("api", 1, "["+shared+" "+asked+"] create", "["+other+" "+asked[:39]+"2] list", "no request"),
		written("compute", 5, "["+shared+" "+deep+"] boot", "["+other+" "+deep+"] lists what others did", "["+other+"] own"),
		written("silent", 0),
	}
	ids, err := Related(t.Context(), sources, asked)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]bool{asked: true, shared: true}; !maps.Equal(ids, want) {
		t.Fatalf("related are %v, want %v", ids, want)
	}
	var got []string
	if err := Merge(t.Context(), OfRequests(sources, ids), func(l Line) error {
		got = append(got, l.Container+": "+l.Text)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{"api: [" + shared + " " + asked + "] create", "compute: [" + shared + " " + deep + "] boot", "proxy: {" + shared + "} POST /servers"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}

	// An id that nobody knows is still its own.
	if ids, err := Related(t.Context(), sources, "req-55555555-5555-4555-8555-555555555555"); err != nil || len(ids) != 1 {
		t.Errorf("an unknown id is related to %v, %v", ids, err)
	}
}

func TestWithoutChecks(t *testing.T) {
	source := written("api", 1, asked+` "GET /" status: 200`, asked+` "GET / HTTP/1.1" 200`, asked+` "GET /servers" status: 200`, "a GET / of another form")
	for path, want := range map[string]int{"/": 2, "": 4, "/servers": 3, "/server": 4} {
		lines := 0
		if err := WithoutChecks(source, path).Read(t.Context(), func(engine.LogLine) { lines++ }); err != nil || lines != want {
			t.Errorf("without checks of %q there are %d lines, %v; want %d", path, lines, err, want)
		}
	}
}

func TestRelatedFails(t *testing.T) {
	gone := errors.New("the engine has gone")
	broken := Source{Name: "api", Read: func(context.Context, func(engine.LogLine)) error { return gone }}
	_, err := Related(t.Context(), []Source{written("proxy", 1, asked), broken}, asked)
	if !errors.Is(err, gone) || !strings.Contains(err.Error(), "the log of api") {
		t.Errorf("it fails with %v", err)
	}
}
