// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// What a generation answers that has one worker and nothing to do.
const (
	oneProcess = "1162 master 1 [failed: 0] 0d00h02m07s 3.0.11\n# workers\n1271 worker 0 0d00h00m00s 3.0.11\n\n"
	idleStats  = "# pxname,svname,scur,slim,\nkeystone,FRONTEND,0,4096,\n\n"
)

// fakeGeneration makes the place of the first generation's sockets.
func fakeGeneration(t *testing.T, proxy *Proxy) *instance {
	t.Helper()
	one := proxy.instance(1)
	if err := os.Mkdir(one.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return one
}

func readConfig(t *testing.T, proxy *Proxy) []byte {
	t.Helper()
	content, err := os.ReadFile(ConfigPath(proxy.dir))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// slowWorker answers as a worker that has the slots of keystone, and takes an address over some time
// after it has said that it did.
type slowWorker struct {
	description string
	a, b        live
	// coming is where b is to be, once it has been shown stale times as it was.
	coming netip.AddrPort
	stale  int
	// did is what it was told to do, and when b had its address.
	did []string
}

// What the worker of these tests is told, and notes.
const (
	setAddress  = "set server keystone/b addr 127.0.0.1 port 34002"
	tookAddress = "(keystone/b has its address)"
	setReady    = "set server keystone/b state ready"
	setHealth   = "set server keystone/b health up"
	setDrain    = "set server keystone/a state drain"
)

func (w *slowWorker) answer(command string) string {
	switch command {
	case "show info":
		return "Name: HAProxy\ndescription: " + w.description + "\n\n"
	case "show servers state":
		return w.servers()
	}
	w.did = append(w.did, command)
	switch command {
	case setAddress:
		w.coming = netip.MustParseAddrPort("127.0.0.1:34002")
		return "no need to change the addr, port changed from '1' to '34002' by 'stats socket command'\n\n"
	case setReady:
		w.b.state = Ready
	case setDrain:
		w.a.state = Drain
	}
	return "\n"
}

func (w *slowWorker) servers() string {
	if w.coming.IsValid() {
		if w.stale--; w.stale < 0 {
			w.b.address, w.coming = w.coming, netip.AddrPort{}
			w.did = append(w.did, tookAddress)
		}
	}
	var out strings.Builder
	out.WriteString("1\n# be_name srv_name srv_addr srv_admin_state srv_port\n")
	for i, server := range []live{w.a, w.b} {
		admin := map[State]int{Maint: adminForcedMaint, Drain: adminForcedDrain}[server.state]
		fmt.Fprintf(&out, "keystone %s %s %d %d\n", Slot(i), server.address.Addr(), admin, server.address.Port())
	}
	return out.String() + "\n"
}

// The answer to "set server addr" comes before the address has changed. A server that became ready in
// between would get requests where nobody listens, or where its predecessor did.
func TestReadyAfterAddress(t *testing.T) {
	const one, two = "127.0.0.1:34001", "127.0.0.1:34002"
	for name, c := range map[string]struct {
		stale int
		want  []string
		err   string
	}{
		"at once":       {0, []string{setAddress, tookAddress, setReady, setHealth, setDrain}, ""},
		"after a while": {3, []string{setAddress, tookAddress, setReady, setHealth, setDrain}, ""},
		"never":         {math.MaxInt, []string{setAddress}, "the proxy has it at " + emptyAddress.String() + ", wanted is " + two + ": waited 10s"},
	} {
		t.Run(name, func(t *testing.T) {
			proxy, port := New(tempDir(t)), freePort(t)
			mustSync(t, proxy, table(port, Server{one, Ready, 1}, Server{}), NotRunning)
			wanted := table(port, Server{one, Drain, 1}, Server{two, Ready, 2})
			worker := &slowWorker{
				description: description(wanted),
				a:           live{netip.MustParseAddrPort(one), Ready},
				b:           live{emptyAddress, Maint},
				stale:       c.stale,
			}
			stop := serve(t, fakeGeneration(t, proxy), runtimeSocket, worker.answer)
			// The worker is outside: time stands still while it answers.
			synctest.Test(t, func(t *testing.T) {
				outcome, err := proxy.Sync(t.Context(), wanted)
				switch {
				case c.err == "" && (err != nil || outcome != Switched):
					t.Errorf("Sync: %s, %v", outcome, err)
				case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
					t.Errorf("Sync: %s, %v, want an error that says %q", outcome, err, c.err)
				}
			})
			stop()
			if diff := cmp.Diff(c.want, worker.did); diff != "" {
				t.Errorf("what the proxy was told (-want +got):\n%s", diff)
			}
		})
	}
}

// The next start must come up with what the process went on with, not with what it refused.
func TestRefusedTableIsTakenBack(t *testing.T) {
	for name, c := range map[string]struct {
		reload    string // the answer to it
		processes string // from then on
		want      string
	}{
		"the master says why": {
			"Success=0\n--\n[NOTICE]   (9) : haproxy version is 3.0.11\n[ALERT]    (9) : config : nothing suits it\n\n",
			oneProcess, "config : nothing suits it",
		},
		"the master says nothing": {
			"", strings.Replace(oneProcess, "failed: 0", "failed: 1", 1), "log says why",
		},
	} {
		t.Run(name, func(t *testing.T) {
			proxy, port := New(tempDir(t)), freePort(t)
			wanted := table(port, Server{"127.0.0.1:34001", Ready, 1}, Server{})
			mustSync(t, proxy, wanted, NotRunning)
			// A release before this one wrote it a little differently.
			before := append([]byte("# as it was\r\n"), bytes.TrimSpace(readConfig(t, proxy))...)
			if err := os.WriteFile(ConfigPath(proxy.dir), before, 0o644); err != nil {
				t.Fatal(err)
			}
			wanted.Backends[0].CheckPath = "/healthcheck"
			content, err := Render(proxy.dir, wanted)
			if err != nil {
				t.Fatal(err)
			}

			one := fakeGeneration(t, proxy)
			serve(t, one, runtimeSocket, func(command string) string {
				switch command {
				case "show info":
					return "description: copse-former\n\n"
				case "show stat":
					return idleStats
				}
				t.Errorf("who refused the configuration is told %q", command)
				return "\n"
			})
			processes, reloads := oneProcess, 0
			stop := serve(t, one, masterSocket, func(command string) string {
				if command != "reload" {
					return processes
				}
				reloads++
				processes = c.processes
				if got, err := os.ReadFile(ConfigPath(proxy.dir)); err != nil || !bytes.Equal(got, content) {
					t.Errorf("what is to be loaded: %v\n%s", err, got)
				}
				return c.reload
			})
			outcome, err := proxy.Sync(t.Context(), wanted)
			stop()
			if err == nil || !strings.Contains(err.Error(), "goes on as before") || !strings.Contains(err.Error(), c.want) || outcome != NotRunning {
				t.Errorf("Sync: %s, %v, want an error that says %q", outcome, err, c.want)
			}
			if reloads != 1 {
				t.Errorf("%d reloads, want 1", reloads)
			}
			if diff := cmp.Diff(string(before), string(readConfig(t, proxy))); diff != "" {
				t.Errorf("the configuration (-before +after):\n%s", diff)
			}
		})
	}
}

// A process that ends while it is to reload is one that does not run: the table is in the file that the
// next one reads.
func TestEndsInsteadOfReload(t *testing.T) {
	proxy := New(tempDir(t))
	one := fakeGeneration(t, proxy)
	stopRuntime := serve(t, one, runtimeSocket, func(command string) string {
		if command == "show stat" {
			return idleStats
		}
		return "description: copse-other\n\n"
	})
	var stopMaster func()
	stopMaster = serve(t, one, masterSocket, func(command string) string {
		if command == "reload" {
			stopRuntime()
			go stopMaster()
			return ""
		}
		return oneProcess
	})
	wanted := table(freePort(t), Server{"127.0.0.1:1", Ready, 1}, Server{})
	mustSync(t, proxy, wanted, NotRunning)
	content := readConfig(t, proxy)
	if want, _ := Render(proxy.dir, wanted); string(content) != string(want) {
		t.Errorf("the configuration is not the one that is wanted:\n%s", content)
	}
}
