// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"copse/internal/tree"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inThrowaway runs the calling test again in a process with mount and network namespaces of its
// own, and reports whether this is that process.
func inThrowaway(t *testing.T) bool {
	t.Helper()
	const mark = "COPSE_TEST_NAMESPACES"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("namespaces can be made by root alone")
	}
	command := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	command.Env = append(os.Environ(), mark+"="+t.Name())
	// Unshareflags, unlike Cloneflags, makes all mounts private first.
	command.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET}
	output, err := command.CombinedOutput()
	if err != nil || !strings.Contains(string(output), "--- PASS: "+t.Name()) {
		t.Errorf("in namespaces: %v\n%s", err, output)
	}
	return false
}

// engine starts a process that stands for the container engine, in a mount namespace of its own,
// with a file system of its own at dir.
func engine(t *testing.T, dir string) *Host {
	t.Helper()
	command := exec.Command("cat") // ends when this process does, however that ends
	command.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(input.Close(), command.Wait()); err != nil {
			t.Error(err)
		}
	})
	h := &Host{EnginePID: func(context.Context) (int, error) { return command.Process.Pid, nil }}
	err = inMountsOf(command.Process.Pid, func() error { return unix.Mount("tmpfs", dir, "tmpfs", 0, "") })
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// look returns what is missing, and what of it is refused with a "!" before it.
func look(t *testing.T, h *Host, preps ...tree.HostPrep) []string {
	t.Helper()
	report, err := h.Look(context.Background(), preps)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, set := range tree.SortedKeys(report.Missing) {
		for _, text := range report.Missing[set] {
			if slices.Contains(report.Refused[set], text) {
				text = "!" + text
			}
			all = append(all, set+": "+text)
		}
	}
	return all
}

// prepare holds how many things are done, and returns what is mounted.
func prepare(t *testing.T, h *Host, want int, preps ...tree.HostPrep) []string {
	t.Helper()
	var said []string
	mounted, err := h.Prepare(context.Background(), preps, func(text string) { said = append(said, text) })
	if err != nil {
		t.Fatal(err)
	}
	if len(said) != want {
		t.Errorf("%d things were done: %q; want %d", len(said), said, want)
	}
	return mounted
}

func TestMounts(t *testing.T) {
	if !inThrowaway(t) {
		return
	}
	dir := t.TempDir()
	h := engine(t, dir)
	pid, _ := h.EnginePID(context.Background())
	netns, state := filepath.Join(dir, "a b/netns"), filepath.Join(dir, "state")
	prep := tree.HostPrep{
		Set: "network", SharedMounts: []string{netns, state},
		Directories: []tree.HostDirectory{{Path: state, Mode: 0o2775, UID: 42, GID: 43}},
	}
	again := tree.HostPrep{Set: "compute", SharedMounts: []string{netns}}
	if got := look(t, h, prep, again); len(got) != 4 {
		t.Errorf("before, %q is missing; want three things for one set and one for the other", got)
	}
	if mounted := prepare(t, h, 3, prep, again); !slices.Equal(mounted, []string{netns, state}) {
		t.Errorf("%q is mounted, want what both sets share once", mounted)
	}
	if got := look(t, h, prep, again); got != nil {
		t.Errorf("afterwards, %q is missing", got)
	}
	// What lies on a shared mount needs none of its own: who has seen it before sees it still.
	within := tree.HostPrep{Set: "within", SharedMounts: []string{filepath.Join(netns, "within")}}
	if mounted := prepare(t, h, 0, prep, again); mounted != nil {
		t.Errorf("%q is mounted again", mounted)
	}
	err := inMountsOf(pid, func() error { return os.Mkdir(within.SharedMounts[0], 0o755) })
	if err != nil {
		t.Fatal(err)
	}
	if mounted := prepare(t, h, 0, within); mounted != nil {
		t.Errorf("%q is mounted, and lies on a shared mount", mounted)
	}
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Errorf("it was done in this namespace, not in that of the engine: %v", err)
	}
	// A mount below the directory in one namespace is seen in a copy of it: that is what for.
	seen := exec.Command("nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", pid), "unshare", "--mount", "--propagation", "slave", "sh", "-c",
		`nsenter --mount=/proc/$0/ns/mnt mount -t tmpfs inner "$1" && grep -c " inner " /proc/self/mountinfo`, fmt.Sprint(pid), netns)
	output, err := seen.CombinedOutput()
	if err != nil || strings.TrimSpace(string(output)) != "1" {
		t.Errorf("a mount in a shared directory is not seen by others: %v: %s", err, output)
	}
	info, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		t.Fatal(err)
	}
	for path, times := range map[string]int{netns: 2, state: 1} { // one of netns is the tmpfs above
		if got := strings.Count(string(info), " "+strings.ReplaceAll(path, " ", `\040`)+" "); got != times {
			t.Errorf("%d mounts at %s; want %d", got, path, times)
		}
	}
	fact := stat(t, fmt.Sprintf("/proc/%d/root%s", pid, state))
	if fact != (pathFact{there: true, directory: true, mode: 0o2775, uid: 42, gid: 43}) {
		t.Errorf("the directory is %+v", fact)
	}
	// One that somebody has made private again, and a directory that has changed hands.
	err = inMountsOf(pid, func() error {
		return os.Chown(state, 1, 1)
	})
	if err == nil {
		err = inMountsOf(pid, func() error { return unix.Mount("", state, "", unix.MS_PRIVATE, "") })
	}
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"network: directory " + state + " is 2775 1:1 instead of 2775 42:43",
		"network: " + state + " is not a shared mount",
	}
	if got := look(t, h, prep); !slices.Equal(got, want) {
		t.Errorf("missing: %q; want %q", got, want)
	}
	prepare(t, h, 2, prep)
	if got := look(t, h, prep); got != nil {
		t.Errorf("afterwards, %q is missing", got)
	}
}

