// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"copse/test/testcloud"
)

// The releases that are upgraded between.
const (
	oldRelease = "2025.1"
	newRelease = "2026.1"
)

// roundsVariable says how often keystone is upgraded and rolled back under load.
const roundsVariable = "COPSE_E2E_ROUNDS"

// loadWorkers ask keystone at the same time.
const loadWorkers = 8

// generation is what `copse history --format json` says of one, as the documentation promises.
type generation struct {
	Name           string   `json:"name"`
	Generation     int      `json:"generation"`
	Release        string   `json:"release"`
	State          string   `json:"state"`
	Change         int      `json:"change"`
	WindowSeconds  *float64 `json:"window_seconds"`
	FailedRequests *int     `json:"failed_requests"`
}

// TestUpgrade takes keystone, and what it stands on, from one release to the next and back while it is
// in use, and has upgrades fail in every way there is.
func TestUpgrade(t *testing.T) {
	s := open(t)
	for _, p := range []part{
		// The migration first: it is rehearsed once.
		{"FailedMigration", s.failedMigration},
		{"NoImage", s.upgradeWithoutImage},
		{"KeystoneUnderLoad", s.upgradedUnderLoad},
		{"WhatItStandsOnUnderLoad", s.replacedUnderLoad},
		{"NeverReady", s.neverReady},
		{"CrashAtStart", s.upgradeCrashes},
		{"PinsStay", s.pinsStay},
	} {
		if !t.Run(p.name, p.test) {
			s.Declare(t, "")
			t.Logf("the cloud is put right:\n%s", s.Copse(t, s.With("up", "--yes", "--unpin")...))
			s.mustBeAt(t, "keystone", oldRelease)
		}
		s.mustRemember(t)
	}
}

// release holds that a container is at a release, and returns it.
func (s *suite) mustBeAt(t *testing.T, name, release string) testcloud.Container {
	t.Helper()
	c := s.Containers(t)[name]
	if c.Release != release {
		t.Errorf("%s is at release %q, want %q", name, c.Release, release)
	}
	return c
}

// history returns the kept generations of a container by number.
func (s *suite) history(t *testing.T, name string) map[int]generation {
	t.Helper()
	kept := map[int]generation{}
	for _, g := range testcloud.Objects[generation](t, s.Must(t, "history", name, "--format", "json")) {
		kept[g.Generation] = g
	}
	return kept
}

// mustBeSeamless holds that the window of a container's present generation was measured, and that nothing failed.
func (s *suite) mustBeSeamless(t *testing.T, c testcloud.Container) {
	t.Helper()
	g := s.history(t, c.Name)[c.Generation]
	switch {
	case g.WindowSeconds == nil || g.FailedRequests == nil:
		t.Errorf("the window of %s was not measured", c.EngineName())
	case *g.FailedRequests != 0 || *g.WindowSeconds != 0:
		t.Errorf("while %s took over, %d probes failed in %.3f s", c.EngineName(), *g.FailedRequests, *g.WindowSeconds)
	}
}

// upgradedUnderLoad upgrades, finalizes and rolls back while tokens and users are asked for: no request
// fails, nothing that was acknowledged is lost, and no other container is touched.
func (s *suite) upgradedUnderLoad(t *testing.T) {
	rounds := 1
	if text := os.Getenv(roundsVariable); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil || rounds < 1 {
			t.Fatalf("%s=%q is no number of rounds", roundsVariable, text)
		}
	}
	// The images first, so that the load is on the upgrade and not on the build.
	s.Declare(t, "releases: {keystone: \""+newRelease+"\"}\n")
	s.Must(t, "build", "keystone")
	s.Declare(t, "")
	before := s.Containers(t)
	load := s.StartLoad(t, "upgrade", loadWorkers)
	stopped := false
	defer func() {
		if !stopped {
			load.Stop()
		}
	}()
	for range rounds {
		was := s.Containers(t)["keystone"]
		s.Must(t, "upgrade", "component/keystone", "--to", newRelease, "--yes")
		s.mustBeSeamless(t, s.mustBeAt(t, "keystone", newRelease))
		s.Must(t, "upgrade", "component/keystone", "--finalize", "--yes")
		if p := s.Plan(t); len(p.Steps) != 0 {
			t.Errorf("after the upgrade there is still to do: %+v", p.Steps)
		}
		s.Must(t, "rollback", "component/keystone", "--yes")
		back := s.mustBeAt(t, "keystone", oldRelease)
		s.mustBeSeamless(t, back)
		if back.Image != was.Image {
			t.Errorf("keystone went back to image %s, and had %s", back.Image, was.Image)
		}
		if p := s.Plan(t); len(p.Steps) != 0 {
			t.Errorf("after the rollback there is still to do: %+v", p.Steps)
		}
	}
	stopped = true
	load.Stop().MustBeWhole(t)
	mustReplace(t, before, s.Healthy(t), "keystone")
}

