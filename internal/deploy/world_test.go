// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"copse/internal/change"
	"copse/internal/engine"
	"copse/internal/engine/fake"
	"copse/internal/plan"
	"copse/internal/preflight"
	"copse/internal/secret"
	"copse/internal/store"
	"copse/internal/tree"
)

const testHost = "host1"

// world is everything outside of a Deployer; it outlives the Deployer's crashes.
type world struct {
	t        testing.TB
	clock    *clock
	engine   *fake.Engine
	secrets  *secrets
	router   *router
	measures *measures
	storeDir string

	// says has what else containers write, by their names.
	says map[string]string

	// park, where it is set, holds a goroutine until it is its turn.
	park func(key string)

	mu sync.Mutex
	// taken are the ports that foreign processes have, by their numbers, dirs the directories of generations.
	taken map[int]int
	dirs  map[string]bool
	// outliving are the processes in the control group of a container that left its own.
	outliving []string
	free      int64
	// prepared has what was done to the host, refused what stands in its way.
	prepared, refused map[string]bool
}

func newWorld(t testing.TB) *world {
	w := &world{
		t: t, clock: &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
		secrets: &secrets{versions: map[string]int{}}, router: newRouter(), measures: &measures{},
		storeDir: t.TempDir(), taken: map[int]int{}, dirs: map[string]bool{}, free: 1 << 40,
		prepared: map[string]bool{}, refused: map[string]bool{},
	}
	w.engine = &fake.Engine{Now: w.clock.Now, Sleep: w.clock.Sleep, AnyImage: true, Program: w.program}
	return w
}

// program behaves as the container's environment says: MODE=crash, never-ready,
// sickens (after two checks), cold (the third check fails), ends (after a while), fail.
func (w *world) program(_ string, spec tree.Spec) fake.Program {
	mode := spec.Environment["MODE"]
	p := fake.Program{Lines: []fake.Line{{Text: "mode is " + mode}}}
	if line := w.says[spec.Labels[tree.LabelContainer]]; line != "" {
		p.Lines = append(p.Lines, fake.Line{Text: line})
	}
	if spec.Labels[tree.LabelJob] != "" {
		p.Exit = &fake.Exit{}
		if mode == "fail" || mode == "crash" {
			p.Exit.Code = 3
		}
	}
	if mode == "crash" && spec.Labels[tree.LabelJob] == "" {
		p.Exit = &fake.Exit{After: 100 * time.Millisecond, Code: 1}
	}
	if mode == "ends" && spec.Labels[tree.LabelJob] == "" {
		p.Exit = &fake.Exit{After: 5 * time.Second, Code: 1}
	}
	checks := 0
	p.Exec = func(_ context.Context, e engine.Exec) (int, error) {
		checks++
		if mode == "sickens" && checks > 2 || mode == "cold" && checks == 3 {
			fmt.Fprintln(e.Stdout, "it has a fever")
			return 1, nil
		}
		if mode == "never-ready" || mode == "crash" {
			fmt.Fprintln(e.Stdout, "the database does not answer")
			return 1, nil
		}
		return 0, nil
	}
	return p
}

// life is one run of an agent's deployer.
type life struct {
	w        *world
	store    *store.Store
	deployer *Deployer

	mu      sync.Mutex
	passed  int
	crashAt int // 0 for never
	dead    bool
	crashed chan struct{}
}

