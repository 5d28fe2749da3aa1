// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"copse/internal/api"
	"copse/internal/client"
	"copse/internal/plan"
	"copse/internal/view"
)

// attempts is how often to look for a lost agent before giving up: about two minutes.
const attempts = 60

// transition is a change from the request to its end.
type transition struct {
	request api.ChangeRequest
	// yes answers every question.
	yes bool
	// detach leaves the change to the agent once it is submitted.
	detach bool
	// question is asked before anything is done; "" asks only about what is dangerous.
	question string
	// unattended lets a plan without dangers go on where there is nobody to ask.
	unattended bool
	// typed is a word that must be typed after the question, because of typedReason.
	typed, typedReason string
	// prepare is called before the change is submitted.
	prepare func(ctx context.Context, p *plan.Plan) error
	// next is what to do after success; advise, where it is there, says it of a plan.
	next   string
	advise func(p *plan.Plan) string
	// always submits a plan without steps as well, for what is noted beside them.
	always bool
	// conclude, where it is there, says more than next once containers have been created.
	conclude conclusion
}

// conclusion sums up a change that is done.
type conclusion func(ctx context.Context, change *api.Change) (*view.Summary, error)

// transit plans, shows, asks, submits and follows a change.
func (a *app) transit(ctx context.Context, t transition) error {
	t.request.User = a.operator()
	p, err := a.planOf(ctx, t.request)
	if err != nil {
		return err
	}
	if err := a.view.Plan(p); err != nil {
		return err
	}
	if p.Empty() {
		return a.record(ctx, t, p)
	}
	if err := refused(p); err != nil {
		return err
	}
	if err := a.agree(ctx, &t, p); err != nil {
		return err
	}
	if t.advise != nil {
		t.next = t.advise(p)
	}
	if t.prepare != nil {
		if err := t.prepare(ctx, p); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	t.request.Revision = &p.Revision
	// From here on the agent owns the change. An interrupt between request and answer would
	// leave a change that nobody was told about, so the answer is waited for.
	change, err := ask(a, func(c *client.Client) (*api.Change, error) {
		return c.Submit(context.WithoutCancel(ctx), t.request)
	})
	if err != nil {
		return err
	}
	if t.detach {
		return a.view.Note("change %d goes on; `copse change %d -f` follows it", change.ID, change.ID)
	}
	if t.conclude != nil && creates(p) {
		return a.follow(ctx, change, "", t.conclude)
	}
	return a.follow(ctx, change, t.next, nil)
}

// record has the agent note what goes with a plan without steps: a document, of which more counts than what
// containers are made of (values that the agent goes by, checks, timers), and pins.
func (a *app) record(ctx context.Context, t transition, p *plan.Plan) error {
	if !t.always && t.request.Document == nil {
		return nil
	}
	t.request.Revision = &p.Revision
	_, err := ask(a, func(c *client.Client) (*api.Change, error) {
		return c.Submit(context.WithoutCancel(ctx), t.request)
	})
	return err
}

// follow shows a change until it has ended and tells how it went.
func (a *app) follow(ctx context.Context, change *api.Change, next string, conclude conclusion) error {
	ended, err := a.watch(ctx, change)
	if err != nil {
		return err
	}
	var summary *view.Summary
	if conclude != nil && ended.Status == "done" {
		if summary, err = conclude(ctx, ended); err != nil {
			// The change is done all the same.
			if err := a.view.Note("cannot sum up what there is now: %v", err); err != nil {
				return err
			}
		}
	}
	ending := view.Ending{Next: next, Summary: summary}
	if summary == nil {
		ending.Outcome = a.outcome(ctx, ended)
	}
	return a.ended(ended, ending)
}

// outcome says what a change that made generations made of each container, nil of another one. It
// is an addition to what is said of the change: where the history cannot be had, the rest stands.
func (a *app) outcome(ctx context.Context, change *api.Change) *view.Outcome {
	return view.Replacements(change, a.generations(ctx))
}

// generations are those of the whole cloud; none where they cannot be had.
func (a *app) generations(ctx context.Context) []api.Generation {
	generations, err := ask(a, func(c *client.Client) ([]api.Generation, error) { return c.History(ctx, nil) })
	if err != nil {
		return nil
	}
	return generations
}

// watch shows a change until it has ended. An interrupt leaves it to the agent.
func (a *app) watch(ctx context.Context, change *api.Change) (*api.Change, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	progress := a.view.Progress(fmt.Sprintf("change %d: %s", change.ID, change.Kind))
	progress.Tasks(change.Tasks)
	follower := client.Follower{
		Client:   c,
		Event:    progress.Event,
		Lost:     func(err error) { progress.Notice("lost the agent, looking for it: " + err.Error()) },
		Found:    func() { progress.Notice("the agent is there again") },
		Wait:     client.Pause,
		Attempts: attempts,
	}
	ended, err := follower.Follow(ctx, change.ID)
	if closeErr := progress.Close(); err == nil {
		err = closeErr
	}
	if err != nil && ctx.Err() != nil {
		if err := a.view.Note("change %d goes on; `copse abort %d` stops it, `copse change %d -f` follows it", change.ID, change.ID, change.ID); err != nil {
			return nil, err
		}
		return nil, exit(exitInterrupted)
	}
	return ended, err
}

// ended tells how a change went; the exit code says it too.
func (a *app) ended(change *api.Change, ending view.Ending) error {
	if err := a.view.ChangeEnded(change, ending); err != nil {
		return err
	}
	if change.Status != "done" {
		return exit(exitFailed)
	}
	return nil
}
