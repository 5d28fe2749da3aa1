// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"copse/catalog"
	"copse/internal/tree"
)

// startedByAgent are those that the agent alone starts, after a reboot and whenever they end: machines that
// were running are started by nova-compute as it starts, which needs everything else first.
var startedByAgent = []string{"nova-compute"}

// TestCatalogueIsHardened walks the containers of the catalogue and holds each to what all must have.
func TestCatalogueIsHardened(t *testing.T) {
	doc := load(t, defaults(t))
	if len(doc.Containers) == 0 {
		t.Fatal("the catalogue has no containers")
	}
	// Root without a capability beyond those with a reason: interfaces of the host, and virtual
	// machines, which are started as another user.
	runAsRoot := []string{"nova-libvirt", "openvswitch-vswitchd"}
	// sudo becomes root for single commands.
	becomeRoot := []string{"neutron-dhcp-agent", "neutron-l3-agent", "neutron-openvswitch-agent", "nova-compute"}
	for i := range doc.Containers {
		c := &doc.Containers[i]
		e := &c.Spec
		must := func(ok bool, format string, args ...any) {
			t.Helper()
			if !ok {
				t.Errorf("%s: %s", c.Name, fmt.Sprintf(format, args...))
			}
		}
		must(e.NetworkMode == "host", "network mode %q", e.NetworkMode)
		must(e.ReadOnly, "its root is writable")
		must(slices.Contains(e.CapDrop, "ALL"), "it keeps capabilities by default")
		must(slices.Contains(e.SecurityOpt, "no-new-privileges:true") || slices.Contains(becomeRoot, c.Name), "it may gain privileges")
		// Limits do not reach a service that leaves the container's control group.
		must(c.OwnCgroup || (e.Memory > 0 && e.Pids > 0), "no limit of memory or processes")
		must(e.StopGracePeriod > 0, "no time to stop in")
		must(e.LogDriver != "" && e.LogOptions["max-size"] != "", "its log grows without end")
		uid, _, numeric := userIDs(e.User)
		must(numeric && (uid > 0 || slices.Contains(runAsRoot, c.Name)), "user %q is root or no number", e.User)
		for _, target := range []string{"/tmp", "/run"} {
			at := slices.IndexFunc(e.Mounts, func(m tree.Mount) bool { return m.Target == target })
			if at < 0 {
				must(false, "nothing is mounted at %s", target)
				continue
			}
			options := e.Mounts[at].TmpfsOptions
			must(e.Mounts[at].Type == tree.Tmpfs && strings.Contains(options, "size="), "%s is no tmpfs with a size", target)
			must(target != "/run" || strings.Contains(options, fmt.Sprintf("mode=0755,uid=%d,", uid)), "/run (%s) is not its user's", options)
		}
		if c.Job != nil {
			must(e.Restart == "no", "a job with restart %q", e.Restart)
			must(c.Job.Timeout > 0, "a job without an end")
		} else {
			restart := "always"
			if slices.Contains(startedByAgent, c.Name) {
				restart = "no"
			}
			must(e.Restart == restart, "restart %q", e.Restart)
			must(c.Check != nil && c.Check.Timeout <= c.Check.Interval, "no check, or one that overtakes itself")
			must(c.Update.Rollback != "", "no rollback class")
		}
		if c.Frontend != nil {
			must(c.Update.Order == tree.StartFirst, "behind the proxy, yet %s", c.Update.Order)
			told := slices.Collect(maps.Values(e.Environment))
			must(slices.ContainsFunc(append(told, e.Command...), func(word string) bool { return strings.Contains(word, c.Frontend.Internal) }), "it is not told to listen at %s", c.Frontend.Internal)
		}
		for key, value := range e.Environment {
			// copse-init takes what is an option out of the environment and fills the secret in.
			placeholder := strings.HasPrefix(key, "OS_") && strings.HasPrefix(value, "{{secret ") && strings.HasSuffix(value, "}}")
			number := value != "" && strings.Trim(value, "0123456789") == ""
			must(placeholder || number || !strings.Contains(strings.ToLower(key), "password"), "%s stands in the environment", key)
			must(!strings.Contains(value, "password="), "%s holds a password", key)
		}
	}
	for _, s := range doc.Secrets {
		if s.Description == "" {
			t.Errorf("secret %s: nobody says what it protects", s.Name)
		}
	}
	for _, s := range doc.Sets {
		if s.Description == "" {
			t.Errorf("set %s has no description", s.Path)
		}
	}
}

