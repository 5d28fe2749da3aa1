// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"copse/internal/engine"
	"copse/internal/tree"
)

// Run runs what holds for every engine. Open is called for each test.
func Run(t *testing.T, open func(*testing.T) (engine.Engine, Fixture)) {
	runAll(t, open, map[string]func(*testing.T, suite){
		"Info":            testInfo,
		"Lifecycle":       testLifecycle,
		"List":            testList,
		"NotFound":        testNotFound,
		"NameConflict":    testNameConflict,
		"Stop":            testStop,
		"ExitStatus":      testExitStatus,
		"WaitCancelled":   testWaitCancelled,
		"Kill":            testKill,
		"RestartPolicy":   testRestartPolicy,
		"StoppedStays":    testStoppedStays,
		"Remove":          testRemove,
		"Rename":          testRename,
		"Logs":            testLogs,
		"LogsFollow":      testLogsFollow,
		"Exec":            testExec,
		"ExecNotRunning":  testExecNotRunning,
		"ExecCancelled":   testExecCancelled,
		"Events":          testEvents,
		"EventsOfOthers":  testEventsOfOthers,
		"Volumes":         testVolumes,
		"VolumeByMount":   testVolumeByMount,
		"Images":          testImages,
		"CopyTo":          testCopyTo,
		"CopyFrom":        testCopyFrom,
		"Usage":           testUsage,
		"SpecIsReported":  testSpecIsReported,
		"BadSpecRejected": testBadSpecRejected,
	})
}

func testInfo(t *testing.T, s suite) {
	info, err := s.Info(t.Context())
	must(t, err)
	if info.Name == "" || info.Version == "" || info.APIVersion == "" || info.StorageDriver == "" || info.DataRoot == "" {
		t.Errorf("something is missing in %+v", info)
	}
	if info.CPUs < 1 || info.Memory < 1<<20 {
		t.Errorf("%d CPUs and %d bytes of memory make no host", info.CPUs, info.Memory)
	}
}

func testLifecycle(t *testing.T, s suite) {
	id := s.create(t, "a", s.spec("trap"))
	c := s.inspect(t, id)
	expect(t, "id", c.ID, id)
	expect(t, "name", c.Name, s.name("a"))
	expect(t, "image", c.Image, s.TestImage)
	expect(t, "state after create", c.State, engine.Created)
	expect(t, "process id before start", c.PID, 0)
	if c.Created.IsZero() || !c.Started.IsZero() {
		t.Errorf("created %v and started %v, want a time and none", c.Created, c.Started)
	}
	must(t, s.Start(t.Context(), id))
	running := s.inspect(t, s.name("a"))
	expect(t, "state after start", running.State, engine.Running)
	if running.PID == 0 || running.Started.IsZero() {
		t.Errorf("process %d started %v, want both", running.PID, running.Started)
	}
	must(t, s.Start(t.Context(), id))
	expect(t, "process after a second start", s.inspect(t, id).PID, running.PID)

	s.awaitReady(t, id)
	must(t, s.Stop(t.Context(), id, grace))
	stopped := s.inspect(t, id)
	expect(t, "state after stop", stopped.State, engine.Exited)
	expect(t, "exit status after stop", stopped.ExitCode, 40)
	if stopped.Finished.IsZero() {
		t.Error("a stopped container has no time of its end")
	}
	must(t, s.Stop(t.Context(), id, grace))
	must(t, s.Start(t.Context(), id))
	expect(t, "state after another start", s.inspect(t, id).State, engine.Running)
}

func testList(t *testing.T, s suite) {
	labelled := s.spec("wait")
	labelled.Labels["enginetest.colour"] = "green"
	green := s.create(t, "green", labelled)
	plain := s.start(t, "plain", s.spec("wait"))

	ids := func(labels map[string]string) []string {
		t.Helper()
		list, err := s.List(t.Context(), labels)
		must(t, err)
		var ids []string
		for _, c := range list {
			ids = append(ids, c.ID)
		}
		slices.Sort(ids)
		return ids
	}
	both := []string{green, plain}
	slices.Sort(both)
	expectLines(t, "all", ids(s.Labels), both)
	mine := tree.SortedKeys(s.Labels)[0]
	expectLines(t, "with colour", ids(map[string]string{mine: s.Labels[mine], "enginetest.colour": ""}), []string{green})
	expectLines(t, "green", ids(map[string]string{mine: "", "enginetest.colour": "green"}), []string{green})
	expectLines(t, "red", ids(map[string]string{mine: "", "enginetest.colour": "red"}), nil)

	list, err := s.List(t.Context(), s.Labels)
	must(t, err)
	for _, c := range list {
		want := engine.Created
		if c.ID == plain {
			want = engine.Running
		}
		expect(t, "state of "+c.Name, c.State, want)
		expect(t, "image of "+c.Name, c.Image, s.TestImage)
	}
}

