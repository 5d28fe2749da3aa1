// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"copse/internal/engine"
	"copse/internal/tree"
)

// RunKernel runs what only an engine with real processes can show: each test looks from
// inside a container. The engine must run on the host of the test.
func RunKernel(t *testing.T, open func(*testing.T) (engine.Engine, Fixture)) {
	runAll(t, open, map[string]func(*testing.T, suite){
		"VolumeKeepsData":    testVolumeKeepsData,
		"VolumeNoCopy":       testVolumeNoCopy,
		"ReadOnlyRoot":       testReadOnlyRoot,
		"Tmpfs":              testTmpfs,
		"Bind":               testBind,
		"BindMissingSource":  testBindMissingSource,
		"BindPropagation":    testBindPropagation,
		"CopyToKeepsOwner":   testCopyToKeepsOwner,
		"Identity":           testIdentity,
		"Namespaces":         testNamespaces,
		"CapabilitiesByName": testCapabilitiesByName,
		"CapabilitiesAll":    testCapabilitiesAll,
		"MissingCapability":  testMissingCapability,
		"Privileged":         testPrivileged,
		"SecurityOptions":    testSecurityOptions,
		"Devices":            testDevices,
		"Limits":             testLimits,
		"StopSignal":         testStopSignal,
		"LongLine":           testLongLine,
		"LogDriver":          testLogDriver,
		"TTY":                testTTY,
		"ExecWhatIsNotThere": testExecWhatIsNotThere,
		"StartWhatCannotRun": testStartWhatCannotRun,
	})
}

func testVolumeKeepsData(t *testing.T, s suite) {
	volume := s.volume(t, "v")
	spec := s.spec("wait")
	spec.Mounts = []tree.Mount{{Type: tree.NamedVolume, Source: volume, Target: "/data"}}
	first := s.start(t, "a.1", spec)
	expect(t, "the image's file in a new volume", s.see(t, first, "stat", "/data/seed"), "0640 1234 1234")
	s.see(t, first, "write", "/data/kept", "state")
	must(t, s.Remove(t.Context(), first, true))
	second := s.start(t, "a.2", spec)
	expect(t, "what the first wrote", s.see(t, second, "read", "/data/kept"), "state")

	reader := with(spec, func(spec *tree.Spec) { spec.Mounts[0].ReadOnly = true })
	third := s.start(t, "a.3", reader)
	if result := s.exec(t, third, "write", "/data/kept", "changed"); !strings.Contains(result.stderr, "read-only") {
		t.Errorf("writing to a read-only volume: %+v", result)
	}
}

func testVolumeNoCopy(t *testing.T, s suite) {
	spec := s.spec("wait")
	spec.Mounts = []tree.Mount{{Type: tree.NamedVolume, Source: s.volume(t, "v"), Target: "/data", NoCopy: true}}
	id := s.start(t, "a", spec)
	expect(t, "status of reading the image's file", s.exec(t, id, "stat", "/data/seed").code, 99)
}

func testReadOnlyRoot(t *testing.T, s suite) {
	spec := s.spec("wait")
	spec.ReadOnly = true
	spec.Mounts = []tree.Mount{{Type: tree.Tmpfs, Target: "/tmp"}}
	id := s.start(t, "a", spec)
	if result := s.exec(t, id, "write", "/file", "x"); !strings.Contains(result.stderr, "read-only") {
		t.Errorf("writing to a read-only root: %+v", result)
	}
	s.see(t, id, "write", "/tmp/file", "x")
}

func testTmpfs(t *testing.T, s suite) {
	spec := s.spec("wait")
	spec.Mounts = []tree.Mount{
		{Type: tree.Tmpfs, Target: "/t", TmpfsOptions: "mode=0750,uid=1234,gid=1300,size=64k"},
		{Type: tree.Tmpfs, Target: "/r", ReadOnly: true},
	}
	id := s.start(t, "a", spec)
	expect(t, "owner and mode", s.see(t, id, "stat", "/t"), "0750 1234 1300")
	if line := s.see(t, id, "mount", "/t"); !strings.Contains(line, "size=64k") || !strings.Contains(line, " tmpfs ") {
		t.Errorf("the mount is %q", line)
	}
	if result := s.exec(t, id, "write", "/r/file", "x"); !strings.Contains(result.stderr, "read-only") {
		t.Errorf("writing to a read-only tmpfs: %+v", result)
	}
}