func stat(t *testing.T, path string) pathFact {
	t.Helper()
	fact, err := lookAt(path)
	if err != nil {
		t.Fatal(err)
	}
	return fact
}

// TestMountAbove holds that a directory on a shared mount is left as it is, as on hosts where
// everything is shared.
func TestMountAbove(t *testing.T) {
	if !inThrowaway(t) {
		return
	}
	dir := t.TempDir()
	h := engine(t, dir)
	pid, _ := h.EnginePID(context.Background())
	if err := inMountsOf(pid, func() error { return unix.Mount("", dir, "", unix.MS_SHARED, "") }); err != nil {
		t.Fatal(err)
	}
	prep := tree.HostPrep{Set: "s", SharedMounts: []string{filepath.Join(dir, "x/y")}}
	prepare(t, h, 1, prep)
	if got := look(t, h, prep); got != nil {
		t.Errorf("missing: %q", got)
	}
	info, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(info), prep.SharedMounts[0]) {
		t.Error("a directory on a shared mount was mounted on itself")
	}
}

func TestRefused(t *testing.T) {
	if !inThrowaway(t) {
		return
	}
	dir := t.TempDir()
	h := engine(t, dir)
	pid, _ := h.EnginePID(context.Background())
	err := inMountsOf(pid, func() error {
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
			return err
		}
		return os.Symlink("/", filepath.Join(dir, "link"))
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		prep tree.HostPrep
		want string
	}{
		{tree.HostPrep{Directories: []tree.HostDirectory{{Path: dir + "/file", Mode: 0o755}}}, "/file is there and is no directory"},
		{tree.HostPrep{Directories: []tree.HostDirectory{{Path: dir + "/link", Mode: 0o755}}}, "/link is there and is no directory"},
		{tree.HostPrep{SharedMounts: []string{dir + "/link"}}, "/link is no directory"},
		{tree.HostPrep{Modules: []tree.HostModule{{Name: "copse_no_such_module"}}}, "the kernel has no module copse_no_such_module"},
		{tree.HostPrep{Veth: []tree.HostVeth{{Name: "lo", Peer: "x"}}}, "interface lo is there and is no veth (device)"},
	} {
		c.prep.Set = "s"
		// Something that could be done stands first: it must not be.
		beside := tree.HostPrep{Set: "beside", Directories: []tree.HostDirectory{{Path: dir + "/beside", Mode: 0o755}}}
		_, err := h.Prepare(context.Background(), []tree.HostPrep{beside, c.prep}, func(text string) { t.Errorf("it said %q", text) })
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "s asks for") {
			t.Errorf("error %v does not say %q", err, c.want)
		}
		if got := look(t, h, c.prep); len(got) != 1 || !strings.HasPrefix(got[0], "s: !") {
			t.Errorf("a look says %q", got)
		}
		if fact := stat(t, fmt.Sprintf("/proc/%d/root%s/beside", pid, dir)); fact.there {
			t.Fatal("something was touched")
		}
	}
	// Not refused, and yet it cannot be done.
	_, err = h.Prepare(context.Background(), []tree.HostPrep{{Set: "s", Sysctls: map[string]string{"net.copse.none": "1"}}}, func(string) {})
	if err == nil || !strings.Contains(err.Error(), "cannot set kernel parameter net.copse.none: the kernel has none of that name") {
		t.Errorf("a parameter that is not there: %v", err)
	}
}

