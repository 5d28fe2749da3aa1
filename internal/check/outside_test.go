// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"copse/internal/check"
)

// buildProgram makes copse-init as it is in an image.
func buildProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "copse-init")
	build := exec.Command("go", "build", "-o", program, "copse/cmd/copse-init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build copse-init: %v\n%s", err, output)
	}
	return program
}

// fixture starts a program under a name and brings it into a state.
func fixture(t *testing.T, name, state string) {
	t.Helper()
	command, input := waiting(t, name)
	switch state {
	case "T":
		if err := command.Process.Signal(stopSignal); err != nil {
			t.Fatal(err)
		}
	case "Z":
		input.Close()
	}
	waitState(t, command.Process.Pid, state)
}

// TestOutsideSaysWhatTheProgramSays runs each check as a process of its own and from outside.
func TestOutsideSaysWhatTheProgramSays(t *testing.T) {
	program := buildProgram(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/broken":
			http.Error(w, "out of date", http.StatusInternalServerError)
		case "/slow":
			<-r.Context().Done()
		default:
			fmt.Fprint(w, r.Header.Get("X-Word"), " from ", r.UserAgent())
		}
	}))
	defer server.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	answering := listen(t, "tcp", "127.0.0.1:0", "VERSION 1.6 (%s)\r\n")
	silent := listen(t, "tcp", "127.0.0.1:0", "")
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := gone.Addr().String()
	gone.Close()
	fixture(t, "copse-fixture-waits", "S")
	fixture(t, "copse-fixture-stopped", "T")
	fixture(t, "copse-fixture-ended", "Z")

	env := map[string]string{"PORT": port, "WORD": "two words"}
	for _, c := range []struct {
		test   string // words, with "_" for a space within one
		status int
		says   string
	}{
		{"http http://127.0.0.1:${PORT}/v3", 0, ""},
		{"http http://127.0.0.1:$PORT/ --header X-Word=$WORD --contains two_words_from_copse-init_check", 0, ""},
		{"http http://127.0.0.1:$PORT/ --contains more", 1, `does not contain "more"`},
		{"http http://127.0.0.1:$PORT/broken", 1, "status 500"},
		{"http http://127.0.0.1:$PORT/broken --status 500", 0, ""},
		{"http http://127.0.0.1:$PORT/slow --timeout 100ms", 1, "no answer within 100ms"},
		{"http http://" + closed + "/", 1, "connection refused"},
		{"http " + secure.URL + " --insecure --status 404", 0, ""},
		{"tcp " + answering, 0, ""},
		{`tcp ` + answering + ` --send version\r\n --expect VERSION`, 0, ""},
		{`tcp ` + answering + ` --send version\r\n --expect STAT --timeout 100ms`, 1, `want "STAT"`},
		{"tcp " + silent + " --expect x --timeout 100ms", 1, "no answer within 100ms"},
		{"tcp " + closed, 1, "connection refused"},
		{"process copse-fixture-waits", 0, ""},
		{"process copse-fixture-waits copse-fixture-absent", 1, "no process copse-fixture-absent"},
		{"process copse-fixture-stopped", 1, "is stopped"},
		{"process copse-fixture-ended", 1, "is a zombie"},
		{"process copse-fixture-waits --and tcp " + closed + " --and http http://127.0.0.1:$PORT/broken", 1, "status 500"},
	} {
		t.Run(c.test, func(t *testing.T) {
			arguments := strings.Fields(c.test)
			for i := range arguments {
				arguments[i] = strings.ReplaceAll(arguments[i], "_", " ")
			}
			command := exec.Command(program, append([]string{"check"}, arguments...)...)
			for name, value := range env {
				command.Env = append(command.Env, name+"="+value)
			}
			var inside bytes.Buffer
			command.Stdout, command.Stderr = &inside, &inside
			_ = command.Run() // its status is looked at
			lookup := func(name string) (string, bool) { value, set := env[name]; return value, set }
			for _, name := range []string{"copse-init", "/usr/local/bin/copse-init"} {
				run, ok := check.Outside(append([]string{name, "check"}, arguments...), lookup, "/proc")
				if !ok {
					t.Fatal("it is to be run inside")
				}
				var outside bytes.Buffer
				status := run(context.Background(), &outside)
				if status != c.status || command.ProcessState.ExitCode() != c.status {
					t.Errorf("status %d outside, %d inside, want %d", status, command.ProcessState.ExitCode(), c.status)
				}
				if outside.String() != inside.String() || !strings.Contains(outside.String(), c.says) {
					t.Errorf("outside it says %q, inside %q, want %q in both", &outside, &inside, c.says)
				}
			}
		})
	}
}

func TestOutsideLeavesTheRestToTheContainer(t *testing.T) {
	env := map[string]string{"PORT": "80"}
	lookup := func(name string) (string, bool) { value, set := env[name]; return value, set }
	for _, test := range []string{
		"",
		"copse-init",
		"copse-init version",
		"copse-init check",
		"/tmp/copse-init check tcp 127.0.0.1:80",
		"sh -c true",
		"copse-init check exec -- true",
		"copse-init check unix /run/s",
		"copse-init check file-age /run/beat 1m",
		"copse-init check tcp database:3306",
		"copse-init check tcp 127.0.0.1:mysql",
		"copse-init check tcp 127.0.0.1:$HOSTPORT",
		"copse-init check http http://localhost:$PORT/",
		"copse-init check http https://127.0.0.1:$PORT/",
		"copse-init check http https://127.0.0.1:$PORT/ --ca /etc/ca.pem",
		"copse-init check http http://127.0.0.1:$PORT/ --stauts 200",
		"copse-init check tcp 127.0.0.1:$PORT --and unix /run/s",
	} {
		if _, ok := check.Outside(strings.Fields(test), lookup, "/proc"); ok {
			t.Errorf("%q is made outside", test)
		}
	}
	if _, ok := check.Outside([]string{"copse-init", "check", "process", "x"}, lookup, ""); ok {
		t.Error("processes that cannot be seen are looked at from outside")
	}
}
