// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package initproc

import (
	"strings"
	"testing"
)

// hybrid is what a container with the host's cgroup namespace sees on a v1
// host whose /sys/fs/cgroup it was given.
const hybridGroups = `5:devices:/docker/abc
3:cpu,cpuacct:/docker/abc
2:name=systemd:/docker/abc
0::/system.slice/containerd.service
`

const hybridMounts = `30 20 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 /docker/abc /own/devices rw - cgroup cgroup rw,devices
32 30 0:27 / /sys/fs/cgroup/devices rw,nosuid shared:9 - cgroup cgroup rw,devices
33 30 0:28 / /sys/fs/cgroup/cpu\040acct rw - cgroup cgroup rw,cpu,cpuacct
34 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
35 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
`

func TestLocate(t *testing.T) {
	for _, c := range []struct {
		name, groups, mounts string
		ownNamespace         bool
		want, wantErr        string
	}{
		{"v1 with v2 beside", hybridGroups, hybridMounts, false,
			"/sys/fs/cgroup/devices /sys/fs/cgroup/cpu acct /sys/fs/cgroup/systemd /sys/fs/cgroup/unified", ""},
		{"only the container's own group", "5:devices:/docker/abc\n", "31 30 0:27 /docker/abc /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n", false,
			"", "the root of cgroup devices is not mounted"},
		{"v2", "0::/docker/abc\n", "31 30 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", false, "/sys/fs/cgroup", ""},
		{"v2, own namespace", "0::/\n", "31 30 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", true, "", "the host's cgroup namespace"},
		{"v2, own namespace, root from above", "0::/\n",
			"31 30 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n32 30 0:27 /../.. /host rw - cgroup2 cgroup rw\n", true, "/host", ""},
		{"v2 listed and not mounted", "5:devices:/docker/a\n0::/\n", "31 30 0:27 / /d rw - cgroup cgroup rw,devices\n", false, "/d", ""},
		{"v2 used and not mounted", "0::/docker/a\n", "", false, "", "the root of cgroup v2 is not mounted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			groups, err := parseCgroups(c.groups)
			if err != nil {
				t.Fatal(err)
			}
			located, err := locate(groups, parseMounts(c.mounts), c.ownNamespace)
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Fatalf("error %v, want %q", err, c.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var roots []string
			for _, h := range located {
				roots = append(roots, h.root)
			}
			if got := strings.Join(roots, " "); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestParseCgroupsRefuses(t *testing.T) {
	for _, text := range []string{"x\n", "1:cpu\n", "1:cpu:relative\n"} {
		if _, err := parseCgroups(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestValidGroupName(t *testing.T) {
	for name, want := range map[string]bool{
		"libvirt": true, "nova-libvirt.1": true,
		"": false, "..": false, ".x": false, "a/b": false, "cgroup.procs": false, "a b": false,
	} {
		if got := validGroupName(name) == nil; got != want {
			t.Errorf("validGroupName(%q) is %v", name, got)
		}
	}
}

func TestParseTemplates(t *testing.T) {
	got, err := parseTemplates("/a:/b,/c:/d:0600\n /e:/f:440 ,\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []template{{"/a", "/b", 0o640}, {"/c", "/d", 0o600}, {"/e", "/f", 0o440}}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %v, want %v", got[i], want[i])
		}
	}
	for _, list := range []string{"/a", "a:/b", "/a:b", "/a:/b:9", "/a:/b:4755", "/a:/b:640:x"} {
		if _, err := parseTemplates(list); err == nil {
			t.Errorf("%q is accepted", list)
		}
	}
}
