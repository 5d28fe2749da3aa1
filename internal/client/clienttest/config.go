// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package clienttest

import (
	"encoding/json"
	"net/http"

	"copse/internal/api"
)

// config answers POST /v1/config: what runs logs less than what a document declares.
func (a *Agent) config(r *http.Request) any {
	var request api.ConfigRequest
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		return &api.Error{Code: "invalid", Message: err.Error()}
	}
	document, debug, generation := a.Document, "false", 3
	if request.Document != nil {
		document, debug, generation = request.Document, "true", 0
	}
	names, err := document.Select(request.Names)
	if err != nil {
		return &api.Error{Code: "not-found", Message: err.Error()}
	}
	configs := []api.Config{}
	for _, name := range names {
		c := document.Container(name)
		configs = append(configs, api.Config{
			Host: c.Host, Set: c.Set, Container: name, Component: c.Component, Generation: generation, Image: "copse/" + c.Component + ":1",
			Files: []api.ConfigFile{
				{Path: "/run/copse/" + c.Component + ".conf", Content: "[DEFAULT]\ndebug = " + debug + "\n\n[database]\nconnection = mysql://x:(secret db)@192.0.2.1/x\n"},
				{Path: "/etc/policy.yaml", Content: "a: b\n", Source: "cloud.yaml"},
			},
			Environment: map[string]string{"LANG": "C"},
		})
	}
	return configs
}
