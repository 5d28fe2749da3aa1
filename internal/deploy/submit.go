// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"copse/internal/change"
	"copse/internal/plan"
	"copse/internal/store"
	"copse/internal/tree"
)

// Errors that a caller acts on.
var (
	// ErrInvalid: the request itself is wrong; nothing was touched.
	ErrInvalid = errors.New("invalid request")
	// ErrStale: the cloud has changed since the plan was made.
	ErrStale = errors.New("the plan is out of date")
	// ErrNewerDocument: the document was made by a newer Copse than this agent.
	ErrNewerDocument = errors.New("the document is newer than this agent")
	// ErrNothingDeclared: there is no cloud yet.
	ErrNothingDeclared = errors.New("nothing is declared yet: \"copse up\" brings up a cloud")
)

// Request asks for a plan or a change.
type Request struct {
	Kind     plan.Kind
	Document *tree.Document // nil: what is declared
	Options  plan.Options
	Revision *uint64 // of the plan that was shown; nil: any
	Atomic   bool
	User     string
}

// Plan says what the request would do, and touches nothing.
func (d *Deployer) Plan(ctx context.Context, r Request) (*plan.Plan, error) {
	p, on, err := d.plan(ctx, r)
	if err != nil {
		return nil, err
	}
	var busy *change.ConflictError
	if errors.As(d.runner.Busy(subjects(r, on.decision)), &busy) {
		p.Notes = append(p.Notes, fmt.Sprintf("change %d (%s) is at work: this is the plan for what is there at the moment", busy.Change, busy.Summary))
	}
	return p, nil
}

func (d *Deployer) plan(ctx context.Context, r Request) (*plan.Plan, *basis, error) {
	doc, err := d.documentOf(r)
	if err != nil {
		return nil, nil, err
	}
	state, err := d.Observe(ctx, doc)
	if err != nil {
		return nil, nil, err
	}
	if doc, err = d.pinned(ctx, r, doc, state); err != nil {
		return nil, nil, err
	}
	var refused map[string][]string
	if starts(r.Kind) {
		if state.HostMissing, refused, err = d.Host.Look(ctx, doc.HostPreps(d.HostName, nil)); err != nil {
			return nil, nil, err
		}
	}
	decision, err := plan.Decide(r.Kind, doc, state, r.Options)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	p := decision.Plan
	if p.Findings, err = d.planFindings(ctx, p, doc, refused); err != nil {
		return nil, nil, err
	}
	return p, &basis{document: doc, state: state, decision: decision}, nil
}

// documentOf is the document that a request is about.
func (d *Deployer) documentOf(r Request) (*tree.Document, error) {
	doc := r.Document
	if doc == nil {
		var err error
		if doc, err = d.Document(); err != nil {
			return nil, err
		}
	}
	if doc == nil {
		return nil, ErrNothingDeclared
	}
	if doc.Version > tree.DocumentVersion {
		return nil, fmt.Errorf("%w: its version is %d and this agent knows %d: run \"copse up\" with the newer copse, which replaces the agent",
			ErrNewerDocument, doc.Version, tree.DocumentVersion)
	}
	return doc, nil
}