func TestNetwork(t *testing.T) {
	if !inThrowaway(t) {
		return
	}
	h := &Host{EnginePID: func(context.Context) (int, error) { return os.Getpid(), nil }}
	prep := tree.HostPrep{
		Set:     "network",
		Veth:    []tree.HostVeth{{Name: "copse-ext", Peer: "copse-ext-br", Address: "198.51.100.1/24", MTU: 1400}, {Name: "a", Peer: "b"}},
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1", "net.ipv4.conf.copse-ext.rp_filter": "2", "net.ipv4.ip_local_port_range": "20000 30000"},
	}
	// What a new namespace begins with is the host's affair.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	if got := look(t, h, prep); len(got) != 5 {
		t.Errorf("before, %q is missing", got)
	}
	prepare(t, h, 5, prep)
	if got := look(t, h, prep); got != nil {
		t.Errorf("afterwards, %q is missing", got)
	}
	prepare(t, h, 0, prep)
	ext, err := netlink.LinkByName("copse-ext")
	if err != nil {
		t.Fatal(err)
	}
	if a := ext.Attrs(); a.MTU != 1400 || a.OperState != netlink.OperUp {
		t.Errorf("MTU %d, state %s", a.MTU, a.OperState)
	}
	if err := exec.Command("sh", "-c", `test "$(cat /proc/sys/net/ipv4/ip_local_port_range)" = "20000	30000"`).Run(); err != nil {
		t.Errorf("the kernel has another value: %v", err)
	}

	// A pair of which one end has gone down and has lost its address and MTU.
	address, _ := netlink.ParseAddr("198.51.100.1/24")
	for _, err := range []error{netlink.LinkSetDown(ext), netlink.LinkSetMTU(ext, 1300), netlink.AddrDel(ext, address)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	prepare(t, h, 1, prep)
	if got := look(t, h, prep); got != nil {
		t.Errorf("afterwards, %q is missing", got)
	}

	// The address on another interface, and the network.
	for _, c := range []struct{ asked, want string }{
		{"198.51.100.1/32", "network: !address 198.51.100.1 belongs to interface copse-ext already: remove it there, or choose another network"},
		{"198.51.100.9/28", "network: !network 198.51.100.0/28 overlaps with that of interface copse-ext (198.51.100.1/24), which would be cut off: choose another network"},
	} {
		other := tree.HostPrep{Set: "network", Veth: []tree.HostVeth{{Name: "c", Peer: "d", Address: c.asked}}}
		if got := look(t, h, other); !slices.Equal(got, []string{c.want}) {
			t.Errorf("%s: %q", c.asked, got)
		}
		if _, err := h.Prepare(context.Background(), []tree.HostPrep{other}, func(string) {}); err == nil {
			t.Errorf("%s was accepted", c.asked)
		}
		if _, err := netlink.LinkByName("c"); err == nil {
			t.Error("interface c was made")
		}
	}

	// Ends of two pairs.
	crossed := tree.HostPrep{Set: "network", Veth: []tree.HostVeth{{Name: "a", Peer: "copse-ext-br"}}}
	if got := look(t, h, crossed); len(got) != 1 || !strings.Contains(got[0], "!interfaces a and copse-ext-br are there and are no pair") {
		t.Errorf("ends of two pairs: %q", got)
	}
	alone := tree.HostPrep{Set: "network", Veth: []tree.HostVeth{{Name: "a", Peer: "z"}}}
	if got := look(t, h, alone); len(got) != 1 || !strings.Contains(got[0], "!interface a is there without its other end z") {
		t.Errorf("an end alone: %q", got)
	}
}