func (w *world) begin(crashAt int) *life {
	w.t.Helper()
	l := &life{w: w, crashAt: crashAt, crashed: make(chan struct{})}
	var err error
	l.store, err = store.Open(filepath.Join(w.storeDir, "db"), store.WithoutSync())
	if err != nil {
		w.t.Fatal(err)
	}
	l.deployer, err = New(Options{
		Store: l.store, Engine: w.engine, Secrets: w.secrets, Router: w.router, Host: w, Clock: w.clock,
		HostName: testHost, StateDir: "/var/lib/copse", Measure: w.measures.begin,
		Changes: change.Options{Failpoint: l.boundary},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := l.deployer.Resume(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (l *life) boundary(point string) {
	if l.w.park != nil {
		l.w.park(point)
	}
	l.mu.Lock()
	if !l.dead {
		l.passed++
		if l.passed == l.crashAt {
			l.dead = true
			close(l.crashed)
		}
	}
	dead := l.dead
	l.mu.Unlock()
	if dead {
		runtime.Goexit()
	}
}

func (l *life) end() {
	l.w.t.Helper()
	if err := l.deployer.Stop(context.Background()); err != nil {
		l.w.t.Fatal(err)
	}
	if err := l.store.Close(); err != nil {
		l.w.t.Fatal(err)
	}
	if open := l.w.measures.open(); open != 0 {
		l.w.t.Errorf("%d measurements go on without the agent", open)
	}
}

// wait waits for the end of a change, or a crash.
func (l *life) wait(id int) (c *change.Change, crashed bool) {
	l.w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-l.crashed:
			cancel()
		case <-ctx.Done():
		}
	}()
	c, err := l.deployer.Changes().Wait(ctx, id)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return nil, true
	}
	if err != nil {
		l.w.t.Fatal(err)
	}
	return c, false
}

// do submits a request and waits for its end, in one life without a crash. A nil change means
// that there was nothing to do.
func (w *world) do(r Request) *change.Change {
	w.t.Helper()
	l := w.begin(0)
	defer l.end()
	c, _, err := l.deployer.Submit(context.Background(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	if c == nil {
		return nil
	}
	c, _ = l.wait(c.ID)
	return c
}

func (w *world) plan(r Request) *plan.Plan {
	w.t.Helper()
	l := w.begin(0)
	defer l.end()
	p, err := l.deployer.Plan(context.Background(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// check holds what must always be true between changes: each active generation has exactly one
// container, nothing else carries our labels, and the engine has seen no two generations fight.
func (w *world) check() {
	w.t.Helper()
	l := w.begin(0)
	defer l.end()
	active, err := l.deployer.Active()
	if err != nil {
		w.t.Fatal(err)
	}
	want := map[string]bool{}
	for _, g := range active {
		want[g.Name()] = g.Container.Job == nil
	}
	containers, err := w.engine.List(context.Background(), map[string]string{tree.LabelHost: testHost})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range containers {
		if _, known := want[c.Name]; !known {
			w.t.Errorf("stray container %s (%s)", c.Name, c.State)
		}
		delete(want, c.Name)
	}
	for _, name := range tree.SortedKeys(want) {
		if !want[name] {
			continue // a job that has ended needs no container
		}
		w.t.Errorf("active generation %s has no container", name)
	}
	generations, err := l.deployer.Generations()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, g := range generations {
		if g.State == tree.Preparing {
			w.t.Errorf("generation %s was left in preparation", g.Name())
		}
	}
	for _, v := range w.engine.Violations() {
		w.t.Errorf("violation: %s", v)
	}
	w.checkProxy(active["proxy"])
	for _, r := range w.router.table() {
		ready := 0
		for _, s := range r.Slots {
			if s.State == slotDrain {
				w.t.Errorf("front end %s was left draining", r.Frontend.Name)
			}
			if s.State == slotReady {
				ready++
				if g := active[r.Frontend.Name]; g == nil || g.Number != s.Generation {
					w.t.Errorf("front end %s goes to generation %d, which is not the active one", r.Frontend.Name, s.Generation)
				}
			}
		}
		if ready > 1 {
			w.t.Errorf("front end %s goes to %d generations", r.Frontend.Name, ready)
		}
		if g := active[r.Frontend.Name]; ready == 0 && g != nil && g.StoppedBy == 0 && slices.Contains(w.serving(), g.Name()) {
			w.t.Errorf("front end %s goes nowhere, and %s runs", r.Frontend.Name, g.Name())
		}
	}
}

// serving returns the names of the generations that run, sorted.
func (w *world) serving() []string { return w.engine.Running() }

// WriteFiles implements Host.
func (w *world) WriteFiles(dir string, files []tree.File) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(files) > 0 {
		w.dirs[dir] = true
	}
	return nil
}

// RemoveAll implements Host.
func (w *world) RemoveAll(dir string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for d := range w.dirs {
		if d == dir || filepath.Dir(d) == dir {
			delete(w.dirs, d)
		}
	}
	return nil
}

// MakeProxyDirectory implements Host.
func (w *world) MakeProxyDirectory(_, _, _ string) error { return nil }

// Listening implements Host.
func (w *world) Listening(_ string, port int, _ string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if pid, taken := w.taken[port]; taken {
		return fmt.Sprintf("process %d (nc)", pid), nil
	}
	return "", nil
}

// Observe implements Host.
func (w *world) Observe(context.Context, *tree.Document) (*preflight.Facts, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	facts := &preflight.Facts{Disks: []preflight.Disk{{Path: "/state", For: "tests", Free: w.free, Least: 256 << 20}}}
	for port, pid := range w.taken {
		facts.Listeners = append(facts.Listeners, preflight.Listener{
			Protocol: "tcp", Address: netip.IPv4Unspecified(), Port: port, Owner: preflight.Owner{PID: pid, Command: "nc"},
		})
	}
	return facts, nil
}

// Outliving implements Host.
func (w *world) Outliving(string) ([]string, error) { return w.outliving, nil }

// Look implements Host.
func (w *world) Look(_ context.Context, preps []tree.HostPrep) (missing, refused map[string][]string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	missing, refused = map[string][]string{}, map[string][]string{}
	for _, p := range preps {
		for _, path := range p.SharedMounts {
			if !w.prepared[path] {
				missing[p.Set] = append(missing[p.Set], path+" is not a shared mount")
			}
			if w.refused[path] {
				refused[p.Set] = append(refused[p.Set], path+" is no directory")
			}
		}
	}
	return missing, refused, nil
}

// Prepare implements Host.
func (w *world) Prepare(_ context.Context, preps []tree.HostPrep, tell func(string)) (mounted []string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range preps {
		for _, path := range p.SharedMounts {
			if w.refused[path] {
				return mounted, errors.New(path + " is no directory")
			}
			if !w.prepared[path] {
				w.prepared[path] = true
				mounted = append(mounted, path)
				tell(path + " is a shared mount now")
			}
		}
	}
	return mounted, nil
}

// clock is time that passes only where somebody sleeps.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Millisecond)
	return c.now
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
	return ctx.Err()
}

// secrets counts versions.
type secrets struct {
	mu       sync.Mutex
	versions map[string]int
	hides    string // a value of one of them
}

// Hide implements Secrets.
func (s *secrets) Hide(text string) string {
	if s.hides == "" {
		return text
	}
	return strings.ReplaceAll(text, s.hides, "(secret)")
}

func (s *secrets) Ensure(secret tree.Secret) (int, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.versions[secret.Name]; v != 0 {
		return v, false, nil
	}
	s.versions[secret.Name] = 1
	return 1, true, nil
}

func (s *secrets) Rotate(secret tree.Secret) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions[secret.Name]++
	return s.versions[secret.Name], nil
}

// Created implements Secrets: the last three are kept.
func (s *secrets) Created(name string, version int) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.versions[name]; version > v || version <= v-3 {
		return time.Time{}, secret.ErrNotFound
	}
	return time.Time{}, nil
}

func (s *secrets) Versions() (map[string]int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	copied := map[string]int{}
	for k, v := range s.versions {
		copied[k] = v
	}
	return copied, nil
}

func (s *secrets) Place(_ string, mounts []tree.SecretMount, versions map[string]int) error {
	for _, m := range mounts {
		if versions[m.Name] == 0 {
			return errors.New("secret " + m.Name + " has no version")
		}
	}
	return nil
}