// replacedUnderLoad replaces what every request goes through: the database while requests are held, the
// proxy while it hands its sockets over, and the cache.
func (s *suite) replacedUnderLoad(t *testing.T) {
	before := s.Healthy(t)
	load := s.StartLoad(t, "below", loadWorkers)
	s.Declare(t, "values: {DATABASE_CONNECTIONS: 700}\noptions: {containers: {haproxy: {REPLACED: \"1\"}}}\n")
	s.Must(t, s.With("up", "--yes")...)
	load.Stop().MustBeWhole(t)
	after := s.Healthy(t)
	mustReplace(t, before, after, "mariadb", "haproxy")
	s.mustBeSeamless(t, after["mariadb"])
	s.mustBeSeamless(t, after["haproxy"])
	s.Declare(t, "")
	s.Up(t)
}

// breakImage declares that images of a component are built with a line of shell that breaks them.
func (s *suite) breakImage(t *testing.T, image, line string) {
	t.Helper()
	override := fmt.Sprintf("images:\n  %s:\n    blocks:\n      settle: |\n        {{template \"super\" .}}\n        %s\n", image, line)
	if err := os.WriteFile(filepath.Join(s.Dir, "broken.yaml"), []byte(override), 0o644); err != nil {
		t.Fatal(err)
	}
	s.Declare(t, "images: broken.yaml\n")
}

// touched says whether a container is another one, or was started again.
func touched(before, now testcloud.Container) bool {
	return before.EngineID != now.EngineID || before.Generation != now.Generation || before.Image != now.Image
}

// mustUndo upgrades one container, which has to fail, and holds that everything is as it was: the container
// and all others, their data, and what is wanted. It returns what the command said.
//
// One that was stopped for its successor was started again.
func (s *suite) mustUndo(t *testing.T, name string, stopped bool) testcloud.Result {
	t.Helper()
	before, data := s.Healthy(t), s.database(t)
	generations := s.history(t, name)
	r := s.Copse(t, "upgrade", "component/"+name, "--to", newRelease, "--yes")
	if r.Code != 1 {
		t.Errorf("the upgrade ended with %d, want 1:\n%s", r.Code, r)
	}
	s.Declare(t, "")
	// Jobs that have run before it failed have run: they harm nobody.
	for _, step := range s.Plan(t).Steps {
		if step.Action != "run" {
			t.Errorf("what was undone is still to do: %+v", step)
		}
	}
	after := s.Healthy(t)
	if stopped {
		if touched(before[name], after[name]) {
			t.Errorf("%s is %+v, and was %+v", name, after[name], before[name])
		}
		after[name] = before[name]
	}
	mustReplace(t, before, after)
	if now := s.database(t); now != data {
		t.Error("the database is not as it was before")
	}
	for number, g := range s.history(t, name) {
		if _, known := generations[number]; known {
			continue
		}
		if g.State != "failed" {
			t.Errorf("generation %d, which failed, is %s", number, g.State)
		}
	}
	s.mustBeAlone(t)
	return r
}

// database returns a digest of all data and the schema of keystone's database.
func (s *suite) database(t *testing.T) string {
	t.Helper()
	server := s.Containers(t)["mariadb"].EngineName()
	dump := testcloud.Docker(t, "exec", server, "mariadb-dump", "--no-defaults", "--socket=/var/lib/mysql/mysqld.sock",
		"--skip-dump-date", "--order-by-primary", "keystone")
	if !strings.Contains(dump, "CREATE TABLE") {
		t.Fatalf("this is no dump of a database: %.200q", dump)
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(dump)))
}

