// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bufio"
	"context"
	"errors"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
)

func TestPing(t *testing.T) {
	probe := NewProbe()
	took, err := probe.Ping(t.Context(), netip.MustParseAddr("127.0.0.1"))
	if errors.Is(err, errSocket) && os.Geteuid() != 0 {
		// Whoever may not ping is told the way out.
		if !strings.Contains(err.Error(), "ping_group_range") {
			t.Error(err)
		}
		return
	}
	if err != nil || took <= 0 {
		t.Errorf("got %v, %v", took, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := probe.Ping(ctx, netip.MustParseAddr("127.0.0.1")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v after an interrupt", err)
	}
	// Nothing may have this address (RFC 1112 §4), so there is no route to it.
	if _, err := probe.Ping(t.Context(), netip.MustParseAddr("255.255.255.254")); err == nil {
		t.Error("an address that nobody has answers")
	}
}

func TestFirstMessage(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, test := range []struct{ frames, want, says string }{
		{"\x82\x0cRFB 003.008\n", "RFB 003.008\n", ""},
		{"\x89\x02hi\x8a\x00\x81\x02ok", "ok", ""},
		{"\x82\x7e\x01\x2c" + long, long, ""},
		{"\x88\x06\x03\xe8gone", "", "it was closed: gone"},
		{"\x88\x00", "", "it was closed"},
		{"\x82\x81abcdx", "", "not one that a server may send"},
		{"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "", "not one that a server may send"},
		{"\x82", "", "EOF"},
		{"\x82\x05abc", "", "EOF"},
	} {
		got, err := firstMessage(bufio.NewReader(strings.NewReader(test.frames)))
		if got != test.want || (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%q: got %q, %v, want %q, %q", test.frames, got, err, test.want, test.says)
		}
	}
}

func TestSocketAddress(t *testing.T) {
	for page, want := range map[string]string{
		"http://192.0.2.10:6080/vnc_auto.html?path=%3Ftoken%3Dabc":              "http://192.0.2.10:6080/?token=abc",
		"http://192.0.2.10:6080/vnc_lite.html?path=websockify%3Ftoken%3Dabc":    "http://192.0.2.10:6080/websockify?token=abc",
		"https://cloud.example.org/vnc_auto.html?token=abc":                     "https://cloud.example.org/websockify?token=abc",
		"https://cloud.example.org/novnc/vnc_auto.html?path=%2Fnovnc%3Ftoken=a": "https://cloud.example.org/novnc?token=a",
	} {
		parsed, err := url.Parse(page)
		if err != nil {
			t.Fatal(err)
		}
		if got := socketAddress(parsed); got != want {
			t.Errorf("%s: got %s, want %s", page, got, want)
		}
	}
}
