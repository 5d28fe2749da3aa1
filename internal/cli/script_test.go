// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"copse/internal/api"
	"copse/internal/client/clienttest"
	"copse/internal/plan"
	"copse/internal/tree"
	"copse/internal/verify"
	"copse/internal/view"
)

var update = flag.Bool("update", false, "write the files that tests compare with")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"copse": func() { os.Exit(run(context.Background(), os.Args[1:], Standard(), fakeParts())) },
	})
}

// fakeParts resolve a fixed document. The file cloud.yaml, where it is there, says what goes wrong.
func fakeParts() parts {
	return parts{
		resolve: func(_ context.Context, d declaration) (*tree.Document, error) {
			document := clienttest.Document()
			if d.Address != "" {
				document.Values["ADDRESS"] = d.Address
			}
			document.Pins = d.Pins
			for _, pin := range d.Pins {
				if c := document.Container(pin.Container); c != nil {
					c.Release = pin.Release
				}
				if pin.Container == "keystone" && pin.Release == "2026.1" {
					document.Images = append(document.Images, tree.Image{Name: "keystone", Release: pin.Release, Reference: clienttest.UpgradePlan().Build[0]})
				}
			}
			if d.CloudFile == "" {
				return document, nil
			}
			data, err := os.ReadFile(d.CloudFile)
			if err != nil {
				return nil, fmt.Errorf("cannot read the cloud file: %w", err)
			}
			if text := strings.TrimSpace(string(data)); text != "" {
				return nil, errors.New(d.CloudFile + ":1: " + text)
			}
			return document, nil
		},
		releases: func(declaration) ([]string, error) { return []string{"2025.1", "2026.1"}, nil },
		values: func(d declaration) ([]view.Value, error) {
			return []view.Value{
				{Name: "ADDRESS", Type: "address", Value: "192.0.2.10", Description: "Where clients reach the APIs.", From: "default"},
				{Name: "REGION", Type: "string", Value: "North", Description: "The region.", From: "cloud.yaml:3"},
			}, nil
		},
		compose: func(document *tree.Document) ([]byte, error) {
			return []byte("name: " + document.Cloud + "\nservices:\n  keystone:\n    environment: {ADDRESS: " + document.Values["ADDRESS"] + "}\n"), nil
		},
		listImages: func(_ context.Context, images []tree.Image) ([]view.Image, error) {
			var list []view.Image
			for i, image := range images {
				list = append(list, view.Image{Name: image.Name, Release: image.Release, Reference: image.Reference, Present: i == 0 && image.Name != verify.GuestImage})
			}
			return list, nil
		},
		buildImages: func(_ context.Context, images []tree.Image, progress func(view.BuildEvent)) error {
			for _, image := range images {
				progress(view.BuildEvent{Time: clienttest.Epoch, Image: image.Name, Status: "building", Step: 1, Total: 2, Text: "RUN install"})
				progress(view.BuildEvent{Time: clienttest.Epoch, Image: image.Name, Status: "building", Text: "unpacking", Log: true})
				if _, err := os.Stat("broken-image"); err == nil {
					progress(view.BuildEvent{Time: clienttest.Epoch, Image: image.Name, Status: "failed", Text: "no such package"})
					return fmt.Errorf("cannot build image %s: no such package", image.Name)
				}
				progress(view.BuildEvent{Time: clienttest.Epoch, Image: image.Name, Status: "built"})
			}
			return nil
		},
		ensureAgent: func(_ context.Context, options agentOptions, tell func(string)) (bool, error) {
			if _, err := os.Stat("no-engine"); err == nil {
				return false, errors.New("cannot reach the container engine: is it running?")
			}
			if _, err := os.Stat("fresh"); err == nil {
				tell("started the agent on " + filepath.Base(options.Socket))
				return true, nil
			}
			return false, nil
		},
		guestImage: func(_ context.Context, _ declaration, release string) (tree.Image, error) {
			return tree.Image{Name: "guest", Release: release, Reference: "copse/guest:" + release + "-0a1b2c3d4e5f"}, nil
		},
		takeGuest: func(_ context.Context, image tree.Image) (verify.Guest, error) {
			return verify.Guest{Kernel: []byte(image.Reference)}, nil
		},
		verify: fakeVerify,
		runAgent: func(ctx context.Context, options agentOptions) error {
			fmt.Println("agent in " + options.StateDir)
			return nil
		},
	}
}