func testBind(t *testing.T, s suite) {
	made := filepath.Join(s.Directory, "made", "deep")
	must(t, os.WriteFile(filepath.Join(s.Directory, "file"), []byte("from the host"), 0o644))
	spec := s.spec("wait")
	spec.Mounts = []tree.Mount{
		{Type: tree.Bind, Source: s.Directory, Target: "/b"},
		{Type: tree.Bind, Source: s.Directory, Target: "/ro", ReadOnly: true},
		{Type: tree.Bind, Source: made, Target: "/made", CreateHostPath: true},
		{Type: tree.Bind, Source: made, Target: "/made-ro", CreateHostPath: true, ReadOnly: true, Propagation: "rprivate"},
	}
	id := s.start(t, "a", spec)
	expect(t, "the host's file", s.see(t, id, "read", "/ro/file"), "from the host")
	s.see(t, id, "write", "/made/file", "from inside")
	content, err := os.ReadFile(filepath.Join(made, "file"))
	must(t, err)
	expect(t, "the container's file", string(content), "from inside")
	for _, target := range []string{"/ro", "/made-ro"} {
		if result := s.exec(t, id, "write", target+"/x", "x"); !strings.Contains(result.stderr, "read-only") {
			t.Errorf("writing to %s, a read-only bind: %+v", target, result)
		}
	}
	for _, mount := range s.inspect(t, id).Mounts {
		expect(t, "create_host_path at "+mount.Target, mount.CreateHostPath, strings.HasPrefix(mount.Target, "/made"))
	}
}

func testBindMissingSource(t *testing.T, s suite) {
	spec := s.spec("wait")
	missing := filepath.Join(s.Directory, "missing")
	spec.Mounts = []tree.Mount{{Type: tree.Bind, Source: missing, Target: "/b"}}
	id, err := s.Create(t.Context(), s.name("a"), spec)
	if err == nil {
		s.removeLater(t, id)
		err = s.Start(t.Context(), id)
	}
	if err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("binding what does not exist: the error is %v, want one that names %s", err, missing)
	}
	if _, err := os.Stat(missing); !os.IsNotExist(err) {
		t.Errorf("the source was made, or cannot be looked at: %v", err)
	}
}

func testBindPropagation(t *testing.T, s suite) {
	spec := s.spec("wait")
	spec.Mounts = []tree.Mount{{Type: tree.Bind, Source: s.Directory, Target: "/b", Propagation: "rprivate"}}
	id := s.start(t, "private", spec)
	if line := s.see(t, id, "mount", "/b"); strings.Contains(line, "shared:") || strings.Contains(line, "master:") {
		t.Errorf("rprivate is mounted as %q", line)
	}
	// On a host whose root is shared this works; where it is not, the engine must say so
	// rather than mount something else.
	spec.Mounts[0].Propagation = "rshared"
	shared := s.create(t, "shared", spec)
	if err := s.Start(t.Context(), shared); err != nil {
		if !strings.Contains(err.Error(), "shared") || !strings.Contains(err.Error(), s.Directory) {
			t.Errorf("the error %v does not say what is not shared", err)
		}
		return
	}
	if line := s.see(t, shared, "mount", "/b"); !strings.Contains(line, "shared:") {
		t.Errorf("rshared is mounted as %q", line)
	}
}

func testCopyToKeepsOwner(t *testing.T, s suite) {
	spec := s.spec("wait")
	spec.User = "tester" // no reason to give it the file
	id := s.create(t, "a", spec)
	must(t, s.CopyTo(t.Context(), id, "/etc", fileArchive(t, tar.Header{Name: "conf", Mode: 0o640, Uid: 42, Gid: 43}, "x")))
	must(t, s.Start(t.Context(), id))
	expect(t, "owner and mode", s.see(t, id, "stat", "/etc/conf"), "0640 42 43")
}

