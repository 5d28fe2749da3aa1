// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

// Probe reaches what the cloud offers from outside, as its users do.
type Probe interface {
	// Ping sends one echo request and returns the time until the answer.
	Ping(ctx context.Context, address netip.Addr) (time.Duration, error)
	// Get fetches a page.
	Get(ctx context.Context, url string) (status int, body []byte, err error)
	// Screen opens a web socket that carries VNC and returns the version that the other end
	// introduces itself with.
	Screen(ctx context.Context, url string) (version string, err error)
}

// NewProbe returns the probe that uses this host's network. Proxies are passed by: the question
// is whether this host reaches the cloud.
func NewProbe() Probe {
	return network{client: &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		Timeout:   30 * time.Second,
	}}
}

// network is the Probe of this host.
type network struct{ client *http.Client }

// errSocket says that this process may not ping at all: asking again does not help.
var errSocket = errors.New("cannot open a socket for ping")

const (
	pingLimit = time.Second
	// bodyLimit is the most of a page that is read.
	bodyLimit = 4 << 20
)

// Ping implements Probe, over the socket that Linux lets unprivileged groups use for ICMP
// (net.ipv4.ping_group_range) or, where it does not, a raw one.
func (network) Ping(ctx context.Context, address netip.Addr) (time.Duration, error) {
	var target net.Addr = &net.UDPAddr{IP: address.AsSlice()}
	conn, err := icmp.ListenPacket("udp4", "0.0.0.0")
	raw := err != nil
	if raw {
		target = &net.IPAddr{IP: address.AsSlice()}
		var rawErr error
		if conn, rawErr = icmp.ListenPacket("ip4:icmp", "0.0.0.0"); rawErr != nil {
			return 0, fmt.Errorf("%w: %w: run as root, or let your group ping by net.ipv4.ping_group_range", errSocket, errors.Join(err, rawErr))
		}
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // it fails only on what is closed
	defer stop()
	mark := make([]byte, 16)
	_, _ = rand.Read(mark) // it never fails, by its documentation
	request := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: os.Getpid() & 0xffff, Seq: 1, Data: mark}}
	packet, err := request.Marshal(nil)
	if err != nil {
		return 0, fmt.Errorf("cannot make an echo request: %w", err)
	}
	began := time.Now()
	if err := conn.SetDeadline(began.Add(pingLimit)); err != nil {
		return 0, fmt.Errorf("cannot ping %s: %w", address, err)
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if _, err := conn.WriteTo(packet, target); err != nil {
		return 0, fmt.Errorf("cannot ping %s: %w", address, err)
	}
	buffer := make([]byte, 1500)
	for {
		n, _, err := conn.ReadFrom(buffer)
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			return 0, fmt.Errorf("%s does not answer ping", address)
		case err != nil:
			return 0, fmt.Errorf("cannot ping %s: %w", address, err)
		}
		answer, err := icmp.ParseMessage(ipv4.ICMPTypeEchoReply.Protocol(), buffer[:n])
		if err != nil {
			continue // a raw socket sees everybody's
		}
		if echo, ok := answer.Body.(*icmp.Echo); ok && answer.Type == ipv4.ICMPTypeEchoReply && string(echo.Data) == string(mark) {
			return time.Since(began), nil
		}
	}
}

// Get implements Probe.
func (p network) Get(ctx context.Context, url string) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, bodyLimit))
	return response.StatusCode, body, err
}

// Screen implements Probe: a web socket's handshake (RFC 6455), then the first message, which in
// VNC is the server's: "RFB 003.008\n" (RFC 6143 §7.1.1).
func (p network) Screen(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // it never fails, by its documentation
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key":      base64.StdEncoding.EncodeToString(nonce),
		"Sec-WebSocket-Protocol": "binary",
		"Origin":                 request.URL.Scheme + "://" + request.URL.Host,
	} {
		request.Header.Set(name, value)
	}
	ctx, cancel := context.WithTimeout(ctx, p.client.Timeout)
	defer cancel()
	// The client's own limit would make the connection unwritable.
	transport := http.Client{Transport: p.client.Transport}
	response, err := transport.Do(request.WithContext(ctx))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusSwitchingProtocols {
		return "", fmt.Errorf("the web socket is refused: %s", response.Status)
	}
	message, err := firstMessage(bufio.NewReader(response.Body))
	if err != nil {
		return "", fmt.Errorf("the web socket opens, but nothing comes: %w", err)
	}
	if !strings.HasPrefix(message, "RFB ") {
		return "", fmt.Errorf("the web socket opens, but does not speak VNC: %q", oneLine(message))
	}
	return strings.TrimSpace(message), nil
}

// firstMessage reads the first frame of data of a web socket; pings before it are passed over.
func firstMessage(r *bufio.Reader) (string, error) {
	for {
		var head [2]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return "", err
		}
		length := uint64(head[1] & 0x7f)
		switch length {
		case 126:
			var long uint16
			if err := binary.Read(r, binary.BigEndian, &long); err != nil {
				return "", err
			}
			length = uint64(long)
		case 127:
			if err := binary.Read(r, binary.BigEndian, &length); err != nil {
				return "", err
			}
		}
		if head[1]&0x80 != 0 || length > bodyLimit {
			return "", errors.New("the frame is not one that a server may send")
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(r, payload); err != nil {
			return "", err
		}
		switch head[0] & 0x0f {
		case 0x1, 0x2: // text, binary
			return string(payload), nil
		case 0x8: // close: a status of two bytes, then why
			return "", fmt.Errorf("it was closed: %s", oneLine(string(payload[min(2, len(payload)):])))
		}
	}
}