// fakeVerify tells what it was asked for, and fails where the file broken-cloud is there.
func fakeVerify(ctx context.Context, o verify.Options) error {
	event := verify.Event{Step: "token", Sentence: "Get a token", Status: verify.Running, Started: clienttest.Epoch}
	o.Report(event)
	event.Status, event.Elapsed = verify.Done, 300*time.Millisecond
	event.Detail = fmt.Sprintf("%s at %s, %v, keep %v, network %q, limit %s", o.Credentials["OS_USERNAME"], o.Credentials["OS_AUTH_URL"], o.Only, o.Keep, o.Network, o.Limit)
	o.Report(event)
	if _, err := os.Stat("interrupted"); err == nil {
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Signal(os.Interrupt)
		}
		if err != nil {
			return err
		}
		<-ctx.Done()
		o.Report(verify.Event{Step: "server", Sentence: "Start a server", Status: verify.Interrupted, Started: clienttest.Epoch})
		return ctx.Err()
	}
	image := verify.Event{Step: "image", Sentence: "Upload the guest", Status: verify.Skipped, Detail: "the service catalogue has no image service", Started: clienttest.Epoch}
	if o.Guest != nil {
		guest, err := o.Guest(ctx)
		if err != nil {
			return err
		}
		image.Status, image.Detail = verify.Done, string(guest.Kernel)
	}
	o.Report(image)
	if _, err := os.Stat("broken-cloud"); err == nil {
		failed := verify.Event{
			Step: "server", Sentence: "Start a server", Status: verify.Failed, Started: clienttest.Epoch, Elapsed: 62 * time.Second,
			Err: errors.New("nova has put it into ERROR: No valid host was found."), Look: []string{"nova-compute", "nova"},
			Console: []string{"\x1b[2JSeaBIOS", "Kernel panic"},
		}
		o.Report(failed)
		return &verify.Failure{Step: failed.Step, Err: failed.Err}
	}
	return nil
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			// A socket's path is short: 108 bytes.
			dir, err := os.MkdirTemp("", "copse")
			if err != nil {
				return err
			}
			agent := clienttest.Cloud()
			socket := filepath.Join(dir, "s")
			if err := agent.Start(socket); err != nil {
				return err
			}
			env.Defer(func() {
				agent.Release()
				if err := errors.Join(agent.Stop(), os.RemoveAll(dir)); err != nil {
					panic(err)
				}
			})
			env.Values["agent"] = agent
			env.Setenv("COPSE_SOCKET", socket)
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("USER", "operator")
			env.Setenv("TERM", "xterm")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"agent": agentCommand,
			"exits": exits,
		},
	})
}

// exits runs a command whose exit code is given: `exits 2 copse plan`.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		failed := (*exec.ExitError)(nil)
		if !errors.As(err, &failed) {
			ts.Fatalf("cannot run %q: %v", args[1:], err)
		}
		got = failed.ExitCode()
	}
	if (got == want) == neg {
		ts.Fatalf("exit code %d, want %d (negated: %v)", got, want, neg)
	}
}