// neverReady upgrades to something that starts, and never answers. For how long nothing answered is kept
// with the generation that failed.
func (s *suite) neverReady(t *testing.T) {
	s.breakImage(t, "memcached", `printf '#!/bin/sh\nexec sleep 1000000\n' > /usr/bin/memcached`)
	known := s.history(t, "memcached")
	r := s.mustUndo(t, "memcached", true)
	if !strings.Contains(r.String(), "was not ready after") {
		t.Errorf("the error does not say that memcached was never ready:\n%s", r)
	}
	failed := 0
	for number, g := range s.history(t, "memcached") {
		if _, before := known[number]; before {
			continue
		}
		failed++
		if g.WindowSeconds == nil || g.FailedRequests == nil || *g.WindowSeconds <= 0 || *g.FailedRequests == 0 {
			t.Errorf("the window of generation %d, which never answered, is not kept: %+v", number, g)
		}
	}
	if failed != 1 {
		t.Errorf("%d generations are known to have failed, want one", failed)
	}
}

// upgradeCrashes upgrades to a keystone that ends as soon as it starts.
func (s *suite) upgradeCrashes(t *testing.T) {
	s.breakImage(t, "keystone", `printf '#!/bin/sh\necho it is broken >&2\nexit 3\n' > /usr/bin/uwsgi_python3`)
	r := s.mustUndo(t, "keystone", false)
	if !strings.Contains(r.String(), "it is broken") {
		t.Errorf("the error does not have the last lines of keystone's log:\n%s", r)
	}
	// Its jobs have run at the newer release, which harms nobody: only keystone itself was taken back.
	s.Must(t, s.With("up", "--yes", "--unpin")...)
}

// upgradeWithoutImage upgrades to something that cannot be built: nothing is even begun.
func (s *suite) upgradeWithoutImage(t *testing.T) {
	s.breakImage(t, "keystone", "echo there is no such thing >&2; exit 1")
	changes := s.Latest(t).ID
	r := s.mustUndo(t, "keystone", false)
	if !strings.Contains(r.String(), "there is no such thing") {
		t.Errorf("the error does not have the build's last lines:\n%s", r)
	}
	if latest := s.Latest(t).ID; latest != changes {
		t.Errorf("change %d was made for an image that there is not", latest)
	}
}

// failedMigration upgrades with a migration that fails in the middle. It is rehearsed on a copy, so the
// database itself is as it was.
func (s *suite) failedMigration(t *testing.T) {
	s.breakImage(t, "keystone", `mv /usr/bin/keystone-manage /usr/bin/keystone-manage.real; `+
		`printf '#!/bin/sh\ncase "$*" in (*--migrate*|*--contract*) echo the migration is broken >&2; exit 1;; esac\n`+
		`exec /usr/bin/keystone-manage.real "$@"\n' > /usr/bin/keystone-manage; chmod 755 /usr/bin/keystone-manage`)
	r := s.mustUndo(t, "keystone", false)
	if !strings.Contains(r.String(), "the migration is broken") {
		t.Errorf("the error does not have the migration's last lines:\n%s", r)
	}
}

// pinsStay holds that an upgrade outlasts a later up, whatever else changes, until it is released.
func (s *suite) pinsStay(t *testing.T) {
	s.Must(t, "upgrade", "memcached", "--to", newRelease, "--yes")
	s.mustBeAt(t, "memcached", newRelease)
	s.Declare(t, "values: {MEMCACHED_MEMORY: 65}\n")
	s.Up(t)
	s.mustBeAt(t, "memcached", newRelease)
	s.Must(t, "rollback", "memcached", "--yes")
	if out := s.Must(t, s.With("plan")...); !strings.Contains(out, "--unpin") {
		t.Errorf("the plan does not say that the rollback differs from the cloud file, and the way out:\n%s", out)
	}
	s.Declare(t, "")
	s.Must(t, s.With("up", "--yes", "--unpin")...)
	s.mustBeAt(t, "memcached", oldRelease)
	if p := s.Plan(t); len(p.Steps) != 0 {
		t.Errorf("there is still to do: %+v", p.Steps)
	}
}
