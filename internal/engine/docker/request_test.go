// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"

	"copse/internal/tree"
)

// noFiles is a host without seccomp profiles.
func noFiles(path string) ([]byte, error) {
	return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
}

// request translates for an engine on a full host.
func request(t *testing.T, spec tree.Spec) (*container.Config, *container.HostConfig) {
	t.Helper()
	config, host, err := (&Engine{}).request(spec, noFiles)
	if err != nil {
		t.Fatal(err)
	}
	return config, host
}

// TestRequestIsComplete sets every field of a specification and checks, field by field, that
// each reaches the request: a field that is added to tree.Spec and forgotten here fails.
func TestRequestIsComplete(t *testing.T) {
	pids := int64(100)
	timeout := 7
	wants := map[string]func(*container.Config, *container.HostConfig) any{
		"Image":           func(c *container.Config, _ *container.HostConfig) any { return c.Image },
		"Entrypoint":      func(c *container.Config, _ *container.HostConfig) any { return c.Entrypoint },
		"Command":         func(c *container.Config, _ *container.HostConfig) any { return c.Cmd },
		"User":            func(c *container.Config, _ *container.HostConfig) any { return c.User },
		"GroupAdd":        func(_ *container.Config, h *container.HostConfig) any { return h.GroupAdd },
		"WorkingDir":      func(c *container.Config, _ *container.HostConfig) any { return c.WorkingDir },
		"Hostname":        func(c *container.Config, _ *container.HostConfig) any { return c.Hostname },
		"Environment":     func(c *container.Config, _ *container.HostConfig) any { return c.Env },
		"Labels":          func(c *container.Config, _ *container.HostConfig) any { return c.Labels },
		"NetworkMode":     func(_ *container.Config, h *container.HostConfig) any { return h.NetworkMode },
		"PID":             func(_ *container.Config, h *container.HostConfig) any { return h.PidMode },
		"IPC":             func(_ *container.Config, h *container.HostConfig) any { return h.IpcMode },
		"UTS":             func(_ *container.Config, h *container.HostConfig) any { return h.UTSMode },
		"Cgroup":          func(_ *container.Config, h *container.HostConfig) any { return h.CgroupnsMode },
		"Privileged":      func(_ *container.Config, h *container.HostConfig) any { return h.Privileged },
		"CapAdd":          func(_ *container.Config, h *container.HostConfig) any { return h.CapAdd },
		"CapDrop":         func(_ *container.Config, h *container.HostConfig) any { return h.CapDrop },
		"SecurityOpt":     func(_ *container.Config, h *container.HostConfig) any { return h.SecurityOpt },
		"Devices":         func(_ *container.Config, h *container.HostConfig) any { return h.Devices },
		"DeviceRules":     func(_ *container.Config, h *container.HostConfig) any { return h.DeviceCgroupRules },
		"Mounts":          func(_ *container.Config, h *container.HostConfig) any { return h.Mounts },
		"ReadOnly":        func(_ *container.Config, h *container.HostConfig) any { return h.ReadonlyRootfs },
		"Ulimits":         func(_ *container.Config, h *container.HostConfig) any { return h.Ulimits },
		"Sysctls":         func(_ *container.Config, h *container.HostConfig) any { return h.Sysctls },
		"ExtraHosts":      func(_ *container.Config, h *container.HostConfig) any { return h.ExtraHosts },
		"ShmSize":         func(_ *container.Config, h *container.HostConfig) any { return h.ShmSize },
		"Memory":          func(_ *container.Config, h *container.HostConfig) any { return h.Memory },
		"CPUs":            func(_ *container.Config, h *container.HostConfig) any { return h.NanoCPUs },
		"Pids":            func(_ *container.Config, h *container.HostConfig) any { return h.PidsLimit },
		"Restart":         func(_ *container.Config, h *container.HostConfig) any { return h.RestartPolicy },
		"StopSignal":      func(c *container.Config, _ *container.HostConfig) any { return c.StopSignal },
		"StopGracePeriod": func(c *container.Config, _ *container.HostConfig) any { return c.StopTimeout },
		"LogDriver":       func(_ *container.Config, h *container.HostConfig) any { return h.LogConfig.Type },
		"LogOptions":      func(_ *container.Config, h *container.HostConfig) any { return h.LogConfig.Config },
		"TTY":             func(c *container.Config, _ *container.HostConfig) any { return c.Tty },
	}
	spec := tree.Spec{
		Image: "copse/x:1", Entrypoint: []string{"/init"}, Command: []string{"run", ""}, User: "42435:42435",
		GroupAdd: []string{"kvm"}, WorkingDir: "/w", Hostname: "h", Environment: map[string]string{"B": "2", "A": "1=1"},
		Labels: map[string]string{"l": "v"}, NetworkMode: "host", PID: "host", IPC: "shareable", UTS: "host", Cgroup: "private",
		Privileged: true, CapAdd: []string{"NET_ADMIN"}, CapDrop: []string{"MKNOD"}, SecurityOpt: []string{"label:disable", "no-new-privileges"},
		Devices: []tree.Device{{Source: "/dev/kvm"}}, DeviceRules: []string{"c 10:232 rwm"},
		Mounts:   []tree.Mount{{Type: tree.NamedVolume, Source: "v", Target: "/v"}},
		ReadOnly: true, Ulimits: map[string]tree.Ulimit{"nproc": {Soft: -1, Hard: -1}, "nofile": {Soft: 1, Hard: 2}},
		Sysctls: map[string]string{"net.core.somaxconn": "1024"}, ExtraHosts: []string{"a:192.0.2.1"}, ShmSize: 1 << 20,
		Memory: 1 << 30, CPUs: 1.5, Pids: pids, Restart: "on-failure:3", StopSignal: "SIGQUIT", StopGracePeriod: 6100 * time.Millisecond,
		LogDriver: "local", LogOptions: map[string]string{"max-size": "1m"}, TTY: true,
	}
	expected := map[string]any{
		"Image": "copse/x:1", "Entrypoint": []string{"/init"}, "Command": []string{"run", ""}, "User": "42435:42435",
		"GroupAdd": []string{"kvm"}, "WorkingDir": "/w", "Hostname": "h", "Environment": []string{"A=1=1", "B=2"},
		"Labels": map[string]string{"l": "v"}, "NetworkMode": container.NetworkMode("host"), "PID": container.PidMode("host"),
		"IPC": container.IpcMode("shareable"), "UTS": container.UTSMode("host"), "Cgroup": container.CgroupnsMode("private"),
		"Privileged": true, "CapAdd": []string{"NET_ADMIN"}, "CapDrop": []string{"MKNOD"},
		"SecurityOpt": []string{"label=disable", "no-new-privileges"},
		"Devices":     []container.DeviceMapping{{PathOnHost: "/dev/kvm", PathInContainer: "/dev/kvm", CgroupPermissions: "rwm"}},
		"DeviceRules": []string{"c 10:232 rwm"},
		"Mounts":      []mount.Mount{{Type: mount.TypeVolume, Source: "v", Target: "/v"}},
		"ReadOnly":    true,
		"Ulimits":     []*container.Ulimit{{Name: "nofile", Soft: 1, Hard: 2}, {Name: "nproc", Soft: -1, Hard: -1}},
		"Sysctls":     map[string]string{"net.core.somaxconn": "1024"}, "ExtraHosts": []string{"a:192.0.2.1"}, "ShmSize": int64(1 << 20),
		"Memory": int64(1 << 30), "CPUs": int64(1_500_000_000), "Pids": &pids,
		"Restart":    container.RestartPolicy{Name: "on-failure", MaximumRetryCount: 3},
		"StopSignal": "SIGQUIT", "StopGracePeriod": &timeout, "LogDriver": "local",
		"LogOptions": map[string]string{"max-size": "1m"}, "TTY": true,
	}
	config, host := request(t, spec)
	fields := reflect.TypeFor[tree.Spec]()
	for i := range fields.NumField() {
		name := fields.Field(i).Name
		if reflect.ValueOf(spec).Field(i).IsZero() {
			t.Errorf("the test sets no %s", name)
		}
		want, known := wants[name]
		if !known {
			t.Errorf("the test does not know the field %s", name)
			continue
		}
		if got := want(config, host); !reflect.DeepEqual(got, expected[name]) {
			t.Errorf("%s is %#v, want %#v", name, got, expected[name])
		}
	}
	if !slices.Equal(config.Healthcheck.Test, []string{"NONE"}) {
		t.Errorf("the image's HEALTHCHECK is not switched off: %v", config.Healthcheck)
	}
}

