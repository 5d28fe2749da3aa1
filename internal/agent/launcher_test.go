// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"copse/internal/engine"
	"copse/internal/engine/fake"
	"copse/internal/tree"
)

// launched is a host whose agents are containers of an engine in memory.
type launched struct {
	fake.Engine
	t        *testing.T
	stateDir string
	imported []string // the names of the files that were packed into images
	broken   string   // the build whose agent does not answer
	cutOff   bool     // the program that launches has been killed
	calls    int      // of operations that change something
	cutAfter int      // that many of them; 0: never
}

func newLaunched(t *testing.T) *launched {
	h := &launched{t: t, stateDir: t.TempDir()}
	h.Fault = func(op, _ string) error {
		if slices.Contains([]string{"Create", "Start", "Stop", "Remove", "Rename", "SetRestartPolicy"}, op) {
			h.calls++
			h.cutOff = h.cutOff || h.cutAfter > 0 && h.calls > h.cutAfter
		}
		if h.cutOff {
			return errors.New("the program was killed")
		}
		return nil
	}
	return h
}

// ImportImage implements what Launcher asks for.
func (h *launched) ImportImage(_ context.Context, archive io.Reader, reference string, _ ...string) error {
	files := tar.NewReader(archive)
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			h.AddImage(engine.Image{References: []string{reference}})
			return nil
		}
		if err != nil {
			return err
		}
		h.imported = append(h.imported, fmt.Sprintf("%s %o", header.Name, header.Mode))
	}
}

func (h *launched) store() string { return filepath.Join(h.stateDir, "store", "copse.db") }

// answer is what the API of the agent that runs says, if any.
func (h *launched) answer(ctx context.Context) (string, error) {
	for _, name := range h.Running() {
		c, err := h.Inspect(ctx, name)
		if err != nil {
			return "", err
		}
		if build := c.Labels[labelBuild]; build != h.broken {
			return build, nil
		}
		// It gets as far as the store.
		if err := os.WriteFile(h.store(), []byte("of "+h.broken), 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
	return "", errors.New("nobody answers")
}

func (h *launched) ensure(build string) (bool, error) {
	l := Launcher{
		Engine: h, EngineSocket: "/run/docker.sock", StateDir: h.stateDir, Socket: "/run/copse/agent.sock",
		Answer: h.answer, Tell: func(string) {},
	}
	return l.ensure(h.t.Context(), build)
}

// check fails the test unless the agent of that build runs, and nothing else is there.
func (h *launched) check(build string) {
	h.t.Helper()
	all, err := h.List(h.t.Context(), map[string]string{tree.LabelAgent: "true"})
	if err != nil {
		h.t.Fatal(err)
	}
	if len(all) != 1 {
		h.t.Fatalf("there are %d containers of agents instead of one: %+v", len(all), all)
	}
	c, err := h.Inspect(h.t.Context(), all[0].Name)
	if err != nil {
		h.t.Fatal(err)
	}
	if c.Name != containerName || c.State != engine.Running || c.RestartPolicy != "always" || c.Labels[labelBuild] != build {
		h.t.Errorf("the agent is %s, %s, restart policy %s, build %s; it should run as %s with build %s",
			c.Name, c.State, c.RestartPolicy, c.Labels[labelBuild], containerName, build)
	}
}

func TestLauncherStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLaunched(t)
		if started, err := h.ensure("first"); err != nil || !started {
			t.Fatalf("started %v, %v", started, err)
		}
		h.check("first")
		if want := []string{"copse 755"}; !slices.Equal(h.imported, want) {
			t.Errorf("the image has the files %v; want %v", h.imported, want)
		}
		h.ResetJournal()
		if started, err := h.ensure("first"); err != nil || started {
			t.Fatalf("a second time: started %v, %v", started, err)
		}
		if changes := slices.DeleteFunc(h.Changes(), func(c string) bool { return c == "Remove "+replacedName }); len(changes) > 0 {
			t.Errorf("the agent that runs was touched: %v", changes)
		}
		if err := h.Stop(t.Context(), containerName, time.Second); err != nil {
			t.Fatal(err)
		}
		if started, err := h.ensure("first"); err != nil || !started {
			t.Fatalf("after it was stopped: started %v, %v", started, err)
		}
		h.check("first")
	})
}

func TestLauncherPutsBackWhatWorked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLaunched(t)
		h.AnyImage, h.broken = true, "broken"
		if err := os.MkdirAll(filepath.Dir(h.store()), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(h.store(), []byte("of old"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := h.ensure("broken"); err == nil {
			t.Fatal("an agent that does not answer has been started")
		}
		if all, err := h.List(t.Context(), nil); err != nil || len(all) > 0 {
			t.Fatalf("an agent that does not answer was left: %v, %v", all, err)
		}
		if err := os.WriteFile(h.store(), []byte("of old"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := h.ensure("old"); err != nil {
			t.Fatal(err)
		}
		_, err := h.ensure("broken")
		if err == nil || !strings.Contains(err.Error(), "the old one runs again") {
			t.Fatalf("the error is %v", err)
		}
		h.check("old")
		if content, err := os.ReadFile(h.store()); err != nil || string(content) != "of old" {
			t.Errorf("the store is %q, %v, and not as the old agent left it", content, err)
		}
	})
}

// A program that replaces the agent may be killed at any moment. Whether it is run again or the older
// one is: its agent answers in the end, under its own name, and nothing else is left.
func TestLauncherIsCutOff(t *testing.T) {
	for _, then := range []string{"new", "old"} {
		for after := 1; ; after++ {
			whole := false
			t.Run(fmt.Sprintf("after %d, then %s", after, then), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newLaunched(t)
					h.AnyImage = true
					if _, err := h.ensure("old"); err != nil {
						t.Fatal(err)
					}
					h.calls, h.cutAfter = 0, after
					_, err := h.ensure("new")
					whole = err == nil
					h.cutAfter, h.cutOff = 0, false
					if _, err := h.ensure(then); err != nil {
						t.Fatal(err)
					}
					h.check(then)
				})
			})
			if whole {
				break
			}
		}
	}
}
