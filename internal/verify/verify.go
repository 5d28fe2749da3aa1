// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Prefix starts the name of everything that a run makes.
const Prefix = "copse-verify-"

// removalLimit is how long the removal may take; an interrupt does not shorten it.
const removalLimit = 10 * time.Minute

// Options say what to verify and how.
type Options struct {
	// Credentials are the administrator's, in the variables of the openstack client.
	Credentials map[string]string
	// Only are the steps to run, with those that they need; none means all.
	Only []string
	// Keep leaves everything for a look; the next run removes it.
	Keep bool
	// Clean removes what earlier runs have left and does nothing else.
	Clean bool
	// Network is the external network to use; "" chooses one.
	Network string
	// Provider is what an external network is made from, for this run, where there is none.
	Provider Provider
	// Deployed are the names of the cloud's containers and components: a service that is
	// deployed must be in the service catalogue, and what to look at is named from them.
	Deployed []string
	// Limit is how long the cloud may take for one thing; 0 is five minutes.
	Limit time.Duration
	// Guest returns the files of the guest; it is asked when they are to be uploaded.
	Guest func(ctx context.Context) (Guest, error)
	// Report is told when a step starts, gets on and ends, from one goroutine.
	Report func(Event)
	// Probe reaches the server from here; nil is the network of this host.
	Probe Probe
	// Now and Pause are the clock; nil is the real one.
	Now   func() time.Time
	Pause func(ctx context.Context, d time.Duration) error
}

// Provider is the network outside of the cloud; without CIDR nothing is made from it.
type Provider struct {
	// Name is what neutron calls the physical network.
	Name string
	CIDR string
	// Gateway is this host's address in it; a prefix's length after it does not matter.
	Gateway string
}

// Status is what becomes of a step.
type Status string

// The states of a step.
const (
	Running     Status = "running"
	Done        Status = "done"
	Failed      Status = "failed"
	Skipped     Status = "skipped"
	Interrupted Status = "interrupted"
)

// Event is news of a step.
type Event struct {
	Step     string
	Sentence string // what the step does
	Status   Status
	Started  time.Time
	Elapsed  time.Duration
	// Detail is what was found, how far it is, or why the step is skipped.
	Detail string
	// Err is why it failed.
	Err error
	// Look are containers and components whose logs may tell more.
	Look []string
	// Console are the last lines of the server's console.
	Console []string
}

// Failure says that the cloud does not do what it should.
type Failure struct {
	// Step is the first that failed.
	Step string
	Err  error
}

// Error names the step and what went wrong.
func (f *Failure) Error() string {
	return fmt.Sprintf("cannot verify the cloud: step %s failed: %v", f.Step, f.Err)
}

// Unwrap gives the cause.
func (f *Failure) Unwrap() error { return f.Err }

// run is one verification.
type run struct {
	Options
	// name is that of everything it makes.
	name     string
	password string
	admin    *session
	user     *session
	ended    map[string]Status
	failure  *Failure
	current  Event
	found
}

// found are the identities that later steps need.
type found struct {
	project                string
	kernel, ramdisk, image string
	flavor                 string
	network, subnet        string
	external, router       string
	group, port            string
	address                string // the floating IP
	server                 string
}

