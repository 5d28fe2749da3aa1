// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// Bounds of an answer, in bytes: how much of it is searched, and what may come before it. Checks are made
// in the agent too, which has little memory; whoever answers decides how much there is.
const (
	largestBody = 1 << 20
	largestHead = 64 << 10
)

// statusRange is a range of HTTP status codes, both ends included.
type statusRange struct{ from, to int }

// parseHTTP makes a check that asks for a URL and looks at the status of the
// answer itself: redirects are not followed, no proxy is used.
func parseHTTP(w *words, from place) (probe, error) {
	status, err1 := w.value("status")
	contains, err2 := w.value("contains")
	headers, err3 := w.values("header")
	ca, err4 := w.value("ca")
	insecure := w.flag("insecure")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	plain, err := w.plain(1, "one URL")
	if err != nil {
		return nil, err
	}
	if status == "" {
		// Old code on a newer database answers 500 to everything, and a
		// redirect is what many APIs' roots answer.
		status = "200-399"
	}
	wanted, err := parseStatuses(status)
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(plain[0])
	if err != nil || (target.Scheme != "http" && target.Scheme != "https") || target.Host == "" {
		return nil, fmt.Errorf("%q is no http:// or https:// URL", plain[0])
	}
	// Names are the container's to resolve, and the certificates that it trusts are its own.
	if from.outside && (!literal(target.Hostname()) || target.Scheme == "https" && !insecure || ca != "") {
		return nil, errInsideOnly
	}
	header := http.Header{"User-Agent": {"copse-init check"}}
	for _, text := range headers {
		name, value, found := strings.Cut(text, "=")
		if !found || name == "" {
			return nil, fmt.Errorf("--header %q is not NAME=VALUE", text)
		}
		header.Add(name, value)
	}
	trust := &tls.Config{InsecureSkipVerify: insecure} // only where the operator asks for it
	if ca != "" {
		if trust.RootCAs, err = readCertificates(ca); err != nil {
			return nil, err
		}
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: trust, MaxResponseHeaderBytes: largestHead},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
		if err != nil {
			return err
		}
		request.Header = header
		if host := header.Get("Host"); host != "" {
			request.Host = host
		}
		response, err := client.Do(request)
		if err != nil {
			return fmt.Errorf("GET %s: %w", target.Redacted(), innermost(err))
		}
		defer response.Body.Close()
		if !included(wanted, response.StatusCode) {
			return fmt.Errorf("GET %s: status %s, want %s", target.Redacted(), response.Status, status)
		}
		if contains == "" {
			return nil
		}
		body, err := io.ReadAll(io.LimitReader(response.Body, largestBody))
		if err != nil {
			return fmt.Errorf("GET %s: %w", target.Redacted(), err)
		}
		if !strings.Contains(string(body), contains) {
			return fmt.Errorf("GET %s: the answer does not contain %q", target.Redacted(), contains)
		}
		return nil
	}, nil
}

// innermost leaves out the method and URL that net/http puts in front.
func innermost(err error) error {
	if at, ok := errors.AsType[*url.Error](err); ok {
		return at.Err
	}
	return err
}

func parseStatuses(text string) ([]statusRange, error) {
	var ranges []statusRange
	for item := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(item, "-")
		if !isRange {
			to = from
		}
		low, err1 := strconv.Atoi(from)
		high, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || low < 100 || high > 599 || low > high {
			return nil, fmt.Errorf("--status %q is not status codes such as 200,300-399", text)
		}
		ranges = append(ranges, statusRange{low, high})
	}
	return ranges, nil
}

func included(ranges []statusRange, status int) bool {
	for _, r := range ranges {
		if r.from <= status && status <= r.to {
			return true
		}
	}
	return false
}

func readCertificates(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read --ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--ca %s holds no certificate", path)
	}
	return pool, nil
}
