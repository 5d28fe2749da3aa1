// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/http"

	"copse/internal/api"
	"copse/internal/deploy"
	"copse/internal/plan"
)

// postPreflight says what on the host stands in the way of a document, or of what is declared.
func (a *Agent) postPreflight(w http.ResponseWriter, r *http.Request) error {
	var request api.PreflightRequest
	if err := decode(w, r, &request); err != nil {
		return err
	}
	findings, err := a.deployer.Preflight(r.Context(), deploy.Request{
		Kind: plan.Up, Document: request.Document, Options: plan.Options{Names: request.Names},
	})
	if err != nil {
		return err
	}
	if findings == nil {
		findings = []plan.Finding{}
	}
	a.answer(w, http.StatusOK, findings)
	return nil
}
