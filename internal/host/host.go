// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"copse/internal/tree"
)

// Host is the host of a container engine. It is safe for concurrent use.
type Host struct {
	// EnginePID returns the process of the container engine, whose mount namespace is the one
	// to prepare; an agent in a container has another.
	EnginePID func(ctx context.Context) (int, error)

	mu sync.Mutex // one looks or acts at a time
	// vain are the optional modules that the kernel would not load, so that they are not
	// asked for over and over.
	vain map[string]bool
}

// Report is what a host lacks.
type Report struct {
	// Missing says in words what there is to prepare, by set.
	Missing map[string][]string
	// Refused says what is in the way and must be seen to by hand, by set; it stands in
	// Missing as well.
	Refused map[string][]string
}

// Look says what the host lacks of what the sets ask, and touches nothing.
func (h *Host) Look(ctx context.Context, preps []tree.HostPrep) (Report, error) {
	report := Report{Missing: map[string][]string{}, Refused: map[string][]string{}}
	err := h.within(ctx, preps, func(e *edge) error {
		f, err := e.observe(preps)
		if err != nil {
			return err
		}
		for i := range preps {
			set := preps[i].Set
			for _, n := range h.assess(&preps[i], f) {
				report.Missing[set] = append(report.Missing[set], n.lacks)
				if n.refused {
					report.Refused[set] = append(report.Refused[set], n.lacks)
				}
			}
		}
		return nil
	})
	return report, err
}

// Prepare makes true what the sets ask and tells each thing that it has done; they stay even where
// a later one fails. Where something must not be touched, nothing is. It returns the directories
// that it has mounted: what ran before goes on seeing those that were there before.
func (h *Host) Prepare(ctx context.Context, preps []tree.HostPrep, tell func(string)) (mounted []string, err error) {
	err = h.within(ctx, preps, func(e *edge) error {
		f, err := e.observe(preps)
		if err != nil {
			return err
		}
		var refused []error
		for i := range preps {
			for _, n := range h.assess(&preps[i], f) {
				if n.refused {
					refused = append(refused, fmt.Errorf("%s asks for what this host cannot have: %s", preps[i].Set, n.lacks))
				}
			}
		}
		if len(refused) > 0 {
			return fmt.Errorf("cannot prepare the host: %w", errors.Join(refused...))
		}
		for i := range preps {
			// Looked at again: what one set asked for may have been asked for by another.
			if f, err = e.observe(preps[i : i+1]); err != nil {
				return err
			}
			for _, n := range h.assess(&preps[i], f) {
				said, err := h.mend(ctx, e, n)
				if err != nil {
					return fmt.Errorf("cannot prepare the host for %s: %w", preps[i].Set, err)
				}
				tell(said)
				if m, ok := n.mend.(shareMount); ok {
					mounted = append(mounted, m.path)
				}
			}
		}
		return nil
	})
	return mounted, err
}

// assess leaves out what has been tried in vain and may be missing.
func (h *Host) assess(prep *tree.HostPrep, f *facts) []need {
	var needs []need
	for _, n := range assess(prep, f) {
		if m, ok := n.mend.(loadModule); ok && m.Optional && h.vain[m.Name] {
			continue
		}
		needs = append(needs, n)
	}
	return needs
}

func (h *Host) mend(ctx context.Context, e *edge, n need) (string, error) {
	if n.refused {
		return "", errors.New(n.lacks) // it came up since all was looked at
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	said, err := n.mend.do(e)
	if m, ok := n.mend.(loadModule); ok && m.Optional && err != nil {
		h.vain[m.Name] = true
		return fmt.Sprintf("goes on without the optional kernel module %s: %v", m.Name, err), nil
	}
	return said, err
}

// within gives do an edge in the engine's mount namespace. Where nothing is asked, nothing is done.
func (h *Host) within(ctx context.Context, preps []tree.HostPrep, do func(*edge) error) error {
	if len(preps) == 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.vain == nil {
		h.vain = map[string]bool{}
	}
	if h.EnginePID == nil {
		return errors.New("cannot prepare the host: the container engine's process is not known here")
	}
	pid, err := h.EnginePID(ctx)
	if err != nil {
		return fmt.Errorf("cannot prepare the host: %w", err)
	}
	return inMountsOf(pid, func() error {
		e, err := newEdge(ctx)
		if err != nil {
			return err
		}
		defer e.close()
		return do(e)
	})
}

// plainly puts what a program has said on one line.
func plainly(output []byte) string { return strings.Join(strings.Fields(string(output)), " ") }