func testNotFound(t *testing.T, s suite) {
	ctx, none := t.Context(), s.name("none")
	calls := map[string]func() error{
		"Inspect":          func() error { _, err := s.Inspect(ctx, none); return err },
		"Start":            func() error { return s.Start(ctx, none) },
		"Stop":             func() error { return s.Stop(ctx, none, grace) },
		"Kill":             func() error { return s.Kill(ctx, none, "SIGKILL") },
		"Remove":           func() error { return s.Remove(ctx, none, false) },
		"Rename":           func() error { return s.Rename(ctx, none, s.name("other")) },
		"SetRestartPolicy": func() error { return s.SetRestartPolicy(ctx, none, "no") },
		"Wait":             func() error { _, err := s.Wait(ctx, none); return err },
		"Exec":             func() error { _, err := s.Exec(ctx, none, engine.Exec{Command: []string{Program}}); return err },
		"Logs":             func() error { return s.Logs(ctx, none, engine.LogOptions{}, func(engine.LogLine) {}) },
		"Top":              func() error { _, err := s.Top(ctx, none); return err },
		"Stats":            func() error { _, err := s.Stats(ctx, none); return err },
		"Image":            func() error { _, err := s.Image(ctx, none+":1"); return err },
		"TagImage":         func() error { return s.TagImage(ctx, none+":1", none+":2") },
		"RemoveImage":      func() error { return s.RemoveImage(ctx, none+":1") },
		"RemoveVolume":     func() error { return s.RemoveVolume(ctx, none) },
		"Create": func() error {
			_, err := s.Create(ctx, none, with(s.spec(), func(spec *tree.Spec) { spec.Image = none + ":1" }))
			return err
		},
	}
	for _, name := range tree.SortedKeys(calls) {
		expectError(t, name, calls[name](), engine.ErrNotFound)
	}
}

func testNameConflict(t *testing.T, s suite) {
	s.create(t, "a", s.spec("wait"))
	_, err := s.Create(t.Context(), s.name("a"), s.spec("wait"))
	expectError(t, "a second container of that name", err, engine.ErrConflict)
}

func testStop(t *testing.T, s suite) {
	obedient := s.startReady(t, "obedient", s.spec("trap"))
	must(t, s.Stop(t.Context(), obedient, time.Minute))
	expect(t, "status of a program that handles the signal", s.inspect(t, obedient).ExitCode, 40)

	stubborn := s.startReady(t, "stubborn", s.spec("ignore"))
	must(t, s.Stop(t.Context(), stubborn, time.Millisecond))
	expect(t, "status of a program that ignores the signal", s.inspect(t, stubborn).ExitCode, 137)

	waiting := s.startReady(t, "waiting", s.spec("ignore"))
	must(t, s.Stop(t.Context(), waiting, 0))
	expect(t, "status without grace", s.inspect(t, waiting).ExitCode, 137)
}

func testExitStatus(t *testing.T, s suite) {
	created := s.create(t, "created", s.spec("wait"))
	expect(t, "status of what was never started", s.wait(t, created), 0)
	for command, want := range map[string]int{"0": 0, "3": 3, "255": 255} {
		id := s.start(t, "exit"+command, s.spec("exit", command))
		expect(t, "status of exit "+command, s.wait(t, id), want)
		c := s.inspect(t, id)
		expect(t, "inspected status of exit "+command, c.ExitCode, want)
		expect(t, "state of exit "+command, c.State, engine.Exited)
	}
	// Wait that begins before the end.
	id := s.start(t, "late", s.spec("wait"))
	waited := make(chan int)
	go func() {
		code, err := s.Wait(t.Context(), id)
		if err != nil {
			code = -1
		}
		waited <- code
	}()
	must(t, s.Kill(t.Context(), id, "SIGKILL"))
	expect(t, "status of a killed program", <-waited, 137)
}