// TestModules gives the kernel a list of modules and a modprobe that writes down its arguments.
func TestModules(t *testing.T) {
	if !inThrowaway(t) {
		return
	}
	dir := t.TempDir()
	for _, path := range []string{"/usr/sbin", "/usr/lib"} {
		upper, work := filepath.Join(dir, path, "upper"), filepath.Join(dir, path, "work")
		for _, d := range []string{upper, work} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := unix.Mount("overlay", path, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", path, upper, work)); err != nil {
			t.Fatal(err)
		}
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		t.Fatal(err)
	}
	lists := "/usr/lib/modules/" + unix.ByteSliceToString(uts.Release[:])
	for name, content := range map[string]string{
		lists + "/modules.dep":     "kernel/net/copse-good.ko.xz: kernel/net/copse-bad.ko\nkernel/net/copse-bad.ko:\n",
		lists + "/modules.builtin": "kernel/net/copse_builtin.ko\n",
		"/usr/sbin/modprobe":       "#!/bin/sh\necho \"$@\" >>" + dir + "/asked\n[ \"$2\" != copse-bad ] || { echo 'Key was rejected' >&2; exit 1; }\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h := &Host{EnginePID: func(context.Context) (int, error) { return os.Getpid(), nil }}
	ask := func(name string, optional bool) tree.HostPrep {
		return tree.HostPrep{Set: "s", Modules: []tree.HostModule{{Name: name, Optional: optional}}}
	}
	loadable := mayLoad()
	for _, none := range []tree.HostPrep{ask("copse-builtin", false), ask("copse_absent", true)} {
		if got := look(t, h, none); got != nil {
			t.Errorf("%s: %q", none.Modules[0].Name, got)
		}
	}
	if !loadable {
		if got := look(t, h, ask("copse_good", false)); len(got) != 1 || !strings.Contains(got[0], "the agent may not load it") {
			t.Errorf("without the capability: %q", got)
		}
		return
	}
	prepare(t, h, 1, ask("copse_good", false))
	if _, err := h.Prepare(context.Background(), []tree.HostPrep{ask("copse-bad", false)}, func(string) {}); err == nil ||
		!strings.Contains(err.Error(), "cannot load kernel module copse-bad: exit status 1: Key was rejected") {
		t.Errorf("a module that the kernel refuses: %v", err)
	}
	prepare(t, h, 1, ask("copse-bad", true))
	if got := look(t, h, ask("copse-bad", true)); got != nil {
		t.Errorf("an optional module that was tried in vain is asked for again: %q", got)
	}
	asked, err := os.ReadFile(dir + "/asked")
	if want := "-- copse_good\n-- copse-bad\n-- copse-bad\n"; err != nil || string(asked) != want {
		t.Errorf("modprobe was run with %q, %v; want %q", asked, err, want)
	}
}

// TestNothingAsked holds that a cloud that asks nothing needs no privilege.
func TestNothingAsked(t *testing.T) {
	h := &Host{}
	if got := look(t, h); got != nil {
		t.Errorf("%q is missing", got)
	}
	prepare(t, h, 0)
	if _, err := h.Look(context.Background(), []tree.HostPrep{{}}); err == nil {
		t.Error("a host whose engine is not known was looked at")
	}
}

// TestThread holds that a call never has the first thread, and that its thread ends.
func TestThread(t *testing.T) {
	for range 20 {
		var thread int
		if err := onThread(func() error { thread = unix.Gettid(); return nil }); err != nil {
			t.Fatal(err)
		}
		if thread == os.Getpid() {
			t.Fatal("the call had the first thread, which /proc/self stands for")
		}
	}
}