func testIdentity(t *testing.T, s suite) {
	spec := s.spec("wait")
	spec.User, spec.GroupAdd, spec.WorkingDir, spec.Hostname = "tester", []string{"1300", "1400"}, "/data", "box"
	spec.ExtraHosts = []string{"there:198.51.100.7"}
	spec.Environment = map[string]string{"LINES": "a\nb"}
	spec.Entrypoint, spec.Command = []string{Program, "print"}, []string{"out:from the entry point", "--", "wait"}
	id := s.start(t, "a", spec)
	s.await(t, "the entry point's line", func() bool { return len(s.logs(t, id, engine.LogOptions{})) == 1 })
	expect(t, "user and groups", s.see(t, id, "ids"), "1234 1234 [1234 1300 1400]")
	expect(t, "directory", s.see(t, id, "where"), "/data")
	expect(t, "host name", s.see(t, id, "hostname"), "box")
	expect(t, "the image's environment", s.see(t, id, "env", "FROM_IMAGE"), "yes")
	expect(t, "a value of two lines", s.see(t, id, "env", "LINES"), "a\nb")
	if hosts := s.see(t, id, "read", "/etc/hosts"); !strings.Contains(hosts, "198.51.100.7\tthere") {
		t.Errorf("/etc/hosts is %q", hosts)
	}
}

func testNamespaces(t *testing.T, s suite) {
	own := s.start(t, "own", with(s.spec("wait"), func(spec *tree.Spec) { spec.Cgroup = "private" }))
	host := s.start(t, "host", with(s.spec("wait"), func(spec *tree.Spec) {
		spec.NetworkMode, spec.PID, spec.IPC, spec.UTS, spec.Cgroup = "host", "host", "host", "host", "host"
	}))
	for _, kind := range []string{"net", "pid", "ipc", "uts", "cgroup"} {
		path := "/proc/self/ns/" + kind
		// The engine's, not the test's: those two may differ.
		want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", s.inspect(t, host).PID, kind))
		must(t, err)
		expect(t, "host's "+kind, s.see(t, host, "link", path), want)
		if s.see(t, own, "link", path) == want {
			t.Errorf("a container of its own shares %s with the host", kind)
		}
	}
	expect(t, "the host's name", s.see(t, host, "hostname"), infoOf(t, s).Hostname)
}

func infoOf(t *testing.T, s suite) engine.Info {
	t.Helper()
	info, err := s.Info(t.Context())
	must(t, err)
	return info
}

func testDevices(t *testing.T, s suite) {
	open := func(id, device string) int {
		t.Helper()
		return s.exec(t, id, "write", device, "x").code
	}
	spec := s.spec("wait")
	spec.Devices = []tree.Device{{Source: "/dev/null", Target: "/dev/copse-null", Permissions: "rw"}}
	spec.DeviceRules = []string{"c 1:7 rw"}
	id := s.start(t, "a", spec)
	expect(t, "writing to the device", open(id, "/dev/copse-null"), 0)
	expect(t, "mode of a device without a target", open(s.start(t, "b", with(s.spec("wait"), func(spec *tree.Spec) {
		spec.Devices = []tree.Device{{Source: "/dev/null", Target: "/dev/other"}}
	})), "/dev/other"), 0)
}