// agentCommand tells the fake agent what to do: `agent stop`.
func agentCommand(ts *testscript.TestScript, neg bool, args []string) {
	agent := ts.Value("agent").(*clienttest.Agent)
	socket := ts.Getenv("COPSE_SOCKET")
	switch args[0] {
	case "stop":
		ts.Check(agent.Stop())
		return
	case "start":
		ts.Check(agent.Start(socket))
		return
	case "release":
		agent.Release()
		return
	case "watched":
		<-agent.Watched()
		return
	}
	agent.Lock()
	defer agent.Unlock()
	switch args[0] {
	case "plans-up":
		agent.Plans[plan.Up] = clienttest.UpPlan()
	case "plans-first":
		agent.Plans[plan.Up] = clienttest.FirstPlan()
		agent.Script = clienttest.First
	case "dangerous":
		p := agent.Plans[plan.Kind(args[1])]
		p.Steps[0].Dangerous = true
	case "port-taken":
		agent.Findings = clienttest.Findings()
		p := agent.Plans[plan.Up]
		p.Findings = agent.Findings
		agent.Plans[plan.Up] = p
	case "warned":
		p := agent.Plans[plan.Up]
		p.Findings = clienttest.Findings()[1:]
		agent.Plans[plan.Up] = p
	case "failing":
		agent.Script = clienttest.Failing
	case "hold":
		agent.Held = 3
	case "drop-after":
		agent.DropAfter, _ = strconv.Atoi(args[1])
	case "busy":
		agent.Refuse = &api.Error{Code: "conflict", Message: "change 9 (up) is running: `copse change 9 -f` follows it, `copse abort 9` stops it", Change: 9}
	case "level":
		agent.Version.Level, _ = strconv.Atoi(args[1])
	case "glance":
		agent.Document.Containers = append(agent.Document.Containers, tree.Container{Host: "node-1", Set: "identity", Name: "glance-api", Component: "glance", Release: "2025.1"})
	case "horizon":
		agent.Containers = append(agent.Containers, api.Container{
			Host: "node-1", Set: "identity/keystone", Name: "keystone", Component: "horizon", State: "running", Health: "healthy", Address: "192.0.2.10:80",
		})
	case "upgrades", "fails-upgrades":
		agent.Plans[plan.Upgrade] = clienttest.UpgradePlan()
		agent.Script = clienttest.Replacing(agent)
		if args[0] == "fails-upgrades" {
			agent.Script = clienttest.Undoing(agent)
		}
	case "finalizes":
		agent.Plans[plan.Upgrade] = clienttest.FinalizePlan()
		agent.Script = clienttest.Replacing(agent)
	case "rolls-back":
		agent.Plans[plan.Rollback] = clienttest.RollbackPlan()
		agent.Script = clienttest.Replacing(agent)
	case "restores":
		p := clienttest.RollbackPlan()
		p.Steps = append([]plan.Step{{
			Host: "node-1", Container: "keystone-db-restore", Component: "keystone", Action: plan.Run, Phase: tree.Restore, Dangerous: true,
			Causes: []string{"keystone goes back to 2025.1, which cannot work with its data"},
			Impact: "everything written to keystone since 2026-01-02 03:04:05 UTC is lost for good; keystone is away meanwhile",
		}}, p.Steps...)
		agent.Plans[plan.Rollback] = p
	case "plans-nothing":
		agent.Plans = map[plan.Kind]plan.Plan{plan.Up: {Kind: plan.Up, Revision: 7}, plan.Upgrade: {Kind: plan.Upgrade, Revision: 7}}
	case "pinned":
		agent.Pins = []tree.Pin{
			{Host: "node-1", Container: "keystone", Release: "2026.1", Change: 12},
			{Host: "node-1", Container: "mariadb", Release: "2025.1", Generation: 1, Change: 13},
		}
		agent.PlanOf = disagreeing
	case "refuses-to-follow":
		agent.PlanOf = func(r api.ChangeRequest) *plan.Plan { return nil }
		agent.Deny = func(r api.ChangeRequest) *api.Error {
			if !r.Unpin {
				return nil
			}
			return &api.Error{Code: "invalid", Message: "cannot put keystone back to 2025.1: its contract job has run"}
		}
	case "supersedes":
		agent.Generations = append(agent.Generations, api.Generation{
			Host: "node-1", Set: "identity/keystone", Name: "keystone", Generation: 2, Release: "2025.1", State: "superseded", Change: 1, Cause: "first start", Activated: &clienttest.Epoch,
		})
	case "stuck":
		c := agent.Changes[0]
		c.Status, c.Tasks[0].Status, c.Tasks[0].Error = "stuck", "stuck", "cannot undo: the engine is away"
		c.Events = []api.Event{{Sequence: 1, Change: 1, Time: clienttest.Epoch, Type: "ended", Status: "error"}}
	case "unneeded":
		agent.Prune = api.Prune{Bytes: 1 << 30, Images: []api.PrunedImage{{ID: "sha256:1", References: []string{"copse/keystone:2024.2-0a0b0c0d0e0f"}, Size: 1 << 30}}}
	case "submitted":
		ts.Check(os.WriteFile(ts.MkAbs("submitted"), []byte(submitted(agent)), 0o644))
	case "empty":
		agent.Containers, agent.Health, agent.Generations, agent.Processes, agent.Secrets, agent.Changes = nil, nil, nil, nil, nil, nil
	case "asked":
		found := false
		for _, request := range agent.Requests {
			found = found || strings.HasPrefix(request, args[1])
		}
		if found == neg {
			ts.Fatalf("requests %q, want %q (negated: %v)", agent.Requests, args[1], neg)
		}
	default:
		ts.Fatalf("unknown: agent %q", args)
	}
}

