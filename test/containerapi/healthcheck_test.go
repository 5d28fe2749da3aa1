// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// check runs a health check on this machine itself and wants it to say whether
// something is healthy; a failure has to say one of the given words.
func check(t *testing.T, env []string, healthy bool, words []string, program string, arguments ...string) {
	t.Helper()
	if tested.binary != "" {
		link := filepath.Join(t.TempDir(), program)
		if err := os.Symlink(tested.binary, link); err != nil {
			t.Fatal(err)
		}
		program = link
	}
	got, err := tested.run("/", 0, 0, env, append([]string{program}, arguments...)...)
	if err != nil {
		t.Fatal(err)
	}
	want := 1
	if healthy {
		want = 0
	}
	if got.exit != want {
		t.Errorf("%s %q: want exit code %d, got %s", filepath.Base(program), arguments, want, got)
	}
	for _, word := range words {
		if !strings.Contains(got.stdout+got.stderr, word) {
			t.Errorf("%s %q: want %q in what it says, got %s", filepath.Base(program), arguments, word, got)
		}
	}
}

// ourselves matches the command line of this test, which holds the sockets.
func ourselves() string { return strings.ReplaceAll(os.Args[0], ".", `\.`) }

func portOf(t *testing.T, address net.Addr) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address.String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestHealthcheckListenAndPort(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := portOf(t, listener.Addr())
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	udp := portOf(t, packets.LocalAddr())

	check(t, nil, true, nil, "healthcheck_listen", ourselves(), port)
	check(t, nil, true, nil, "healthcheck_listen", ourselves(), udp)
	check(t, nil, true, nil, "healthcheck_listen", ourselves(), "1", port)
	check(t, nil, true, nil, "healthcheck_listen", ourselves(), "1 "+port)
	check(t, nil, false, []string{"1"}, "healthcheck_listen", ourselves(), "1")
	check(t, nil, false, nil, "healthcheck_listen", "no-such-process-"+port, port)
	// A listening socket is no connection.
	check(t, nil, false, []string{port}, "healthcheck_port", ourselves(), port)

	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	check(t, nil, true, nil, "healthcheck_port", ourselves(), port)
	check(t, nil, false, nil, "healthcheck_port", "no-such-process-"+port, port)
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	check(t, nil, false, nil, "healthcheck_listen", ourselves(), port)
}

func TestHealthcheckUsage(t *testing.T) {
	for _, program := range []string{"healthcheck_listen", "healthcheck_port", "healthcheck_socket", "healthcheck_filemod", "healthcheck_curl"} {
		check(t, nil, false, []string{"usage", program}, program)
	}
	check(t, nil, false, []string{"http"}, "healthcheck_listen", ourselves(), "http")
}

func TestHealthcheckSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	check(t, nil, true, nil, "healthcheck_socket", ourselves(), path)
	check(t, nil, true, nil, "healthcheck_socket", ourselves(), "api.sock")
	check(t, nil, false, []string{path + "x"}, "healthcheck_socket", ourselves(), path+"x")
	check(t, nil, false, nil, "healthcheck_socket", ourselves(), path[:len(path)-1])
	check(t, nil, false, nil, "healthcheck_socket", "no-such-process-"+path, path)
}

func TestHealthcheckFilemod(t *testing.T) {
	path := filepath.Join(t.TempDir(), "beat")
	check(t, nil, false, []string{path}, "healthcheck_filemod", path, "10")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, nil, true, nil, "healthcheck_filemod", path, "3600")
	hourAgo := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, hourAgo, hourAgo); err != nil {
		t.Fatal(err)
	}
	check(t, nil, false, []string{path}, "healthcheck_filemod", path, "3000")
	check(t, nil, true, nil, "healthcheck_filemod", path, "1000000")
	check(t, nil, false, nil, "healthcheck_filemod", path, "ten")
}

func TestHealthcheckCurl(t *testing.T) {
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); r.URL.Path == "/auth" && (!ok || user != "u" || password != "p:w") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Path == "/redirect" {
			http.Redirect(w, r, "/500", http.StatusFound)
			return
		}
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
			return
		}
		if status, err := strconv.Atoi(r.URL.Path[1:]); err == nil {
			w.WriteHeader(status)
		}
	})
	plain, tls := httptest.NewServer(answer), httptest.NewTLSServer(answer)
	defer plain.Close()
	defer tls.Close()

	check(t, nil, true, []string{"200"}, "healthcheck_curl", plain.URL)
	check(t, nil, true, nil, "healthcheck_curl", strings.TrimPrefix(plain.URL, "http://"))
	check(t, nil, true, nil, "healthcheck_curl", tls.URL)
	check(t, nil, true, []string{"300"}, "healthcheck_curl", plain.URL+"/300")
	check(t, nil, true, []string{"302"}, "healthcheck_curl", plain.URL+"/redirect")
	check(t, nil, false, []string{"500"}, "healthcheck_curl", "-L", plain.URL+"/redirect")
	check(t, nil, false, []string{"404"}, "healthcheck_curl", plain.URL+"/404")
	check(t, nil, false, []string{"503"}, "healthcheck_curl", plain.URL, plain.URL+"/503")
	check(t, nil, false, []string{"503"}, "healthcheck_curl", plain.URL+"/503", plain.URL)
	check(t, nil, false, []string{"401"}, "healthcheck_curl", plain.URL+"/auth")
	check(t, nil, true, nil, "healthcheck_curl", "-u", "u:p:w", plain.URL+"/auth")
	check(t, nil, true, nil, "healthcheck_curl", "-sSku", "u:p:w", plain.URL+"/auth")
	check(t, nil, true, nil, "healthcheck_curl", "-uu:p:w", plain.URL+"/auth")
	check(t, nil, false, []string{"--nosuchoption"}, "healthcheck_curl", "--nosuchoption", plain.URL)
	check(t, []string{"HEALTHCHECK_CURL_MAX_TIME=0.05"}, false, nil, "healthcheck_curl", plain.URL+"/slow")
	check(t, []string{"HEALTHCHECK_CURL_MAX_TIME=soon"}, false, []string{"HEALTHCHECK_CURL_MAX_TIME"}, "healthcheck_curl", plain.URL)

	closed := httptest.NewServer(answer)
	closed.Close()
	check(t, nil, false, []string{closed.Listener.Addr().String()}, "healthcheck_curl", closed.URL)
}
