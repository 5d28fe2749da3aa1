// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// curlRequest is what the arguments of healthcheck_curl ask for.
type curlRequest struct {
	urls       []string
	method     string
	headers    http.Header
	user       string
	agent      string
	body       string
	unixSocket string
	follow     bool
	maxTime    time.Duration
}

// healthcheckCurl asks for each URL and fails when one cannot be had or
// answers with a status of 400 or more. Certificates are not verified, as in
// the original: the question is whether the service answers. No proxy is used.
func healthcheckCurl(ctx context.Context, c Container, arguments []string) error {
	request, err := parseCurl(c, arguments)
	if err != nil {
		return unhealthy("%w", err)
	}
	client := request.client()
	for _, address := range request.urls {
		if err := request.get(ctx, client, address, c.Stdout); err != nil {
			return unhealthy("%w", err)
		}
	}
	return nil
}

// parseCurl understands those options of curl that make sense for a check.
func parseCurl(c Container, arguments []string) (*curlRequest, error) {
	const defaultMaxTime = "10"
	r := &curlRequest{method: http.MethodGet, headers: http.Header{}, agent: "curl-healthcheck"}
	if agent, _ := c.lookup("HEALTHCHECK_CURL_USER_AGENT"); agent != "" {
		r.agent = agent
	}
	maxTime, _ := c.lookup("HEALTHCHECK_CURL_MAX_TIME")
	if maxTime == "" {
		maxTime = defaultMaxTime
	}
	if err := r.setMaxTime(maxTime); err != nil {
		return nil, fmt.Errorf("HEALTHCHECK_CURL_MAX_TIME: %w", err)
	}
	for len(arguments) > 0 {
		argument := arguments[0]
		arguments = arguments[1:]
		if !strings.HasPrefix(argument, "-") || argument == "-" {
			r.urls = append(r.urls, argument)
			continue
		}
		used, err := r.option(argument, arguments)
		if err != nil {
			return nil, err
		}
		arguments = arguments[used:]
	}
	if len(r.urls) == 0 {
		return nil, fmt.Errorf("usage: healthcheck_curl [OPTION…] URL…")
	}
	return r, nil
}

// option reads one argument, which may hold several one-letter options, and
// tells how many of the rest it used for a value.
func (r *curlRequest) option(argument string, rest []string) (used int, err error) {
	if strings.HasPrefix(argument, "--") {
		return r.named(argument, "", rest)
	}
	for i, letter := range argument[1:] {
		attached := argument[1+i+1:]
		used, err := r.named("-"+string(letter), attached, rest)
		if err != nil {
			return 0, err
		}
		if used != 0 || takesValue("-"+string(letter)) {
			return used, nil
		}
	}
	return 0, nil
}

func takesValue(option string) bool { return strings.Contains("-u -H -X -m -A -d", option) }

func (r *curlRequest) named(option, attached string, rest []string) (used int, err error) {
	switch option {
	case "-k", "--insecure", "-s", "--silent", "-S", "--show-error", "-f", "--fail", "-g", "--globoff", "-q", "--disable", "-v", "--verbose":
		return 0, nil // so it is done anyway
	case "-L", "--location":
		r.follow = true
		return 0, nil
	case "-I", "--head":
		r.method = http.MethodHead
		return 0, nil
	}
	value := attached
	if value == "" {
		if len(rest) == 0 {
			return 0, fmt.Errorf("the option %s is not known or lacks its value", option)
		}
		value, used = rest[0], 1
	}
	switch option {
	case "-u", "--user":
		r.user = value
	case "-H", "--header":
		name, text, found := strings.Cut(value, ":")
		if !found {
			return 0, fmt.Errorf("%q is no header", name)
		}
		r.headers.Add(strings.TrimSpace(name), strings.TrimSpace(text))
	case "-X", "--request":
		r.method = value
	case "-A", "--user-agent":
		r.agent = value
	case "-d", "--data":
		r.body = value
		if r.method == http.MethodGet {
			r.method = http.MethodPost
		}
	case "-m", "--max-time":
		return used, r.setMaxTime(value)
	case "--unix-socket":
		r.unixSocket = value
	default:
		return 0, fmt.Errorf("the option %s is not known", option)
	}
	return used, nil
}

func (r *curlRequest) setMaxTime(seconds string) error {
	number, err := strconv.ParseFloat(seconds, 64)
	if err != nil || number <= 0 || number > 1e6 {
		return fmt.Errorf("%q is no number of seconds", seconds)
	}
	r.maxTime = time.Duration(number * float64(time.Second))
	return nil
}

func (r *curlRequest) client() *http.Client {
	transport := &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
	}
	if r.unixSocket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", r.unixSocket)
		}
	}
	client := &http.Client{Transport: transport, Timeout: r.maxTime}
	if !r.follow {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return client
}

func (r *curlRequest) get(ctx context.Context, client *http.Client, address string, output io.Writer) error {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	request, err := http.NewRequestWithContext(ctx, r.method, address, strings.NewReader(r.body))
	if err != nil {
		return fmt.Errorf("cannot ask for the URL: %w", withoutUser(err))
	}
	request.Header = r.headers.Clone()
	request.Header.Set("User-Agent", r.agent)
	if host := r.headers.Get("Host"); host != "" {
		request.Host = host
	}
	if name, password, _ := strings.Cut(r.user, ":"); r.user != "" {
		request.SetBasicAuth(name, password)
	}
	begin := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%s does not answer: %w", request.URL.Redacted(), withoutUser(err))
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return fmt.Errorf("%s breaks off its answer: %w", request.URL.Redacted(), err)
	}
	// Nothing can be done about an output that cannot be written.
	_, _ = fmt.Fprintf(output, "%d %s %.6f seconds\n", response.StatusCode, request.URL.Redacted(), time.Since(begin).Seconds())
	if response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s answers %s", request.URL.Redacted(), response.Status)
	}
	return nil
}

// withoutUser leaves out the URL, which may hold a password.
func withoutUser(err error) error {
	if wrapped, ok := err.(*url.Error); ok {
		return wrapped.Err
	}
	return err
}
