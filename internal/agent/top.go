// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"net/http"

	"copse/internal/api"
	"copse/internal/tree"
)

func (a *Agent) getTop(w http.ResponseWriter, r *http.Request) error {
	s, err := a.look(r)
	if err != nil {
		return err
	}
	answer := []api.Process{}
	for _, c := range a.services(s) {
		g := s.active[c.Name]
		if g == nil || !s.running[g.Name()] {
			continue
		}
		processes, err := a.Engine.Top(r.Context(), g.Name())
		if err != nil {
			return fmt.Errorf("cannot list the processes of %s: %w", g.Name(), err)
		}
		for i, p := range processes {
			one := api.Process{Container: c.Name, PID: p.PID, PPID: p.PPID, User: p.User, Command: p.Command}
			if i == 0 {
				one.Usage = a.usage(r.Context(), g)
			}
			answer = append(answer, one)
		}
	}
	a.answer(w, http.StatusOK, answer)
	return nil
}

// usage is what a container uses now, nil where the engine does not say.
func (a *Agent) usage(ctx context.Context, g *tree.Generation) *api.Usage {
	s, err := a.Engine.Stats(ctx, g.Name())
	if err != nil {
		return nil
	}
	return &api.Usage{CPUSeconds: s.CPU.Seconds(), Memory: s.Memory, MemoryLimit: s.MemoryLimit, Pids: s.Pids}
}
