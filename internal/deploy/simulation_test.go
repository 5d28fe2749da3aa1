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
	"testing/synctest"

	"copse/internal/change"
	"copse/internal/engine"
	"copse/internal/tree"
)

// seedsVariable says how many seeds the simulation runs; defaultSeeds without it.
const (
	seedsVariable = "COPSE_SIM_SEEDS"
	seedVariable  = "COPSE_SIM_SEED" // this one alone
)

// TestSimulation drives deploy, change and plan against the engine in memory: random clouds, random
// changes (up, upgrade, finalize, rollback with and without restore, by name and atomic, two at a time,
// aborted), and faults of the engine, of containers, of the disk and of the agent at random moments.
// After each change exactly one generation of each container serves or a change says why not, and what
// was acknowledged is there. When the faults are over, one more up must end well, with exactly one
// generation of each container, no strays and nothing left to do. "make sim SEED=N" runs one seed again.
func TestSimulation(t *testing.T) {
	first, last := uint64(1), uint64(defaultSeeds)
	number := func(variable string) (uint64, bool) {
		s := os.Getenv(variable)
		if s == "" {
			return 0, false
		}
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("%s=%q is not a number", variable, s)
		}
		return n, true
	}
	if n, given := number(seedsVariable); given {
		last = n
	}
	if n, given := number(seedVariable); given {
		first, last = n, n
	}
	total := tally{}
	for seed := first; seed <= last; seed++ {
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("seed %d violates: \"make sim SEED=%d\" runs it again", seed, seed)
				}
			}()
			s := newSimulation(t, seed)
			end := s.turns.run()
			s.run()
			end()
			total.add(s.tally)
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d seeds: %s", last-first+1, total)
	if last-first >= 200 {
		for _, what := range []string{"fault", "engine death", "agent crash", "full disk", "abort", "two at once", "up done", "upgrade done", "rollback done", "rollback undone", "upgrade undone"} {
			if total[what] == 0 {
				t.Errorf("no %s in %d seeds: the simulation simulates nothing", what, last-first+1)
			}
		}
	}
}

// tally counts what has happened, by words.
type tally map[string]int

func (t tally) add(other tally) {
	for what, n := range other {
		t[what] += n
	}
}

func (t tally) String() string {
	text := ""
	for _, what := range tree.SortedKeys(t) {
		text += fmt.Sprintf("%d× %s, ", t[what], what)
	}
	return text
}

type simulation struct {
	w      *world
	seed   uint64
	random *rand.Rand
	class  tree.RollbackClass

	mu     sync.Mutex
	on     bool // faults happen
	chance float64
	dead   int // operations until the engine is back, 0 while it lives
	tally  tally
	turns  *turns

	// excused are the containers of which a change has said that they do not serve, and why.
	excused map[string]string
	stuck   map[string]bool
	// applied is the last document that a change of the whole cloud has made true, nil for none.
	applied *variant
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	s := &simulation{w: newWorld(t), seed: seed, random: rand.New(rand.NewPCG(seed, 0)), tally: tally{}, excused: map[string]string{}, stuck: map[string]bool{}}
	s.class = []tree.RollbackClass{tree.RollbackFree, tree.RollbackUntilContract, tree.RollbackByRestore}[s.random.IntN(3)]
	s.chance = []float64{0, 0.005, 0.02, 0.1}[s.random.IntN(4)]
	s.w.engine.Fault, s.w.engine.Lost = s.fault, s.lost
	s.w.router.fault = s.proxyFault
	s.turns = newTurns(seed)
	s.w.park = s.turns.park
	return s
}

func (s *simulation) run() {
	for i := range 2 + s.random.IntN(6) {
		if i == 0 && s.random.IntN(4) > 0 {
			s.install() // most of what can happen needs a cloud
			continue
		}
		s.oneRound()
		if s.w.t.Failed() {
			return
		}
	}
	s.settle()
}

// install brings up a good cloud without faults.
func (s *simulation) install() {
	mustEnd(s.w.t, s.w.do(up(phases(s.class))), change.Done)
}

// fault fails an operation of the engine before it is done, and now and then has the engine die, to come
// back some operations later.
func (s *simulation) fault(op, object string) error {
	s.turns.park(op + " " + object)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead > 0 {
		if s.dead--; s.dead == 0 {
			s.w.engine.Boot()
		}
	} else if s.on && s.random.Float64() < s.chance/20 {
		s.tally["engine death"]++
		s.dead = 1 + s.random.IntN(10)
		s.w.engine.Down()
	}
	return s.drawFault(op, object)
}

// lost fails an operation of the engine after it was done.
func (s *simulation) lost(op, object string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drawFault(op, object)
}

