// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// clock is a time that passes only while somebody waits.
type clock struct{ now time.Time }

func (c *clock) pause(ctx context.Context, d time.Duration) error {
	c.now = c.now.Add(d)
	return ctx.Err()
}

// reach is a Probe in which the guest of a cloud answers; the rest is the real network.
type reach struct {
	Probe
	cloud *cloud
	pings int
}

func (p *reach) Ping(context.Context, netip.Addr) (time.Duration, error) {
	p.pings++
	if p.pings < 3 || p.cloud.broken == "ping" {
		return 0, errors.New("203.0.113.9 does not answer ping")
	}
	return 1500 * time.Microsecond, nil
}

func (p *reach) Get(ctx context.Context, url string) (int, []byte, error) {
	file, guest := strings.CutPrefix(url, "http://203.0.113.9:8080/")
	switch {
	case !guest:
		return p.Probe.Get(ctx, url)
	case file == "data" && p.cloud.broken == "tcp":
		return 200, make([]byte, 1400), nil
	case file == "data":
		return 200, make([]byte, dataSize), nil
	}
	p.cloud.mu.Lock()
	defer p.cloud.mu.Unlock()
	for id, server := range p.cloud.objects["servers"] {
		if p.cloud.broken == "metadata" {
			id = "another"
		}
		body, err := json.Marshal(object{"uuid": id, "hostname": server.text("name") + ".novalocal"})
		return 200, body, err
	}
	return 0, nil, errors.New("no server")
}

// trial runs verify on a cloud and returns what was reported at the ends of steps.
func trial(ctx context.Context, c *cloud, change func(*Options)) ([]Event, error) {
	var events []Event
	passing := &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	options := Options{
		Credentials: c.credentials(), Probe: &reach{Probe: NewProbe(), cloud: c}, Now: func() time.Time { return passing.now }, Pause: passing.pause,
		Guest: func(context.Context) (Guest, error) {
			return Guest{Kernel: []byte("kernel"), Ramdisk: bytes.Repeat([]byte("ramdisk"), 1000), Disk: make([]byte, 4096)}, nil
		},
		Report: func(e Event) {
			if e.Status != Running {
				events = append(events, e)
			}
		},
	}
	if change != nil {
		change(&options)
	}
	return events, Run(ctx, options)
}

// summary is "step status" of each event.
func summary(events []Event) string {
	var parts []string
	for _, e := range events {
		parts = append(parts, e.Step+" "+string(e.Status))
	}
	return strings.Join(parts, ", ")
}

