// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"copse/internal/api"
	"copse/internal/client"
	"copse/internal/plan"
	"copse/internal/tree"
)

// pins returns those in force. An agent that is not there holds nothing, and one that cannot be
// talked to, or does not know of pins, is replaced before anything depends on them.
func (a *app) pins(ctx context.Context) ([]tree.Pin, error) {
	pins, err := ask(a, func(c *client.Client) ([]tree.Pin, error) { return c.Pins(ctx) })
	unreachable, level, answer := (*client.UnreachableError)(nil), (*client.LevelError)(nil), (*api.Error)(nil)
	switch {
	case err == nil:
		return pins, nil
	case errors.As(err, &unreachable), errors.As(err, &level), errors.As(err, &answer) && answer.Code == "not-found":
		return nil, nil
	}
	return nil, err
}

// formerAddress is where the cloud that is declared offers its APIs, "" where there is none or no agent
// to ask. What was given once, with --address, need not be given again.
func (a *app) formerAddress(ctx context.Context) string {
	document, err := a.declared(ctx)
	if err != nil {
		return "" // whatever it is, the next question to the agent says it
	}
	return document.Values["ADDRESS"]
}

// resolve makes the document of what is declared, with the pins in force, and makes sure that the
// names are in it.
func (a *app) resolve(ctx context.Context, address string, names []string) (*tree.Document, error) {
	pins, err := a.pins(ctx)
	if err != nil {
		return nil, err
	}
	return a.resolveWith(ctx, address, names, pins)
}

// resolveWith is resolve with given pins.
func (a *app) resolveWith(ctx context.Context, address string, names []string, pins []tree.Pin) (*tree.Document, error) {
	d := a.declaration(address)
	d.Pins = pins
	if address == "" {
		d.Former = a.formerAddress(ctx)
	}
	document, err := a.parts.resolve(ctx, d)
	if err != nil {
		return nil, err
	}
	if _, err := document.Select(names); err != nil {
		return nil, err
	}
	return document, nil
}

// unpinned makes the document again without the pins of the named containers, so that they follow
// the cloud file; those pins are returned too.
func (a *app) unpinned(ctx context.Context, address string, names []string, document *tree.Document) (*tree.Document, []tree.Pin, error) {
	selected, err := document.Select(names)
	if err != nil {
		return nil, nil, err
	}
	var let, kept []tree.Pin
	for _, pin := range document.Pins {
		if slices.Contains(selected, pin.Container) {
			let = append(let, pin)
		} else {
			kept = append(kept, pin)
		}
	}
	if len(let) == 0 {
		return document, nil, nil
	}
	free, err := a.resolveWith(ctx, address, names, kept)
	return free, let, err
}

// wanted is what `copse up` and `copse plan` are about.
type wanted struct {
	address string
	names   []string
	unpin   bool
}

// request makes the request for what is wanted now, and says whether there are pins that it settles:
// those that the cloud file has come to agree with go, even where there is nothing else to do.
func (a *app) request(ctx context.Context, w wanted) (request api.ChangeRequest, settles bool, err error) {
	request = api.ChangeRequest{Kind: plan.Up, Names: w.names, Unpin: w.unpin, User: a.operator()}
	pins, err := a.pins(ctx)
	if err != nil {
		return request, false, err
	}
	document, err := a.resolveWith(ctx, w.address, w.names, pins)
	if err == nil && w.unpin {
		document, _, err = a.unpinned(ctx, w.address, w.names, document)
	}
	request.Document = document
	return request, len(pins) > 0, err
}

// settle asks what is to hold where the cloud file says something else than an upgrade or a
// rollback has made: request is the one to keep that, and the answer may be another one. Where
// nobody can be asked, it is kept.
func (a *app) settle(ctx context.Context, w wanted, request api.ChangeRequest) (api.ChangeRequest, error) {
	if !a.interactive() {
		return request, nil
	}
	free, let, err := a.unpinned(ctx, w.address, w.names, request.Document)
	if err != nil || len(let) == 0 {
		return request, err
	}
	follow := request
	follow.Document, follow.Unpin = free, true
	kept, err := a.planOf(ctx, request)
	if err != nil {
		return request, err
	}
	followed, err := a.planOf(ctx, follow)
	if err != nil {
		if answer := (*api.Error)(nil); !errors.As(err, &answer) {
			return request, err
		}
		// Whoever wants it all the same hears it from --unpin.
		return request, a.view.Note("what upgrades and rollbacks have made is kept, for the cloud file cannot be followed: %v", err)
	}
	disagreements := disagreements(let, kept, followed)
	if len(disagreements) == 0 {
		return request, nil
	}
	question := "The cloud file disagrees with what was done since:\n  " + strings.Join(disagreements, "\n  ") +
		"\nKeep it as it is? (n follows the cloud file) [Y/n] "
	answer, err := a.prompt(ctx, question)
	if err != nil {
		return request, err
	}
	switch strings.ToLower(answer) {
	case "", "y", "yes":
		return request, nil
	case "n", "no":
		return follow, nil
	}
	return request, errDeclined
}

// disagreements says of each pin what the cloud file would make of its container, where that is
// not what is there: a step of the plan that follows it, and not of the plan that keeps the pins.
func disagreements(pins []tree.Pin, kept, followed *plan.Plan) []string {
	step := func(p *plan.Plan, pin tree.Pin) *plan.Step {
		for i := range p.Steps {
			if s := &p.Steps[i]; s.Container == pin.Container && s.Host == pin.Host {
				return s
			}
		}
		return nil
	}
	var words []string
	for _, pin := range pins {
		does := step(followed, pin)
		if does == nil {
			continue
		}
		if keeps := step(kept, pin); keeps != nil && slices.Equal(keeps.Causes, does.Causes) {
			continue // it is made anew either way, for the same reasons
		}
		is := fmt.Sprintf("is at %s by change %d", pin.Release, pin.Change)
		if pin.Generation > 0 {
			is = fmt.Sprintf("is held at generation %d's content by change %d", pin.Generation, pin.Change)
		}
		words = append(words, fmt.Sprintf("%s %s; the cloud file: %s", pin.Container, is, strings.Join(does.Causes, ", ")))
	}
	return words
}

// planOf asks for a plan.
func (a *app) planOf(ctx context.Context, request api.ChangeRequest) (*plan.Plan, error) {
	return ask(a, func(c *client.Client) (*plan.Plan, error) { return c.Plan(ctx, request) })
}

// showPlan shows what a request would do, and does nothing; the exit code says whether there is something.
func (a *app) showPlan(ctx context.Context, request api.ChangeRequest) error {
	p, err := a.planOf(ctx, request)
	if err != nil {
		return err
	}
	if err := a.view.PlanObject(p); err != nil {
		return err
	}
	if !p.Empty() {
		return exit(exitChanges)
	}
	return nil
}