// Run verifies a cloud. It returns a *Failure where the cloud is at fault, ctx's error where it was
// interrupted, and another error where the options are. Whatever it returns, what it made is
// removed again or, in the step "remove", told.
func Run(ctx context.Context, options Options) error {
	r, err := newRun(options)
	if err != nil {
		return err
	}
	chosen, err := choose(steps(), options.Only)
	if err != nil {
		return err
	}
	if options.Clean {
		chosen = slices.DeleteFunc(chosen, func(s step) bool { return s.name != stepToken && s.name != stepLeftovers })
	}
	for _, s := range chosen {
		// A failure skips what needs the step; the rest goes on, for it tells more.
		if ctx.Err() != nil {
			break
		}
		r.step(ctx, s)
	}
	if r.admin != nil && !options.Clean {
		r.finish(ctx)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r.failure != nil {
		return r.failure
	}
	return nil
}

func newRun(options Options) (*run, error) {
	r := &run{Options: options, ended: map[string]Status{}}
	random := make([]byte, 20)
	// It never fails, by its documentation.
	_, _ = rand.Read(random)
	r.name = Prefix + hex.EncodeToString(random[:4])
	r.password = hex.EncodeToString(random[4:])
	if r.Limit <= 0 {
		r.Limit = 5 * time.Minute
	}
	if r.Now == nil {
		r.Now = time.Now
	}
	if r.Pause == nil {
		r.Pause = pause
	}
	if r.Probe == nil {
		r.Probe = NewProbe()
	}
	if r.Report == nil {
		r.Report = func(Event) {}
	}
	if options.Credentials["OS_AUTH_URL"] == "" {
		return nil, errors.New("cannot verify the cloud: the credentials have no OS_AUTH_URL; `copse openrc` shows what there is")
	}
	return r, nil
}

// step runs one step, or says why not.
func (r *run) step(ctx context.Context, s step) {
	r.current = Event{Step: s.name, Sentence: s.sentence, Status: Running, Started: r.Now()}
	if reason := r.obstacle(s); reason != "" {
		if !slices.Contains(r.Only, s.name) {
			r.end(Skipped, reason, nil)
			return
		}
		r.end(Failed, "", errors.New("it cannot be tried: "+reason))
		r.fail(s.name, r.current.Err)
		return
	}
	r.Report(r.current)
	detail, err := s.do(r, ctx)
	switch {
	case err == nil:
		r.end(Done, detail, nil)
	case ctx.Err() != nil:
		r.end(Interrupted, "", nil)
	default:
		r.current.Look = r.known(s.look)
		r.current.Console = r.lastWords(ctx)
		r.end(Failed, "", explain(err))
		r.fail(s.name, r.current.Err)
	}
}

// obstacle says why a step cannot be run, "" where it can.
func (r *run) obstacle(s step) string {
	for _, needed := range s.needs {
		switch r.ended[needed] {
		case Failed:
			return fmt.Sprintf("it needs %s, which failed", needed)
		case Skipped:
			return fmt.Sprintf("it needs %s, which was skipped", needed)
		}
	}
	for _, service := range s.services {
		if !r.admin.has(service) {
			return fmt.Sprintf("the service catalogue has no %s service", service)
		}
	}
	for _, container := range s.containers {
		if len(r.Deployed) > 0 && !slices.Contains(r.Deployed, container) {
			return "the cloud has no " + container
		}
	}
	return ""
}

// end reports the current step's end.
func (r *run) end(status Status, detail string, err error) {
	r.ended[r.current.Step] = status
	r.current.Status, r.current.Detail, r.current.Err = status, detail, err
	r.current.Elapsed = r.Now().Sub(r.current.Started)
	r.Report(r.current)
}

// tell reports how far the current step is.
func (r *run) tell(format string, args ...any) {
	event := r.current
	event.Detail = fmt.Sprintf(format, args...)
	event.Elapsed = r.Now().Sub(event.Started)
	r.Report(event)
}

// fail keeps the first failure.
func (r *run) fail(step string, err error) {
	if r.failure == nil {
		r.failure = &Failure{Step: step, Err: err}
	}
}

// known drops the names that the cloud does not have.
func (r *run) known(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return len(r.Deployed) > 0 && !slices.Contains(r.Deployed, name)
	})
}

// finish removes what this run has made, or says what it leaves.
func (r *run) finish(ctx context.Context) {
	r.current = Event{Step: stepRemove, Sentence: "Remove it all again", Status: Running, Started: r.Now()}
	if r.Keep {
		r.end(Skipped, fmt.Sprintf("everything stays, named %s; the next `copse verify`, or `copse verify --clean`, removes it", r.name), nil)
		return
	}
	r.Report(r.current)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalLimit)
	defer cancel()
	removed, err := r.sweep(ctx, func(name string) bool { return name == r.name })
	if err != nil {
		err = fmt.Errorf("%w; the next `copse verify`, or `copse verify --clean`, tries again", err)
		r.end(Failed, "", err)
		r.fail(stepRemove, err)
		return
	}
	r.end(Done, removed.String(), nil)
}

// choose returns the named steps and those that they need, in order; no name is all.
func choose(all []step, names []string) ([]step, error) {
	if len(names) == 0 {
		return all, nil
	}
	wanted := map[string]bool{}
	var want func(name string) error
	want = func(name string) error {
		at := slices.IndexFunc(all, func(s step) bool { return s.name == name })
		if at < 0 {
			return &UnknownStepError{Name: name}
		}
		wanted[name] = true
		for _, needed := range all[at].needs {
			if err := want(needed); err != nil {
				return err
			}
		}
		return nil
	}
	for _, name := range append([]string{stepToken, stepLeftovers}, names...) {
		if err := want(name); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(s step) bool { return !wanted[s.name] }), nil
}

// UnknownStepError says that there is no such step.
type UnknownStepError struct{ Name string }

// Error lists the steps that there are.
func (e *UnknownStepError) Error() string {
	return fmt.Sprintf("there is no step %q; there are: %s", e.Name, strings.Join(Steps(), ", "))
}

// pollInterval is the time between two looks at something that is waited for.
const pollInterval = time.Second

// wait asks poll until it says that it is done. What is what is waited for, in words; poll's state
// is shown meanwhile and told when the time is over.
func (r *run) wait(ctx context.Context, what string, poll func(ctx context.Context) (done bool, state string, err error)) error {
	began := r.Now()
	for {
		done, state, err := poll(ctx)
		if err != nil || done {
			return err
		}
		if elapsed := r.Now().Sub(began); elapsed >= r.Limit {
			return fmt.Errorf("cannot wait longer until %s: after %s %s", what, elapsed.Round(time.Second), state)
		}
		r.tell("%s", state)
		if err := r.Pause(ctx, pollInterval); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