func TestEverythingWorks(t *testing.T) {
	c := newCloud(t, everything()...)
	c.looks = 2
	before := c.names()
	events, err := trial(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, name := range append(Steps(), stepRemove) {
		want = append(want, name+" done")
	}
	if diff := cmp.Diff(strings.Join(want, ", "), summary(events)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before, c.names()); diff != "" {
		t.Errorf("left behind (-before +after):\n%s", diff)
	}
	details := map[string]string{}
	for _, e := range events {
		details[e.Step] = e.Detail
	}
	for step, want := range map[string]string{
		stepToken:    "admin in project admin; services: compute, identity, image, network, placement",
		stepRouter:   "to provider",
		stepFloating: "203.0.113.9 leads to 100.112.37.7",
		stepServer:   "on node-1",
		stepPing:     "203.0.113.9 answered 5 of 5, the fastest in 1.5 ms",
		stepLog:      "Linux 6.12 is up after 3 s",
		stepConsole:  c.URL + "/vnc_auto.html, and the screen answers (RFB 003.008)",
		stepRemove:   "1 server, 1 floating IP, 1 router interface, 1 router, 1 port, 1 network, 2 security groups, 3 images, 1 flavor, 1 user, 1 project",
	} {
		if details[step] != want {
			t.Errorf("%s says %q, want %q", step, details[step], want)
		}
	}
}

// What the service catalogue lacks is skipped, and so is what needs it.
func TestOnlyIdentity(t *testing.T) {
	c := newCloud(t, "identity")
	before := c.names()
	events, err := trial(t.Context(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	var done []string
	for _, e := range events {
		if e.Status == Done {
			done = append(done, e.Step)
		} else if e.Status != Skipped || e.Detail == "" {
			t.Errorf("%s is %s: %q", e.Step, e.Status, e.Detail)
		}
	}
	if want := []string{stepToken, stepLeftovers, stepAccount, stepRemove}; !slices.Equal(done, want) {
		t.Errorf("done: %q, want %q", done, want)
	}
	if diff := cmp.Diff(before, c.names()); diff != "" {
		t.Error(diff)
	}
}

// A service that is deployed and not in the catalogue is a fault, not something to pass over.
func TestMissingInCatalogue(t *testing.T) {
	c := newCloud(t, "identity")
	_, err := trial(t.Context(), c, func(o *Options) { o.Deployed = []string{"keystone", "nova", "nova-api", "glance"} })
	failure := (*Failure)(nil)
	if !errors.As(err, &failure) || failure.Step != stepToken || !strings.Contains(err.Error(), "compute (nova), image (glance)") {
		t.Errorf("got %v", err)
	}
}

// Each check fails where the cloud does what it is there to find.
func TestChecksFail(t *testing.T) {
	for _, test := range []struct{ broken, says string }{
		{"image", "came back from glance with other content"},
		{"server", "ERROR: No valid host was found."},
		{"scheduling", "cannot wait longer until the server is active: after 5m0s it is BUILD (spawning)"},
		{"ping", "does not answer ping"},
		{"tcp", "1400 bytes came from port 8080"},
		{"metadata", `the metadata service told the server that it is "another"`},
		{"console-log", "without \"copse-guest: ready\""},
		{"console", "the web socket is refused: 403"},
	} {
		t.Run(test.broken, func(t *testing.T) {
			c := newCloud(t, everything()...)
			before := c.names()
			c.broken = test.broken
			events, err := trial(t.Context(), c, nil)
			step := test.broken
			if step == "scheduling" {
				step = stepServer
			}
			failure := (*Failure)(nil)
			if !errors.As(err, &failure) || failure.Step != step || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want step %s with %q", err, step, test.says)
			}
			if strings.Contains(fmt.Sprint(events, err), "the-console-token") {
				t.Error("the console's token is shown")
			}
			at := slices.IndexFunc(events, func(e Event) bool { return e.Step == step })
			if len(events[at].Look) == 0 {
				t.Error("nothing to look at")
			}
			if slices.Contains([]string{"server", "ping", "tcp", "console-log"}, test.broken) && len(events[at].Console) == 0 {
				t.Error("the console's last lines are missing")
			}
			if diff := cmp.Diff(before, c.names()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Whatever request goes wrong, in whatever way, nothing stays that the next run does not remove;
// and nothing at all where it goes wrong before the removal.
func TestEveryRequestGoesWrong(t *testing.T) {
	c := newCloud(t, everything()...)
	before := c.names()
	removal := 0
	_, err := trial(t.Context(), c, func(o *Options) {
		report := o.Report
		o.Report = func(e Event) {
			if e.Step == stepRemove && removal == 0 {
				removal = c.count()
			}
			report(e)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	all := c.count()
	requests := c.requests
	if removal < 40 || all < removal+15 {
		t.Fatalf("%d requests, of which %d come before the removal: that is too few", all, removal)
	}
	for _, kind := range []mishap{refused, lost} {
		for n := 1; n <= all; n++ {
			if kind == lost && strings.HasPrefix(requests[n-1], http.MethodGet) {
				continue // that is the same as refused
			}
			c := newCloud(t, everything()...)
			request := ""
			c.fault = func(at int, method, path string) mishap {
				if at == n {
					request = method + " " + path
					return kind
				}
				return none
			}
			events, err := trial(t.Context(), c, nil)
			name := fmt.Sprintf("request %d (%s), fault %d", n, request, kind)
			if failure := (*Failure)(nil); !errors.As(err, &failure) {
				t.Errorf("%s: got %v, want a failure; %s", name, err, summary(events))
			}
			if n <= removal {
				if diff := cmp.Diff(before, c.names()); diff != "" {
					t.Errorf("%s: left behind (-before +after):\n%s", name, diff)
				}
				c.Close()
				continue
			}
			c.fault = nil
			if _, err := trial(t.Context(), c, nil); err != nil {
				t.Errorf("%s: the next run: %v", name, err)
			}
			if diff := cmp.Diff(before, c.names()); diff != "" {
				t.Errorf("%s: left behind by the next run (-before +after):\n%s", name, diff)
			}
			c.Close()
		}
	}
}

// An interrupt at any request removes everything, and is told as an interrupt.
func TestInterrupt(t *testing.T) {
	for n := 1; ; n++ {
		c := newCloud(t, everything()...)
		c.looks = 1
		before := c.names()
		ctx, cancel := context.WithCancel(t.Context())
		c.fault = func(at int, _, _ string) mishap {
			if at == n {
				cancel()
			}
			return none
		}
		removing := false
		events, err := trial(ctx, c, func(o *Options) {
			report := o.Report
			o.Report = func(e Event) {
				removing = removing || e.Step == stepRemove && ctx.Err() == nil
				report(e)
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("request %d: got %v, want an interrupt; %s", n, err, summary(events))
		}
		if diff := cmp.Diff(before, c.names()); diff != "" {
			t.Errorf("request %d: left behind (-before +after):\n%s\n%s", n, diff, summary(events))
		}
		cancel()
		c.Close()
		if removing {
			return
		}
		if n > 500 {
			t.Fatal("the removal never comes")
		}
	}
}

// --keep leaves everything; the next run, or --clean, removes it.
func TestKeepAndClean(t *testing.T) {
	c := newCloud(t, everything()...)
	before := c.names()
	events, err := trial(t.Context(), c, func(o *Options) { o.Keep = true })
	if err != nil {
		t.Fatal(err)
	}
	if last := events[len(events)-1]; last.Step != stepRemove || last.Status != Skipped || !strings.Contains(last.Detail, Prefix) {
		t.Errorf("the end is %+v", last)
	}
	if len(c.names()) < len(before)+10 {
		t.Errorf("there is too little: %q", c.names())
	}
	events, err = trial(t.Context(), c, func(o *Options) { o.Clean = true })
	if err != nil {
		t.Fatal(err)
	}
	if got, want := summary(events), "token done, leftovers done"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if diff := cmp.Diff(before, c.names()); diff != "" {
		t.Error(diff)
	}
}

// A step brings what it needs, and nothing else.
func TestOnlyOneStep(t *testing.T) {
	c := newCloud(t, everything()...)
	events, err := trial(t.Context(), c, func(o *Options) { o.Only = []string{stepRouter} })
	if err != nil {
		t.Fatal(err)
	}
	if got, want := summary(events), "token done, leftovers done, account done, network done, router done, remove done"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// What was asked for by name is not passed over.
	failure := (*Failure)(nil)
	if _, err := trial(t.Context(), newCloud(t, "identity"), func(o *Options) { o.Only = []string{stepRouter} }); !errors.As(err, &failure) || failure.Step != stepRouter {
		t.Errorf("got %v for a step that cannot be tried", err)
	}
	unknown := (*UnknownStepError)(nil)
	if _, err := trial(t.Context(), c, func(o *Options) { o.Only = []string{"rooter"} }); !errors.As(err, &unknown) {
		t.Errorf("got %v for a step that does not exist", err)
	}
}

func TestExternalNetwork(t *testing.T) {
	c := newCloud(t, everything()...)
	c.put("networks", object{"name": "another", "router:external": true})
	for _, test := range []struct{ asked, detail, says string }{
		{"", "to provider", ""}, // the other has no subnet
		{"another", "to another", ""},
		{"missing", "", `there is no external network "missing"; there are: another, provider`},
	} {
		events, err := trial(t.Context(), c, func(o *Options) { o.Only, o.Network = []string{stepRouter}, test.asked })
		router := events[slices.IndexFunc(events, func(e Event) bool { return e.Step == stepRouter })]
		if (err == nil) != (test.says == "") || router.Detail != test.detail || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%q: got %v, %q", test.asked, err, router.Detail)
		}
	}
}

// Where there is no external network, one is made of the cloud's values and removed again.
func TestMakeExternalNetwork(t *testing.T) {
	c := newCloud(t, everything()...)
	clear(c.objects["networks"])
	before := c.names()
	if _, err := trial(t.Context(), c, nil); err == nil || !strings.Contains(err.Error(), "there is no external network") {
		t.Errorf("got %v", err)
	}
	var made []string
	events, err := trial(t.Context(), c, func(o *Options) {
		o.Provider = Provider{Name: "physnet", CIDR: "203.0.113.0/24", Gateway: "203.0.113.1/24"}
		report := o.Report
		o.Report = func(e Event) {
			if e.Step == stepFloating && e.Status == Done {
				for _, subnet := range c.objects["subnets"] {
					made = append(made, fmt.Sprint(subnet["cidr"], " ", subnet["gateway_ip"], " ", subnet["enable_dhcp"]))
				}
			}
			report(e)
		}
	})
	if err != nil {
		t.Fatalf("%v; %s", err, summary(events))
	}
	if !slices.Contains(made, "203.0.113.0/24 203.0.113.1 false") {
		t.Errorf("the subnets were %q", made)
	}
	if diff := cmp.Diff(before, c.names()); diff != "" {
		t.Error(diff)
	}
}

// An error names the request and says what the service said, and never a password.
func TestExplain(t *testing.T) {
	c := newCloud(t, everything()...)
	_, err := trial(t.Context(), c, func(o *Options) {
		o.Credentials["OS_PASSWORD"] = "wrong secret"
	})
	want := "cannot verify the cloud: step token failed: POST " + c.URL + "/identity/v3/auth/tokens answered 401 Unauthorized: The request you have made requires authentication."
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	for body, want := range map[string]string{
		`{"NeutronError": {"type": "X", "message": "No more\n IP addresses", "detail": ""}}`: "No more IP addresses",
		"<html><title>503</title><body>No server is available</body></html>":                 "503 No server is available",
		strings.Repeat("long ", 100): strings.Repeat("long ", 60) + "…",
		"":                           "",
	} {
		if got := message([]byte(body)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
