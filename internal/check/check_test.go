// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"copse/internal/check"
)

// run makes a check and returns its status and what it printed.
func run(t *testing.T, env map[string]string, arguments ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	lookup := func(name string) (string, bool) { value, ok := env[name]; return value, ok }
	status = check.Run(context.Background(), arguments, lookup, &out, &problems)
	return status, out.String(), problems.String()
}

func want(t *testing.T, env map[string]string, wantStatus int, wantText string, arguments ...string) {
	t.Helper()
	status, stdout, stderr := run(t, env, arguments...)
	if status != wantStatus {
		t.Errorf("%q: status %d, want %d; printed %q %q", arguments, status, wantStatus, stdout, stderr)
	}
	shown := stdout
	if wantStatus == 2 {
		shown = stderr
	}
	if wantText == "" && shown != "" {
		t.Errorf("%q printed %q, want nothing", arguments, shown)
	}
	if !strings.Contains(shown, wantText) {
		t.Errorf("%q printed %q, want %q in it", arguments, shown, wantText)
	}
	if wantStatus != 0 && strings.Count(shown, "\n") != 1 {
		t.Errorf("%q printed %q, want one line", arguments, shown)
	}
}

func TestHTTP(t *testing.T) {
	followed := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/choices":
			w.WriteHeader(http.StatusMultipleChoices)
		case "/moved":
			http.Redirect(w, r, "/target", http.StatusFound)
		case "/target":
			followed = true
		case "/broken":
			http.Error(w, "Out of date", http.StatusInternalServerError)
		case "/closed":
			http.Error(w, "no", http.StatusUnauthorized)
		case "/endless":
			for i := range 64 {
				w.Header().Add("X-Much", strings.Repeat("x", 4<<10)+strconv.Itoa(i))
			}
		case "/header":
			fmt.Fprintf(w, "%s at %s", r.Header.Get("X-Token"), r.Host)
		}
	}))
	defer server.Close()
	base := server.URL
	address := strings.TrimPrefix(base, "http://")
	host, port, _ := net.SplitHostPort(address)
	env := map[string]string{"INTERNAL_ADDRESS": host, "PORT": port}

	want(t, nil, 0, "", "http", base+"/")
	want(t, env, 0, "", "http", "http://${INTERNAL_ADDRESS}:$PORT/choices")
	want(t, nil, 0, "", "http", base+"/moved")
	if followed {
		t.Error("a redirect was followed")
	}
	want(t, nil, 1, "status 500 Internal Server Error, want 200-399", "http", base+"/broken")
	want(t, nil, 1, "status 401", "http", base+"/closed")
	want(t, nil, 1, "response headers exceeded", "http", base+"/endless")
	want(t, nil, 0, "", "http", base+"/closed", "--status", "200,401")
	want(t, nil, 1, "status 200 OK, want 300-399,401", "http", "--status=300-399,401", base)
	want(t, nil, 0, "", "http", base+"/header", "--header", "X-Token=a=b", "--header=Host=cloud", "--contains", "a=b at cloud")
	want(t, nil, 1, `does not contain "x"`, "http", base+"/header", "--contains", "x")
	want(t, nil, 2, "INTERNAL_ADDRESS is not set", "http", "http://${INTERNAL_ADDRESS}/")
	want(t, nil, 2, "no http:// or https:// URL", "http", "ftp://x/")
	want(t, nil, 2, "want one URL", "http")
	want(t, nil, 2, "unknown option --stauts", "http", base, "--stauts", "200")
	want(t, nil, 2, "is not status codes", "http", base, "--status", "20")
}

func TestHTTPIgnoresTheProxyOfTheEnvironment(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:9")
	want(t, nil, 0, "", "http", server.URL, "--status", "404")
}

func TestHTTPS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = nil
	server.StartTLS()
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, nil, 0, "", "http", server.URL, "--ca", ca)
	want(t, nil, 0, "", "http", server.URL, "--insecure")
	want(t, nil, 1, "certificate", "http", server.URL)
	want(t, nil, 2, "cannot read --ca", "http", server.URL, "--ca", ca+"x")
}

