// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"strings"

	"copse/internal/plan"
	"copse/internal/tree"
)

// stakes are what an operator has to agree to.
type stakes struct {
	// dangers are steps that lose data or end virtual machines.
	dangers []string
	// ends are those after which the release before cannot be gone back to without loss.
	ends []string
	// losses say what is lost where saved data are put back.
	losses []string
}

func stakesOf(p *plan.Plan) (s stakes) {
	for _, step := range p.Steps {
		if step.Dangerous {
			s.dangers = append(s.dangers, string(step.Action)+" "+step.Container)
		}
		if step.NoReturn {
			s.ends = append(s.ends, step.Container)
		}
		if step.Phase == tree.Restore {
			s.losses = append(s.losses, step.Impact)
		}
	}
	return s
}

// agree asks what has to be asked.
func (a *app) agree(ctx context.Context, t *transition, p *plan.Plan) error {
	if t.yes {
		return nil
	}
	stakes := stakesOf(p)
	if !a.interactive() {
		switch {
		case len(stakes.dangers) > 0:
			return fmt.Errorf("cannot ask whether to %s, which loses data or virtual machines: give --yes", strings.Join(stakes.dangers, ", "))
		case len(stakes.ends) > 0:
			return fmt.Errorf("cannot ask whether to pass the point of no return (%s): give --yes", strings.Join(stakes.ends, ", "))
		case t.unattended:
			return nil
		}
		return fmt.Errorf("cannot ask whether to go on with `copse %s`, for there is no terminal: give --yes", t.request.Kind)
	}
	question, typed, reason := t.question, t.typed, t.typedReason
	switch {
	case typed != "":
	case len(stakes.losses) > 0:
		question = "This puts saved data back. WHAT WAS WRITTEN SINCE IS LOST. Go on?"
		typed, reason = "yes", strings.Join(stakes.losses, "; ")+"."
	case len(stakes.ends) > 0:
		typed, reason = "yes", "After "+strings.Join(stakes.ends, ", ")+" the release before cannot be gone back to without loss."
	}
	if question == "" && len(stakes.dangers) > 0 {
		question = "This loses data or virtual machines. Go on?"
	}
	if question == "" {
		return nil
	}
	if err := a.confirm(ctx, question); err != nil || typed == "" {
		return err
	}
	return a.confirmTyped(ctx, reason, typed)
}