func TestRequestOfNothing(t *testing.T) {
	config, host := request(t, tree.Spec{Image: "x"})
	if config.Entrypoint != nil || config.Cmd != nil || config.StopTimeout != nil || host.PidsLimit != nil {
		t.Error("what is not set overrides the image or the engine")
	}
	if host.MaskedPaths != nil || host.ReadonlyPaths != nil {
		t.Error("the engine's protection of system paths is changed")
	}
	if host.RestartPolicy.Name != "no" {
		t.Errorf("the restart policy is %q", host.RestartPolicy.Name)
	}
}

func TestMounts(t *testing.T) {
	_, host := request(t, tree.Spec{Image: "x", Mounts: []tree.Mount{
		{Type: tree.Bind, Source: "/a", Target: "/1"},
		{Type: tree.Bind, Source: "/a", Target: "/2", ReadOnly: true, Propagation: "rslave"},
		{Type: tree.Bind, Source: "/a", Target: "/3", CreateHostPath: true},
		{Type: tree.Bind, Source: "/a", Target: "/4", CreateHostPath: true, ReadOnly: true, Propagation: "rshared"},
		{Type: tree.NamedVolume, Source: "v", Target: "/5", ReadOnly: true, NoCopy: true},
		{Type: tree.Tmpfs, Target: "/6"},
		{Type: tree.Tmpfs, Target: "/7", TmpfsOptions: "size=1m,uid=3", ReadOnly: true},
		{Type: tree.Tmpfs, Target: "/8", ReadOnly: true},
	}})
	wantMounts := []mount.Mount{
		{Type: mount.TypeBind, Source: "/a", Target: "/1"},
		{Type: mount.TypeBind, Source: "/a", Target: "/2", ReadOnly: true, BindOptions: &mount.BindOptions{Propagation: "rslave"}},
		{Type: mount.TypeVolume, Source: "v", Target: "/5", ReadOnly: true, VolumeOptions: &mount.VolumeOptions{NoCopy: true}},
	}
	if !reflect.DeepEqual(host.Mounts, wantMounts) {
		t.Errorf("Mounts are %+v, want %+v", host.Mounts, wantMounts)
	}
	if want := []string{"/a:/3", "/a:/4:ro,rshared"}; !slices.Equal(host.Binds, want) {
		t.Errorf("Binds are %q, want %q", host.Binds, want)
	}
	if want := map[string]string{"/6": "", "/7": "size=1m,uid=3,ro", "/8": "ro"}; !reflect.DeepEqual(host.Tmpfs, want) {
		t.Errorf("Tmpfs is %q, want %q", host.Tmpfs, want)
	}
	for _, bad := range []tree.Mount{
		{Type: "magic", Target: "/x"},
		{Type: tree.Bind, Source: "/a:b", Target: "/x", CreateHostPath: true},
	} {
		if _, _, err := (&Engine{}).request(tree.Spec{Mounts: []tree.Mount{bad}}, noFiles); err == nil || !strings.Contains(err.Error(), "/x") {
			t.Errorf("%+v: the error is %v, want one that names the target", bad, err)
		}
	}
}

