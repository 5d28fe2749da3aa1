// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"copse/internal/change"
	"copse/internal/engine"
	"copse/internal/plan"
	"copse/internal/tree"
)

// seedsVariable is how many seeds the simulation runs; defaultSeeds without it.
const (
	seedsVariable = "COPSE_SIM_SEEDS"
	seedVariable  = "COPSE_SIM_SEED" // this one alone
	defaultSeeds  = 300
)

// TestSimulation drives deploy, change and plan against the engine in memory: random clouds,
// random changes, and faults of the engine, of containers and of the agent at random moments.
// When the faults are over, one more up must end well, with exactly one generation of each
// container, no strays and nothing left to do. COPSE_SIM_SEED=N runs one seed again.
func TestSimulation(t *testing.T) {
	first, last := uint64(1), uint64(defaultSeeds)
	if s := os.Getenv(seedsVariable); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("%s=%q is not a number of seeds", seedsVariable, s)
		}
		last = n
	}
	if s := os.Getenv(seedVariable); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("%s=%q is not a seed", seedVariable, s)
		}
		first, last = n, n
	}
	var faults, crashes int
	for seed := first; seed <= last; seed++ {
		s := &simulation{w: newWorld(t), seed: seed, random: rand.New(rand.NewPCG(seed, 0))}
		s.run()
		faults, crashes = faults+s.faults, crashes+s.crashes
		if t.Failed() {
			t.Fatalf("seed %d violates; %s=%d go test -run TestSimulation ./internal/deploy runs it again", seed, seedVariable, seed)
		}
	}
	t.Logf("%d seeds, %d faults of the engine, %d crashes of the agent", last-first+1, faults, crashes)
	if first != last && (faults == 0 || crashes == 0) {
		t.Errorf("%d faults and %d crashes: the simulation simulates nothing", faults, crashes)
	}
}

type simulation struct {
	w      *world
	seed   uint64
	random *rand.Rand

	mu              sync.Mutex
	on              bool // faults happen
	chance          float64
	faults, crashes int
}

func (s *simulation) run() {
	s.chance = []float64{0, 0.01, 0.05, 0.2}[s.random.IntN(4)]
	s.w.engine.Fault, s.w.engine.Lost = s.fault, s.fault
	s.w.router.fault = s.proxyFault
	for range 1 + s.random.IntN(4) {
		s.oneChange()
		if s.w.t.Failed() {
			return
		}
	}
	s.settle()
}

// fault fails an operation of the engine, before it is done or after.
func (s *simulation) fault(op, object string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.on || s.random.Float64() >= s.chance {
		return nil
	}
	s.faults++
	kind := []error{engine.ErrUnavailable, engine.ErrNoSpace, errors.New("the engine said no")}[s.random.IntN(3)]
	return fmt.Errorf("%s %s: %w", op, object, kind)
}

// proxyFault fails an operation of the proxy.
func (s *simulation) proxyFault(op, object string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.on || s.random.Float64() >= s.chance {
		return nil
	}
	s.faults++
	return fmt.Errorf("%s %s: it hangs", op, object)
}

func (s *simulation) faulty(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = on
}

// draw returns a random number below n; handlers draw at the same time.
func (s *simulation) draw(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(n)
}

func (s *simulation) oneChange() {
	request := s.request()
	crashAt := 0
	if s.draw(2) == 0 {
		crashAt = 1 + s.draw(120)
	}
	l := s.w.begin(crashAt)
	s.faulty(true)
	c, _, err := l.deployer.Submit(context.Background(), request)
	crashed := false
	if err == nil && c != nil {
		if s.draw(6) == 0 {
			// It may have ended already, which is as good.
			if err := l.deployer.Changes().Abort(c.ID, "the simulation"); err != nil && !errors.Is(err, change.ErrEnded) {
				s.w.t.Errorf("abort: %v", err)
			}
		}
		_, crashed = l.wait(c.ID)
	}
	s.faulty(false)
	l.end()
	if crashed {
		s.crashes++
		if s.draw(3) == 0 {
			s.w.engine.Restart()
		}
		after := s.w.begin(0)
		if s.draw(2) == 0 {
			s.faulty(true)
		}
		after.wait(c.ID)
		s.faulty(false)
		after.end()
	}
	if v := s.w.engine.Violations(); len(v) > 0 {
		s.w.t.Errorf("violation: %v", v)
	}
}

// request is a random change of a random cloud.
func (s *simulation) request() Request {
	doc := cloud()
	for i := range doc.Containers {
		c := &doc.Containers[i]
		c.Spec.Environment["MODE"] = []string{"good", "good", "good", "good", "crash", "never-ready", "fail", "sickens", "ends", "cold"}[s.draw(10)]
		c.Spec.Environment["VALUE"] = strconv.Itoa(s.draw(2))
		c.Update.Hold = s.draw(2) == 0
		c.Update.Monitor = time.Duration(s.draw(2)*s.draw(20)) * time.Second
		if s.draw(2) == 0 {
			c.Update.Order = tree.StartFirst
			// Two generations must never write one volume; a container that has one says so.
			if len(c.Spec.Mounts) > 0 {
				c.Update.Order = tree.StopFirst
			}
		}
	}
	switch s.draw(8) {
	case 0:
		return Request{Kind: plan.Stop, Document: doc}
	case 1:
		return Request{Kind: plan.Restart, Document: doc}
	case 2:
		return Request{Kind: plan.Down, Document: doc, Options: plan.Options{Volumes: s.draw(2) == 0}}
	case 3:
		return Request{Kind: plan.Up, Document: doc, Atomic: true}
	case 4:
		return up(doc, doc.Containers[s.draw(len(doc.Containers))].Name)
	}
	return up(doc)
}

// settle brings up a good cloud once all faults are over, and looks at what is there.
func (s *simulation) settle() {
	s.retryStuck()
	doc := cloud()
	for i := range doc.Containers {
		doc.Containers[i].Spec.Environment["VALUE"] = "settled"
	}
	// What faults have left over may take more than one up: a stopped old generation first.
	for range 3 {
		c := s.w.do(up(doc))
		if c == nil {
			break
		}
		if c.Status() != change.Done {
			s.w.t.Errorf("with all faults over, up ended %s: %v", c.Status(), c.Err())
			return
		}
	}
	s.w.check()
	if left := s.w.plan(up(doc)); !left.Empty() {
		s.w.t.Errorf("with all faults over the plan is not empty:\n%s", left)
	}
	if got := len(s.w.serving()); got != 4 {
		s.w.t.Errorf("%d containers run: %v; want 4", got, s.w.serving())
	}
}

// retryStuck does what an operator does once the cause of a stuck undo is gone.
func (s *simulation) retryStuck() {
	l := s.w.begin(0)
	defer l.end()
	changes, err := l.deployer.ListChanges()
	if err != nil {
		s.w.t.Fatal(err)
	}
	for _, c := range changes {
		if c.Status() != change.Stuck {
			continue
		}
		if err := l.deployer.Changes().Retry(c.ID, "the simulation"); err != nil {
			s.w.t.Errorf("retry of change %d: %v", c.ID, err)
			continue
		}
		if ended, _ := l.wait(c.ID); ended.Status() == change.Stuck {
			s.w.t.Errorf("change %d is stuck with all faults over: %v", c.ID, ended.Err())
		}
	}
}