func testLimits(t *testing.T, s suite) {
	spec := s.spec("wait")
	spec.Memory, spec.Pids, spec.CPUs, spec.ShmSize = 48<<20, 77, 0.5, 2<<20
	// Not nofile: Go raises its soft limit to the hard one when a program starts.
	spec.Ulimits = map[string]tree.Ulimit{"memlock": {Soft: 65536, Hard: 131072}, "core": {}}
	spec.IPC = "private"
	spec.Sysctls = map[string]string{"kernel.msgmax": "4242"}
	id := s.start(t, "a", spec)
	expect(t, "locked memory", s.see(t, id, "limit", "memlock"), "65536 131072")
	expect(t, "core", s.see(t, id, "limit", "core"), "0 0")
	expect(t, "sysctl", s.see(t, id, "read", "/proc/sys/kernel/msgmax"), "4242")
	if line := s.see(t, id, "mount", "/dev/shm"); !strings.Contains(line, "size=2048k") {
		t.Errorf("shared memory is %q", line)
	}
	// cgroup v2 first, then v1.
	expect(t, "memory", s.see(t, id, "read", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"), strconv.Itoa(48<<20))
	expect(t, "processes", s.see(t, id, "read", "/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"), "77")
	expect(t, "CPU quota", strings.TrimSuffix(s.see(t, id, "read", "/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), " 100000"), "50000")
}

func testStopSignal(t *testing.T, s suite) {
	id := s.startReady(t, "a", with(s.spec("trap"), func(spec *tree.Spec) { spec.StopSignal = "SIGQUIT" }))
	must(t, s.Stop(t.Context(), id, grace))
	expectLines(t, "output", s.logs(t, id, engine.LogOptions{}), []string{"stdout:ready", "stdout:got SIGQUIT"})
}

func testLongLine(t *testing.T, s suite) {
	// Longer than what engines take in one message, twice.
	id := s.start(t, "a", s.spec("long", "40000", "--", "print", "out:after"))
	s.wait(t, id)
	lines := s.logs(t, id, engine.LogOptions{})
	expectLines(t, "output", lines, []string{"stdout:" + strings.Repeat("x", 40000), "stdout:after"})
}

func testLogDriver(t *testing.T, s suite) {
	spec := s.spec("print", "out:one")
	spec.LogDriver, spec.LogOptions = "json-file", map[string]string{"max-size": "1m", "max-file": "2"}
	id := s.start(t, "json", spec)
	s.wait(t, id)
	expectLines(t, "output", s.logs(t, id, engine.LogOptions{}), []string{"stdout:one"})
	spec.LogDriver, spec.LogOptions = "none", nil
	id = s.start(t, "none", spec)
	s.wait(t, id)
	if err := s.Logs(t.Context(), id, engine.LogOptions{}, func(engine.LogLine) {}); err == nil {
		t.Error("a container without a log has one")
	}
}

func testTTY(t *testing.T, s suite) {
	spec := s.spec("print", "out:one", "err:two", "--", "wait")
	spec.TTY = true
	id := s.start(t, "a", spec)
	s.await(t, "both lines", func() bool { return len(s.logs(t, id, engine.LogOptions{})) == 2 })
	expectLines(t, "output", s.logs(t, id, engine.LogOptions{}), []string{"stdout:one", "stdout:two"})

	sizes := make(chan engine.Size, 1)
	sizes <- engine.Size{Width: 123, Height: 45}
	result := s.execWith(t, id, engine.Exec{TTY: true, Resize: sizes}, "tty", "123", "--", "print", "err:done")
	expect(t, "the terminal", result, ran{stdout: "123 45\r\ndone"})
}

func testExecWhatIsNotThere(t *testing.T, s suite) {
	id := s.start(t, "a", s.spec("wait"))
	var output bytes.Buffer
	code, err := s.Exec(t.Context(), id, engine.Exec{Command: []string{"/none"}, Stdout: &output, Stderr: &output})
	if err == nil && code != 126 && code != 127 {
		t.Errorf("running what is not there has status %d, want 126, 127 or an error", code)
	}
}

func testStartWhatCannotRun(t *testing.T, s suite) {
	spec := s.spec("wait")
	spec.Entrypoint = []string{"/none"}
	id := s.create(t, "a", spec)
	err := s.Start(t.Context(), id)
	if err == nil || !strings.Contains(err.Error(), "/none") {
		t.Errorf("the error is %v, want one that names /none", err)
	}
	c := s.inspect(t, id)
	if c.State == engine.Running || c.Error == "" {
		t.Errorf("the container is %s with the error %q, want not running and a reason", c.State, c.Error)
	}
}