// disagreeing plans what follows the cloud file for what is pinned, and nothing to keep it.
func disagreeing(r api.ChangeRequest) *plan.Plan {
	if r.Kind != plan.Up {
		return nil
	}
	p := plan.Plan{Kind: plan.Up, Revision: 7, Unchanged: 3, Notes: []string{"keystone is at 2026.1 by change 12; the cloud file says 2025.1"}}
	if r.Unpin {
		p.Notes = nil
		p.Steps = []plan.Step{{Host: "node-1", Container: "keystone", Action: plan.Replace, From: 3, Causes: []string{"release 2026.1 → 2025.1"}}}
	}
	return &p
}

// submitted writes what the last change was asked for with.
func submitted(agent *clienttest.Agent) string {
	if len(agent.Submitted) == 0 {
		return "nothing\n"
	}
	r := agent.Submitted[len(agent.Submitted)-1]
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", strings.TrimSpace(string(r.Kind)+" "+strings.Join(r.Names, " ")))
	for name, given := range map[string]bool{"atomic": r.Atomic, "finalize": r.Finalize, "restore": r.Restore, "unpin": r.Unpin} {
		if given {
			fmt.Fprintf(&b, "%s\n", name)
		}
	}
	if r.To > 0 {
		fmt.Fprintf(&b, "to %d\n", r.To)
	}
	if r.Document != nil {
		for _, pin := range r.Document.Pins {
			fmt.Fprintf(&b, "%s/%s at %s, generation %d, change %d\n", pin.Host, pin.Container, pin.Release, pin.Generation, pin.Change)
		}
	}
	return b.String()
}

func TestParseSince(t *testing.T) {
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	for in, want := range map[string]string{
		"10m": "2026-05-06T06:58:09Z", "2h": "2026-05-06T05:08:09Z", "3d": "2026-05-03T07:08:09Z",
		"2026-01-31": "2026-01-31T00:00:00Z", "2026-01-31 08:00": "2026-01-31T08:00:00Z",
		"2026-01-31T08:00:00+01:00": "2026-01-31T07:00:00Z",
		"-5m":                       "", "yesterday": "", "d": "", "": "",
	} {
		got, err := parseSince(in, now)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q is read as %v, want an error", in, got)
		case want != "" && (err != nil || got.UTC().Format(time.RFC3339) != want):
			t.Errorf("%q is read as %v, %v, want %s", in, got, err, want)
		}
	}
}