func testWaitCancelled(t *testing.T, s suite) {
	id := s.start(t, "a", s.spec("wait"))
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error)
	go func() {
		_, err := s.Wait(ctx, id)
		waited <- err
	}()
	cancel()
	expectError(t, "Wait", <-waited, context.Canceled)
	expect(t, "state", s.inspect(t, id).State, engine.Running)
}

func testKill(t *testing.T, s suite) {
	id := s.create(t, "a", s.spec("trap"))
	expectError(t, "Kill before start", s.Kill(t.Context(), id, "SIGTERM"), engine.ErrConflict)
	must(t, s.Start(t.Context(), id))
	s.awaitReady(t, id)
	if err := s.Kill(t.Context(), id, "SIGNONE"); err == nil {
		t.Error("a signal that does not exist was sent")
	}
	must(t, s.Kill(t.Context(), id, "SIGINT"))
	expect(t, "status", s.wait(t, id), 40)
	expectError(t, "Kill after the end", s.Kill(t.Context(), id, "SIGKILL"), engine.ErrConflict)
}

func testRestartPolicy(t *testing.T, s suite) {
	crashing := s.spec("exit", "7")
	crashing.Restart = "always"
	id := s.start(t, "always", crashing)
	s.await(t, "restart by policy", func() bool { return s.inspect(t, id).RestartCount > 0 })
	must(t, s.SetRestartPolicy(t.Context(), id, "no"))
	expect(t, "policy", s.inspect(t, id).RestartPolicy, "no")
	s.await(t, "the policy has no effect any more", func() bool { return s.inspect(t, id).State == engine.Exited })

	crashing.Restart = "on-failure:2"
	id = s.start(t, "on-failure", crashing)
	s.await(t, "two attempts", func() bool {
		c := s.inspect(t, id)
		return c.State == engine.Exited && c.RestartCount == 2
	})
	expect(t, "policy", s.inspect(t, id).RestartPolicy, "on-failure:2")

	succeeding := s.spec("exit", "0")
	succeeding.Restart = "on-failure"
	id = s.start(t, "success", succeeding)
	s.await(t, "the end", func() bool { return s.inspect(t, id).State == engine.Exited })
	expect(t, "restarts after success", s.inspect(t, id).RestartCount, 0)
	if err := s.SetRestartPolicy(t.Context(), id, "sometimes"); err == nil {
		t.Error("a policy that does not exist was set")
	}
}

func testStoppedStays(t *testing.T, s suite) {
	id := s.startReady(t, "a", with(s.spec("trap"), func(spec *tree.Spec) { spec.Restart = "always" }))
	must(t, s.Stop(t.Context(), id, grace))
	// The policy would have brought it back in between.
	expect(t, "status", s.wait(t, id), 40)
	s.Pass()
	c := s.inspect(t, id)
	expect(t, "state", c.State, engine.Exited)
	expect(t, "restarts", c.RestartCount, 0)
}

func testRemove(t *testing.T, s suite) {
	volume := s.volume(t, "v")
	spec := s.spec("wait")
	spec.Mounts = []tree.Mount{{Type: tree.NamedVolume, Source: volume, Target: "/v"}}
	id := s.start(t, "a", spec)
	expectError(t, "Remove of a running container", s.Remove(t.Context(), id, false), engine.ErrConflict)
	must(t, s.Remove(t.Context(), id, true))
	_, err := s.Inspect(t.Context(), id)
	expectError(t, "Inspect after Remove", err, engine.ErrNotFound)
	volumes, err := s.ListVolumes(t.Context(), s.Labels)
	must(t, err)
	expect(t, "volumes after Remove", len(volumes), 1)

	created := s.create(t, "b", s.spec("wait"))
	must(t, s.Remove(t.Context(), created, false))
	stopped := s.start(t, "b", s.spec("exit", "1"))
	s.wait(t, stopped)
	must(t, s.Remove(t.Context(), s.name("b"), false))
}