// Submit plans the request and starts the change that does it. Where there is nothing to do,
// the change is nil, and what the document says besides (checks, dependencies) is declared.
// Everything that can be refused is refused here, before anything is touched.
func (d *Deployer) Submit(ctx context.Context, r Request) (*change.Change, *plan.Plan, error) {
	d.submitting.Lock()
	defer d.submitting.Unlock()

	p, on, err := d.plan(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	if r.Revision != nil && *r.Revision != p.Revision {
		return nil, p, stale(*r.Revision, p.Revision)
	}
	if p.Empty() {
		return nil, p, d.declareOnly(r, on)
	}
	// Before anything else is found fault with: what is in the way may be that change's doing.
	if err := d.runner.Busy(subjects(r, on.decision)); err != nil {
		return nil, p, err
	}
	if err := refuse(p); err != nil {
		return nil, p, err
	}
	spec, err := d.changeOf(r, on)
	if err != nil {
		return nil, p, err
	}
	c, err := d.runner.Submit(spec)
	return c, p, err
}

func stale(was, is uint64) error {
	return fmt.Errorf("%w: it was made from revision %d, and the cloud is at %d: look at the plan again", ErrStale, was, is)
}

// declareOnly declares what goes with a plan without steps.
func (d *Deployer) declareOnly(r Request, on *basis) error {
	if len(on.decision.Pins) > 0 {
		if err := d.runner.Busy(subjects(r, on.decision)); err != nil {
			return err
		}
	}
	return d.Store.Update(func(tx *store.Tx) error {
		if err := d.unmoved(tx, r, on); err != nil {
			return err
		}
		if err := d.writePins(tx, on.decision.Pins, 0, on.state.Active); err != nil {
			return err
		}
		return d.declare(tx, r, on.document)
	})
}

// changeOf makes the change that carries out a plan, and the secrets that it needs.
func (d *Deployer) changeOf(r Request, on *basis) (spec change.Spec, err error) {
	p := on.decision.Plan
	versions, err := d.ensureSecrets(on.document)
	if err != nil {
		return spec, err
	}
	active, err := d.Active()
	if err != nil {
		return spec, err
	}
	if r.Kind.Runs() {
		versions = inUse(versions, active)
	}
	if err := d.keptSecrets(p, on.state); err != nil {
		return spec, err
	}
	spec = d.tasks(p, on, active, versions)
	left := attachPins(&spec, on.document, on.decision.Pins)
	attachRewinds(&spec, on.decision.Rewinds)
	spec.Kind, spec.User, spec.Atomic = string(r.Kind), r.User, r.Atomic
	spec.Summary = summary(r, p)
	spec.Subjects = subjects(r, on.decision)
	spec.Data = map[string]any{"plan": p}
	spec.Commit = func(tx *store.Tx, id int) error {
		now, err := tx.Revision()
		if err != nil {
			return err
		}
		if now != p.Revision {
			return stale(p.Revision, now)
		}
		if err := d.unmoved(tx, r, on); err != nil {
			return err
		}
		if r.Kind.Runs() {
			// No plan but its own is about such a job: one that is being looked at stays good.
			return d.recordRuns(tx, r.Kind, id, p)
		}
		if _, err := tx.BumpRevision(); err != nil {
			return err
		}
		if err := d.writePins(tx, left, id, active); err != nil {
			return err
		}
		return d.declare(tx, r, on.document)
	}
	return spec, nil
}

// declare makes a request's document the declared one.
func (d *Deployer) declare(tx *store.Tx, r Request, doc *tree.Document) error {
	if r.Document == nil {
		return nil
	}
	if err := store.Put(tx, documentBucket, currentDocument, doc); err != nil {
		return err
	}
	return d.refresh(tx, doc)
}

// refresh brings what is declared of a container, and makes no other one of it (its checks, what it depends
// on, how it is replaced), into the record of the generation that runs, which is what it is watched by.
func (d *Deployer) refresh(tx *store.Tx, doc *tree.Document) error {
	active, err := allActive(tx, d.HostName)
	if err != nil {
		return err
	}
	for _, name := range tree.SortedKeys(active) {
		g, declared := active[name], doc.Container(name)
		if declared == nil || declared.Host != d.HostName || declared.Job != nil || declared.Release != g.Container.Release ||
			declared.Identity(g.SecretVersions) != g.Identity {
			continue
		}
		g.Container = *declared
		if err := saveGeneration(tx, g); err != nil {
			return err
		}
	}
	return nil
}

func summary(r Request, p *plan.Plan) string {
	what := "the whole cloud"
	if len(r.Options.Names) > 0 {
		what = strings.Join(r.Options.Names, ", ")
	}
	word := map[plan.Kind]string{
		plan.Up: "bring up", plan.Start: "start", plan.Stop: "stop", plan.Restart: "restart", plan.Down: "take down",
		plan.Upgrade: "upgrade", plan.Rollback: "roll back",
		plan.RunNow: "run", plan.Scheduled: "run",
	}[r.Kind]
	if r.Kind == plan.Down && r.Options.Volumes {
		what += " and its data"
	}
	steps := "steps"
	if len(p.Steps) == 1 {
		steps = "step"
	}
	return fmt.Sprintf("%s %s (%d %s)", word, what, len(p.Steps), steps)
}

// subjects are what no other change may be about at the same time: what is planned for, and what is
// pinned or released without a step.
func subjects(r Request, decision *plan.Decision) []string {
	if len(r.Options.Names) == 0 {
		return []string{change.Everything}
	}
	var s []string
	for _, step := range decision.Plan.Steps {
		s = append(s, containerKey(step.Host, step.Container))
	}
	for name := range decision.Pins {
		s = append(s, containerKey(decision.Host, name))
	}
	slices.Sort(s)
	return slices.Compact(s)
}

// since says in words how long it is from then to now.
func since(now, then time.Time) string { return now.Sub(then).Round(100 * time.Millisecond).String() }