// TestCatalogueHasNothingUnused finds declarations that nobody refers to.
func TestCatalogueHasNothingUnused(t *testing.T) {
	in, err := read(defaults(t))
	if err != nil {
		t.Fatal(err)
	}
	text := map[string]string{}
	err = fs.WalkDir(catalog.Files(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || (!strings.HasPrefix(name, "sets/") && !strings.HasPrefix(name, "env/") && name != "values.yaml") {
			return err
		}
		content, err := fs.ReadFile(catalog.Files(), name)
		text[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	mentioned := func(what string) bool {
		for _, content := range text {
			if strings.Contains(content, what) {
				return true
			}
		}
		return false
	}
	declared, faults := readDeclarations(in.catalogue.values)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	for name, d := range declared {
		if !mentioned("${"+name+"}") && !slices.Contains(tree.AgentValues(), name) {
			t.Errorf("no set uses the value %s", name)
		}
		if d.Description == "" {
			t.Errorf("value %s has no description", name)
		}
	}
	for name := range text {
		if strings.HasPrefix(name, "sets/") && path.Base(name) != composeFile && !mentioned("file: "+path.Base(name)) {
			t.Errorf("no config uses %s", name)
		}
		if strings.HasPrefix(name, "env/") && !mentioned("../"+name) {
			t.Errorf("no container uses %s", name)
		}
	}
	doc := load(t, defaults(t))
	for _, set := range in.catalogue.sets {
		project, err := new(Loader).parseCompose(context.Background(), set, doc.Values)
		if err != nil {
			t.Fatal(err)
		}
		for name := range project.Secrets {
			if doc.Secret(name) == nil {
				t.Errorf("%s: no container uses the secret %s", set.name, name)
			}
		}
		for name := range project.Volumes {
			if !slices.ContainsFunc(doc.Volumes, func(v tree.Volume) bool { return v.Name == doc.Cloud+"_"+name }) {
				t.Errorf("%s: no container mounts the volume %s", set.name, name)
			}
		}
		for name := range project.Configs {
			if !mentioned("source: "+name+",") && !mentioned("- "+name+"\n") {
				t.Errorf("%s: no container uses the config %s", set.name, name)
			}
		}
	}
}

func TestRenderCompose(t *testing.T) {
	rendered, err := RenderCompose(load(t, defaults(t)), RenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "rendered.yaml", rendered)
	opts := defaults(t)
	opts.Catalogue = small()
	rendered, err = RenderCompose(load(t, opts), RenderOptions{
		FirstPort:  20000,
		SecretFile: func(container string, m tree.SecretMount) string { return "/secrets/" + container + "." + m.Name },
	})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "rendered-small.yaml", rendered)
}

// TestComposeAcceptsRendered asks docker compose itself. COPSE_COMPOSE names the program where
// it is no plugin of docker's. A plain "go test" may go without; "make test" fetches it, fails where it
// cannot, and always sets the variable.
func TestComposeAcceptsRendered(t *testing.T) {
	command := []string{os.Getenv("COPSE_COMPOSE")}
	if command[0] == "" {
		if exec.Command("docker", "compose", "version").Run() != nil {
			t.Skip("docker compose is not installed; set COPSE_COMPOSE to its path")
		}
		command = []string{"docker", "compose"}
	}
	for _, name := range []string{"rendered.yaml", "rendered-small.yaml"} {
		file, err := filepath.Abs(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		arguments := append(slices.Clone(command[1:]), "-f", file, "config", "--format", "json")
		var problems strings.Builder
		run := exec.Command(command[0], arguments...)
		run.Stderr = &problems
		out, err := run.Output()
		if err != nil || problems.Len() > 0 {
			t.Errorf("%s is not accepted: %v\n%s", name, err, problems.String())
		}
		if !strings.Contains(string(out), `"services"`) {
			t.Errorf("%s: compose read nothing of it", name)
		}
	}
}

// manySets is a catalogue of the size that the whole of OpenStack needs.
func manySets(sets int) fs.FS {
	files := fstest.MapFS{}
	err := fs.WalkDir(catalog.Files(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(catalog.Files(), name)
		files[name] = &fstest.MapFile{Data: content}
		return err
	})
	if err != nil {
		panic(err)
	}
	for i := range sets {
		files[fmt.Sprintf("sets/more-%d/compose.yaml", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, `
x-hardened: &hardened
  network_mode: host
  restart: always
  read_only: true
  cap_drop: [ALL]
  security_opt: ["no-new-privileges:true"]
  user: "42425:42425"
  tmpfs: ["/tmp:mode=1777,size=64m", "/run:mode=0755,uid=42425,gid=42425,size=16m"]
  env_file: [../../env/logging.env]
  healthcheck: {test: [CMD, copse-init, check, http, "http://$${INTERNAL_ADDRESS}:$${PORT}/"]}
  depends_on:
    databases: {condition: service_completed_successfully}
services:
  a%[1]d:
    <<: *hardened
    command: [run, "${INTERNAL_ADDRESS}"]
    environment: {OS_DEFAULT__A: "${ADDRESS}", OS_DEFAULT__B: "2", OS_DEFAULT__C: "3"}
    x-copse: {component: c%[1]d, image: keystone}
  b%[1]d:
    <<: *hardened
    command: [run, "${INTERNAL_ADDRESS}"]
    x-copse: {component: c%[1]d, image: keystone}
  c%[1]d:
    <<: *hardened
    command: [run, "${INTERNAL_ADDRESS}"]
    x-copse: {component: c%[1]d, image: keystone}
`, i)}
	}
	return files
}

func BenchmarkLoad(b *testing.B) {
	opts := defaults(b)
	for _, sets := range []int{4, 20} {
		opts.Catalogue = manySets(sets - 4)
		b.Run(fmt.Sprintf("sets=%d", sets), func(b *testing.B) {
			for b.Loop() {
				load(b, opts)
			}
		})
		b.Run(fmt.Sprintf("sets=%d/cached", sets), func(b *testing.B) {
			var loader Loader
			for b.Loop() {
				if _, err := loader.Load(context.Background(), opts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
