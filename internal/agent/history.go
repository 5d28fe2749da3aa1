// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/http"

	"copse/internal/api"
)

func (a *Agent) getHistory(w http.ResponseWriter, r *http.Request) error {
	_, selected, err := a.selected(named(r))
	if err != nil {
		return err
	}
	generations, err := a.deployer.Generations()
	if err != nil {
		return err
	}
	answer := []api.Generation{}
	for _, g := range generations {
		if !selected[g.Container.Name] {
			continue
		}
		item := api.Generation{
			Host: g.Container.Host, Set: g.Container.Set, Name: g.Container.Name, Generation: g.Number,
			Release: g.Container.Release, Image: g.Container.Spec.Image, State: string(g.State),
			Change: g.Change, Cause: g.Cause, CreatedAt: g.Created, Activated: moment(g.Activated), Of: g.Of,
		}
		if g.Window != nil && g.Window.Probes > 0 {
			seconds := g.Window.Duration.Seconds()
			item.WindowSeconds, item.FailedRequests, item.Probes = &seconds, &g.Window.Failed, g.Window.Probes
		}
		answer = append(answer, item)
	}
	a.answer(w, http.StatusOK, answer)
	return nil
}