func (s *simulation) drawFault(op, object string) error {
	if !s.on || s.random.Float64() >= s.chance {
		return nil
	}
	s.tally["fault"]++
	kind := []error{engine.ErrUnavailable, engine.ErrNoSpace, context.DeadlineExceeded, errors.New("the engine said no")}[s.random.IntN(4)]
	return fmt.Errorf("%s %s: %w", op, object, kind)
}

// proxyFault fails an operation of the proxy.
func (s *simulation) proxyFault(op, object string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.on || s.random.Float64() >= s.chance {
		return nil
	}
	s.tally["fault"]++
	return fmt.Errorf("%s %s: it hangs", op, object)
}

func (s *simulation) faulty(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = on
	if !on && s.dead > 0 {
		s.dead = 0
		s.w.engine.Boot()
	}
}

func (s *simulation) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally[what]++
}

// linger lets others have some turns.
func (s *simulation) linger() {
	for range s.draw(60) {
		s.turns.park("linger")
	}
}

// draw returns a random number below n; handlers draw at the same time.
func (s *simulation) draw(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(n)
}

// oneRound submits a change, or two at once, follows them through crashes of the agent to their end, and
// looks at what has become of the cloud.
func (s *simulation) oneRound() {
	first := s.request()
	requests := []asked{first}
	if len(first.Options.Names) > 0 && s.draw(2) == 0 {
		requests = append(requests, s.named(first.Options.Names))
	}
	before := s.snapshot()
	if s.draw(20) == 0 {
		s.count("full disk")
		s.w.mu.Lock()
		s.w.free = 1 << 20
		s.w.mu.Unlock()
	}
	crashAt := 0
	if s.draw(2) == 0 {
		crashAt = 1 + s.draw(250)
	}
	l := s.w.begin(crashAt)
	s.faulty(true)
	changes := map[int]asked{}
	var order []int
	for i, r := range requests {
		if i > 0 {
			s.linger()
		}
		c, _, err := l.deployer.Submit(context.Background(), r.Request)
		if err != nil || c == nil {
			continue
		}
		changes[c.ID] = r
		order = append(order, c.ID)
		if s.draw(8) == 0 {
			s.count("abort")
			s.linger()
			// It may have ended already, which is as good.
			if err := l.deployer.Changes().Abort(c.ID, "the simulation"); err != nil && !errors.Is(err, change.ErrEnded) {
				s.w.t.Errorf("abort: %v", err)
			}
		}
	}
	if len(order) > 1 {
		s.count("two at once")
	}
	ended := s.follow(l, order)
	s.w.mu.Lock()
	s.w.free = 1 << 40
	s.w.mu.Unlock()
	for _, id := range order {
		s.count(string(changes[id].Kind) + " " + outcome(ended[id]))
	}
	s.checkRound(before, changes, ended)
}

func outcome(c *change.Change) string {
	switch c.Status() {
	case change.Done:
		return "done"
	case change.Stuck:
		return "stuck"
	}
	return "undone"
}

// follow waits for changes through the crashes of the agent that runs them, and ends the agent.
func (s *simulation) follow(l *life, ids []int) map[int]*change.Change {
	for {
		ended, crashed := map[int]*change.Change{}, false
		for _, id := range ids {
			c, dead := l.wait(id)
			ended[id] = c
			if crashed = crashed || dead; crashed {
				break
			}
		}
		s.faulty(false)
		l.end()
		if !crashed {
			return ended
		}
		s.count("agent crash")
		if s.draw(3) == 0 {
			s.w.engine.Restart()
		}
		crashAt := 0
		if s.draw(3) == 0 {
			crashAt = 1 + s.draw(100)
		}
		l = s.w.begin(crashAt)
		s.faulty(s.draw(2) == 0)
	}
}

// settle brings up a good cloud once all faults are over, and looks at what is there. Its release is the
// newest, which everything can go to.
func (s *simulation) settle() {
	s.retryStuck()
	request := func() Request {
		doc := released(phases(s.class), "2026.1", ofAPI...)
		doc.Pins = nil // the cloud file says so
		for i := range doc.Containers {
			doc.Containers[i].Spec.Environment["VALUE"] = "settled"
		}
		r := up(doc)
		r.Options.Unpin = true
		return r
	}
	// What faults have left over may take more than one up: a stopped old generation first.
	for range 3 {
		c := s.w.do(request())
		if c == nil {
			break
		}
		if c.Status() != change.Done {
			s.w.t.Errorf("with all faults over, up ended %s: %v", c.Status(), c.Err())
			return
		}
	}
	s.w.check()
	if left := s.w.plan(request()); !left.Empty() {
		s.w.t.Errorf("with all faults over the plan is not empty:\n%s", left)
	}
	if got := len(s.w.serving()); got != 4 {
		s.w.t.Errorf("%d containers run: %v; want 4", got, s.w.serving())
	}
	if pins := s.w.pins(); len(pins) > 0 {
		s.w.t.Errorf("pins are left that hold nothing: %v", pins)
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
