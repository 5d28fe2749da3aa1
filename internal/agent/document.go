// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/http"

	"copse/internal/deploy"
	"copse/internal/tree"
)

func (a *Agent) getDocument(w http.ResponseWriter, _ *http.Request) error {
	doc, err := a.document()
	if err != nil {
		return err
	}
	a.answer(w, http.StatusOK, doc)
	return nil
}

func (a *Agent) getTree(w http.ResponseWriter, _ *http.Request) error {
	doc, err := a.document()
	if err != nil {
		return err
	}
	active, err := a.deployer.Active()
	if err != nil {
		return err
	}
	a.answer(w, http.StatusOK, tree.WithVersions(doc.Sets, active))
	return nil
}

func (a *Agent) getPins(w http.ResponseWriter, _ *http.Request) error {
	pins, err := a.deployer.Pins()
	if err != nil {
		return err
	}
	a.answer(w, http.StatusOK, pins)
	return nil
}

// document returns what is declared, or an error that says that nothing is.
func (a *Agent) document() (*tree.Document, error) {
	doc, err := a.deployer.Document()
	if err == nil && doc == nil {
		err = deploy.ErrNothingDeclared
	}
	return doc, err
}

// named are the names that a request is about.
func named(r *http.Request) []string { return r.URL.Query()["name"] }

// selected returns the declared document and the containers that names stand for; none is all of them.
func (a *Agent) selected(names []string) (*tree.Document, map[string]bool, error) {
	doc, err := a.document()
	if err != nil {
		return nil, nil, err
	}
	list, err := doc.Select(names)
	if err != nil {
		return nil, nil, err
	}
	selected := make(map[string]bool, len(list))
	for _, n := range list {
		selected[n] = true
	}
	return doc, selected, nil
}
