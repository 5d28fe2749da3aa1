// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"copse/internal/api"
	"copse/internal/hook"
	hostprep "copse/internal/host"
	"copse/internal/standing"
	"copse/internal/store"
	"copse/internal/tree"
)

const (
	// hookInterval is how often the sets are looked at for transitions.
	hookInterval = 2 * time.Second
	// hookLimit is how long a program may take where the cloud does not say.
	hookLimit = 30 * time.Second
)

// standingBucket has what was told last: host/set → standing.State.
const standingBucket = "standing"

// hooks is what the watcher of sets asks and tells.
type hooks struct {
	agent *Agent
	host  *hostprep.Host
}

// hookInput is what a program reads from its standard input.
type hookInput struct {
	Cloud      string                `json:"cloud"`
	Host       string                `json:"host"`
	Set        string                `json:"set"`
	OldState   string                `json:"old_state"`
	NewState   string                `json:"new_state"`
	Cause      string                `json:"cause"`
	Time       time.Time             `json:"time"`
	Containers []api.ContainerHealth `json:"containers"`
}

// Sets implements hook.Outside.
func (h hooks) Sets(ctx context.Context) ([]standing.Set, error) { return h.agent.standingSets(ctx) }

// Programs implements hook.Outside.
func (h hooks) Programs(ctx context.Context) ([]string, time.Duration, error) {
	doc, err := h.agent.document()
	if err != nil {
		return nil, 0, err
	}
	directory := doc.Values[tree.ValueHooksDirectory]
	if directory == "" {
		return nil, 0, nil
	}
	limit := hookLimit
	if seconds, err := strconv.Atoi(doc.Values[tree.ValueHooksTimeout]); err == nil && seconds > 0 {
		limit = time.Duration(seconds) * time.Second
	}
	paths, err := h.host.Programs(ctx, directory)
	return paths, limit, err
}

// Run implements hook.Outside.
func (h hooks) Run(ctx context.Context, path string, e hook.Event) error {
	doc, err := h.agent.document()
	if err != nil {
		return err
	}
	input := hookInput{
		Cloud: doc.Cloud, Host: h.agent.HostName, Set: e.Set, OldState: string(e.Old), NewState: string(e.New),
		Cause: e.Cause, Time: e.At.UTC(), Containers: []api.ContainerHealth{},
	}
	for _, c := range e.Unwell {
		input.Containers = append(input.Containers, api.ContainerHealth(c))
	}
	stdin, err := json.Marshal(input)
	if err != nil {
		return fmt.Errorf("cannot write what a program is told: %w", err)
	}
	environment := append(e.Environment(), "COPSE_CLOUD="+doc.Cloud, "COPSE_HOST="+h.agent.HostName)
	return h.host.RunProgram(ctx, path, environment, append(stdin, '\n'))
}

// Told implements hook.Outside.
func (h hooks) Told() (map[string]standing.State, error) {
	told := map[string]standing.State{}
	prefix := h.agent.HostName + "/"
	err := h.agent.deployer.Store.View(func(tx *store.Tx) error {
		return store.EachPrefix(tx, standingBucket, prefix, func(key string, state standing.State) error {
			told[key[len(prefix):]] = state
			return nil
		})
	})
	return told, err
}

// Remember implements hook.Outside.
func (h hooks) Remember(set string, state standing.State) error {
	return h.agent.deployer.Store.Update(func(tx *store.Tx) error {
		return store.Put(tx, standingBucket, h.agent.HostName+"/"+set, state)
	})
}