// listen answers each line with the reply, if there is one.
func listen(t *testing.T, network, address, reply string) string {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				lines := bufio.NewScanner(connection)
				for lines.Scan() {
					if reply != "" {
						fmt.Fprintf(connection, reply, lines.Text())
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}

func TestSockets(t *testing.T) {
	answering := listen(t, "tcp", "127.0.0.1:0", "VERSION 1.6 (%s)\r\n")
	silent := listen(t, "tcp", "127.0.0.1:0", "")
	path := filepath.Join(t.TempDir(), "s")
	listen(t, "unix", path, "pong %s\n")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	listener.Close()

	want(t, nil, 0, "", "tcp", answering)
	want(t, nil, 0, "", "tcp", answering, "--send", `version\r\n`, "--expect", "VERSION 1.6 (version)")
	want(t, nil, 1, `want "STAT"`, "tcp", answering, "--send", `x\n`, "--expect", "STAT", "--timeout", "100ms")
	want(t, nil, 1, "connection refused", "tcp", closed)
	want(t, nil, 1, "no answer within 50ms", "tcp", silent, "--expect", "x", "--timeout", "50ms")
	pieces := listen(t, "tcp", "127.0.0.1:0", "%s")
	want(t, nil, 0, "", "tcp", pieces, "--send", `VER\nSI\nON 1\n`, "--expect", "VERSION")
	want(t, nil, 0, "", "unix", path)
	want(t, nil, 0, "", "unix", path, "--send", `a\x41\n`, "--expect", "pong aA")
	want(t, nil, 1, "no such file", "unix", path+"x")
	want(t, nil, 2, "not HOST:PORT", "tcp", "localhost")
	want(t, nil, 2, "unknown escape", "tcp", closed, "--send", `\q`)
	want(t, nil, 2, "--timeout", "tcp", closed, "--timeout", "0s")
}

// sleeper starts a process under a name of our own.
func sleeper(t *testing.T, path string, arguments ...string) *exec.Cmd {
	t.Helper()
	command := exec.Command(path, arguments...)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	return command
}

// waitState waits until the kernel shows a process in a state.
func waitState(t *testing.T, pid int, state string) {
	t.Helper()
	for {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			t.Fatal(err)
		}
		if _, after, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(after, state) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// waiting starts a program under a name that is nobody else's; it waits until its input is closed.
func waiting(t *testing.T, name string) (*exec.Cmd, io.Closer) {
	t.Helper()
	script := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(script, []byte("#!/bin/sh\nread line\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(script)
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	waitState(t, command.Process.Pid, "S")
	return command, input
}

func TestProcess(t *testing.T) {
	const name = "copse-check-fixture-agent"
	command, input := waiting(t, name)
	want(t, nil, 0, "", "process", name)
	want(t, nil, 1, "no process copse-check-fixture-other", "process", name, "copse-check-fixture-other")
	want(t, nil, 1, "no process fixture-agent", "process", "fixture-agent")

	if err := command.Process.Signal(stopSignal); err != nil {
		t.Fatal(err)
	}
	waitState(t, command.Process.Pid, "T")
	want(t, nil, 1, "is stopped", "process", name)
	if err := command.Process.Signal(continueSignal); err != nil {
		t.Fatal(err)
	}
	input.Close()
	waitState(t, command.Process.Pid, "Z")
	// A zombie has lost its arguments; only the kernel's short name is left.
	want(t, nil, 1, "zombie", "process", name)
	_ = command.Wait()
	want(t, nil, 1, "no process "+name, "process", name)
	want(t, nil, 2, "at least one NAME", "process")
}

func TestProcessByTitle(t *testing.T) {
	sleeper(t, "/bin/bash", "-c", `exec -a "copse-fixture-server: worker 1" sleep 60`)
	for {
		if status, _, _ := run(t, nil, "process", "copse-fixture-server"); status == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestFileAge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "beat")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, nil, 0, "", "file-age", path, "1h")
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	want(t, nil, 1, "want at most 1h0m0s", "file-age", path, "3600")
	want(t, nil, 0, "", "file-age", path, "3h")
	want(t, nil, 1, "no such file", "file-age", path+"x", "1h")
	want(t, nil, 2, "no age", "file-age", path, "soon")
}

func TestExec(t *testing.T) {
	env := map[string]string{"WORD": "a b"}
	want(t, nil, 0, "", "exec", "--", "true")
	want(t, env, 0, "", "exec", "--", "test", "$WORD", "=", "a b")
	want(t, nil, 1, "exit status 3: bad things", "exec", "--", "sh", "-c", "echo bad things >&2; exit 3")
	want(t, nil, 1, "no answer within 50ms", "exec", "--timeout", "50ms", "--", "sleep", "60")
	want(t, nil, 1, "executable file not found", "exec", "--", "copse-no-such-program")
	want(t, nil, 0, "", "exec", "--", "sh", "-c", "sleep 60 & exit 0")
	want(t, nil, 2, "no command", "exec")
	want(t, nil, 2, "nothing but options", "exec", "true", "--", "true")
}

func TestTimeoutEndsWhatACommandStarted(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	status, _, _ := run(t, nil, "exec", "--timeout", "1s", "--", "sh", "-c", "sleep 60 & echo $$! > "+pidFile+"; wait")
	if status != 1 {
		t.Fatalf("status %d, want 1", status)
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid := strings.TrimSpace(string(text))
	for {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestParts(t *testing.T) {
	want(t, nil, 0, "", "exec", "--", "true", "--and", "exec", "--", "true")
	status, stdout, _ := run(t, nil, "exec", "--", "false", "--and", "unix", "/nonexistent/s", "--and", "exec", "--", "true")
	if status != 1 || strings.Count(stdout, "\n") != 2 {
		t.Errorf("status %d, printed %q; want 1 and two reasons", status, stdout)
	}
	want(t, nil, 2, "no kind of check", "exec", "--", "true", "--and")
	want(t, nil, 2, `is called "htp"`, "htp", "x")
	want(t, nil, 2, `unexpected "--"`, "unix", "/x", "--")
}

func TestExpansion(t *testing.T) {
	env := map[string]string{"A": "1", "A_B": "2"}
	want(t, env, 0, "", "exec", "--", "test", "$A/${A}x$A_B$$", "=", "1/1x2$$")
	want(t, env, 2, "no closing brace", "exec", "--", "x", "${A")
	want(t, env, 2, "write $$ for a dollar sign", "exec", "--", "x", "a$")
	want(t, env, 2, "write $$ for a dollar sign", "exec", "--", "x", "${A-1}")
}

const (
	stopSignal     = syscall.SIGSTOP
	continueSignal = syscall.SIGCONT
)