func TestSecurityOptions(t *testing.T) {
	profile := func(path string) ([]byte, error) {
		if path != "/etc/profile.json" {
			return noFiles(path)
		}
		return []byte(`{"defaultAction":"x"}`), nil
	}
	for _, test := range []struct {
		options []string
		want    []string
		open    bool // system paths
		err     string
	}{
		{options: nil},
		{options: []string{"systempaths=unconfined"}, open: true},
		{options: []string{"systempaths:unconfined", "apparmor:unconfined"}, want: []string{"apparmor=unconfined"}, open: true},
		{options: []string{"systempaths=all"}, err: "systempaths=all"},
		{options: []string{"seccomp=unconfined"}, want: []string{"seccomp=unconfined"}},
		{options: []string{"seccomp:/etc/profile.json"}, want: []string{`seccomp={"defaultAction":"x"}`}},
		{options: []string{"seccomp=/none.json"}, err: "/none.json"},
		{options: []string{"label=user:USER", "label:type:T", "no-new-privileges:true"}, want: []string{"label=user:USER", "label=type:T", "no-new-privileges=true"}},
	} {
		_, host, err := (&Engine{}).request(tree.Spec{SecurityOpt: test.options}, profile)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%q: the error is %v, want one about %s", test.options, err, test.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", test.options, err)
			continue
		}
		if !slices.Equal(host.SecurityOpt, test.want) {
			t.Errorf("%q became %q, want %q", test.options, host.SecurityOpt, test.want)
		}
		if open := host.MaskedPaths != nil && host.ReadonlyPaths != nil; open != test.open {
			t.Errorf("%q: system paths open: %v, want %v", test.options, open, test.open)
		}
	}
}

