// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/http"

	"copse/internal/api"
	"copse/internal/engine"
)

func (a *Agent) getVersion(w http.ResponseWriter, r *http.Request) error {
	info, err := a.Engine.Info(r.Context())
	if err != nil {
		// The version is asked for when things are wrong; that the engine does not answer is part of it.
		info = engine.Info{}
	}
	a.answer(w, http.StatusOK, api.Version{
		Version: a.Version, Level: api.Level, Build: a.build, Schema: a.deployer.Store.Schema(), Host: a.HostName, Engine: info,
	})
	return nil
}