func testRename(t *testing.T, s suite) {
	id := s.start(t, "a", s.spec("wait"))
	s.create(t, "b", s.spec("wait"))
	expectError(t, "Rename to a name that is taken", s.Rename(t.Context(), id, s.name("b")), engine.ErrConflict)
	must(t, s.Rename(t.Context(), s.name("a"), s.name("c")))
	c := s.inspect(t, s.name("c"))
	expect(t, "id", c.ID, id)
	expect(t, "state", c.State, engine.Running)
	_, err := s.Inspect(t.Context(), s.name("a"))
	expectError(t, "the old name", err, engine.ErrNotFound)
}

func testVolumes(t *testing.T, s suite) {
	name := s.volume(t, "v")
	volumes, err := s.ListVolumes(t.Context(), s.Labels)
	must(t, err)
	if len(volumes) != 1 || volumes[0].Name != name || volumes[0].Created.IsZero() {
		t.Fatalf("volumes are %+v, want %s with its time", volumes, name)
	}
	expect(t, "labels", len(volumes[0].Labels), len(s.Labels))
	must(t, s.CreateVolume(t.Context(), name, s.Labels))
	again, err := s.ListVolumes(t.Context(), s.Labels)
	must(t, err)
	if len(again) != 1 || !again[0].Created.Equal(volumes[0].Created) {
		t.Errorf("after a second creation the volumes are %+v, want %+v", again, volumes)
	}
	spec := s.spec("wait")
	spec.Mounts = []tree.Mount{{Type: tree.NamedVolume, Source: name, Target: "/v"}}
	id := s.create(t, "a", spec)
	expectError(t, "removal of a volume in use", s.RemoveVolume(t.Context(), name), engine.ErrConflict)
	must(t, s.Remove(t.Context(), id, false))
	must(t, s.RemoveVolume(t.Context(), name))
}

func testVolumeByMount(t *testing.T, s suite) {
	// A volume that a mount names need not exist.
	name := s.name("unmade")
	t.Cleanup(func() {
		if err := s.RemoveVolume(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	spec := s.spec("wait")
	spec.Mounts = []tree.Mount{{Type: tree.NamedVolume, Source: name, Target: "/v"}}
	s.create(t, "a", spec)
	volumes, err := s.ListVolumes(t.Context(), nil)
	must(t, err)
	if !slices.ContainsFunc(volumes, func(v engine.Volume) bool { return v.Name == name }) {
		t.Errorf("the volume %s was not made with the container", name)
	}
}

func testImages(t *testing.T, s suite) {
	ctx := t.Context()
	image, err := s.Image(ctx, s.TestImage)
	must(t, err)
	if image.ID == "" || image.Created.IsZero() || !slices.Contains(image.References, s.TestImage) {
		t.Errorf("the image %+v lacks something", image)
	}
	byID, err := s.Image(ctx, image.ID)
	must(t, err)
	expect(t, "id by id", byID.ID, image.ID)

	tag := s.Prefix + "tag:1"
	must(t, s.TagImage(ctx, s.TestImage, tag))
	removed := false
	t.Cleanup(func() {
		if !removed {
			_ = s.RemoveImage(context.Background(), tag)
		}
	})
	images, err := s.ListImages(ctx, s.Labels)
	must(t, err)
	if len(images) != 1 || !slices.Contains(images[0].References, tag) || !slices.Contains(images[0].References, s.TestImage) {
		t.Errorf("images are %+v, want one with two references", images)
	}
	expect(t, "label", images[0].Labels[tree.SortedKeys(s.Labels)[0]], s.Labels[tree.SortedKeys(s.Labels)[0]])
	none, err := s.ListImages(ctx, map[string]string{"enginetest.none": "such"})
	must(t, err)
	expect(t, "images with a label that none has", len(none), 0)
	must(t, s.RemoveImage(ctx, tag))
	removed = true
	_, err = s.Image(ctx, tag)
	expectError(t, "the removed reference", err, engine.ErrNotFound)
	_, err = s.Image(ctx, s.TestImage)
	must(t, err)

	s.create(t, "a", s.spec("wait"))
	expectError(t, "removal of an image in use", s.RemoveImage(ctx, image.ID), engine.ErrConflict)
	if err := s.PullImage(ctx, "copse.invalid/"+s.Prefix+"none:1", nil); err == nil || errors.Is(err, engine.ErrUnavailable) {
		t.Errorf("pulling what is nowhere: the error is %v, want one that does not blame the engine", err)
	}
}