func TestPrivilegesByHost(t *testing.T) {
	full := &Engine{}
	clipping := &Engine{missing: []string{"SYS_RESOURCE"}, traits: traits{clips: true}}
	lacking := &Engine{missing: []string{"SYS_RESOURCE", "BPF"}}
	type privileges struct {
		plain            bool
		add, drop, rules string
		mounts           []string
		open             bool
	}
	composed := privileges{add: "NET_ADMIN ALL", drop: "SYS_RESOURCE BPF", rules: "a *:* rwm", mounts: []string{"/dev", "/sys"}, open: true}
	for _, test := range []struct {
		name   string
		engine *Engine
		spec   tree.Spec
		want   privileges
	}{
		{"full host", full, tree.Spec{Privileged: true}, privileges{plain: true}},
		{"engine clips", clipping, tree.Spec{Privileged: true}, privileges{plain: true}},
		{"composed", lacking, tree.Spec{Privileged: true, CapAdd: []string{"NET_ADMIN"}}, composed},
		{"not privileged", lacking, tree.Spec{CapAdd: []string{"NET_ADMIN"}}, privileges{add: "NET_ADMIN"}},
		{"ALL on a full host", full, tree.Spec{CapAdd: []string{"ALL"}}, privileges{add: "ALL"}},
		{"ALL where engine clips", clipping, tree.Spec{CapAdd: []string{"ALL"}}, privileges{add: "ALL"}},
		{"ALL composed", lacking, tree.Spec{CapAdd: []string{"all"}, CapDrop: []string{"MKNOD"}}, privileges{add: "all", drop: "MKNOD SYS_RESOURCE BPF"}},
		{"own /dev", lacking, tree.Spec{Privileged: true, CapAdd: []string{"NET_ADMIN"}, Mounts: []tree.Mount{{Type: tree.Bind, Source: "/d", Target: "/dev/"}}},
			privileges{add: composed.add, drop: composed.drop, rules: composed.rules, mounts: []string{"/dev/", "/sys"}, open: true}},
	} {
		_, host, err := test.engine.request(test.spec, noFiles)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		got := privileges{
			plain: host.Privileged, add: strings.Join(host.CapAdd, " "), drop: strings.Join(host.CapDrop, " "),
			rules: strings.Join(host.DeviceCgroupRules, ","), open: host.MaskedPaths != nil && host.ReadonlyPaths != nil,
		}
		for _, m := range host.Mounts {
			got.mounts = append(got.mounts, m.Target)
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
	for _, e := range []*Engine{clipping, lacking} {
		_, _, err := e.request(tree.Spec{CapAdd: []string{"cap_sys_resource"}}, noFiles)
		if err == nil || !strings.Contains(err.Error(), "cap_sys_resource") {
			t.Errorf("a missing capability by name: the error is %v", err)
		}
		if note := e.PrivilegeNote(); !strings.Contains(note, "SYS_RESOURCE") {
			t.Errorf("the note is %q", note)
		}
	}
	if note := full.PrivilegeNote(); note != "" {
		t.Errorf("a full host has the note %q", note)
	}
}

func TestComposedSecurityOptions(t *testing.T) {
	lacking := &Engine{missing: []string{"SYS_RESOURCE"}}
	given := []string{"seccomp:unconfined", "apparmor=mine"}
	_, host, err := lacking.request(tree.Spec{Privileged: true, SecurityOpt: given}, noFiles)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"apparmor=mine", "seccomp=unconfined", "label=disable"}; !slices.Equal(host.SecurityOpt, want) {
		t.Errorf("security options are %q, want %q", host.SecurityOpt, want)
	}
}

// TestRequestLeavesSpecAlone checks that a specification, which callers keep and compare, is
// not changed through a slice that it shares with a request.
func TestRequestLeavesSpecAlone(t *testing.T) {
	spare := func(values ...string) []string { return append(make([]string, 0, 10), values...) }
	spec := tree.Spec{
		Privileged: true, CapAdd: spare("NET_ADMIN"), CapDrop: spare("MKNOD"), SecurityOpt: spare("seccomp=unconfined"), DeviceRules: spare("c 1:1 r"),
	}
	before := fmt.Sprint(spec.CapAdd[:2], spec.CapDrop[:2], spec.SecurityOpt[:2], spec.DeviceRules[:2])
	if _, _, err := (&Engine{missing: []string{"BPF"}}).request(spec, noFiles); err != nil {
		t.Fatal(err)
	}
	if after := fmt.Sprint(spec.CapAdd[:2], spec.CapDrop[:2], spec.SecurityOpt[:2], spec.DeviceRules[:2]); after != before {
		t.Errorf("the specification changed from %s to %s", before, after)
	}
}

func TestRestartPolicies(t *testing.T) {
	for text, want := range map[string]string{
		"": "no", "no": "no", "always": "always", "unless-stopped": "unless-stopped", "on-failure": "on-failure", "on-failure:5": "on-failure:5",
	} {
		policy, err := parseRestartPolicy(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if got := formatRestartPolicy(policy); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{"sometimes", "always:3", "on-failure:many", "on-failure:-1"} {
		if _, err := parseRestartPolicy(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
	if got := formatRestartPolicy(container.RestartPolicy{}); got != "no" {
		t.Errorf("no policy is %q", got)
	}
}

func TestWholeSeconds(t *testing.T) {
	for d, want := range map[time.Duration]int{0: 0, 1: 1, time.Second: 1, time.Second + 1: 2, 90 * time.Second: 90} {
		if got := wholeSeconds(d); got != want {
			t.Errorf("%v is %d s, want %d", d, got, want)
		}
	}
}
