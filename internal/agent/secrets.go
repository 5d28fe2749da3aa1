// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"net/http"

	"copse/internal/api"
	"copse/internal/placeholder"
	"copse/internal/tree"
)

func (a *Agent) getSecrets(w http.ResponseWriter, _ *http.Request) error {
	doc, err := a.document()
	if err != nil {
		return err
	}
	answer := []api.Secret{}
	for _, s := range doc.Secrets {
		one, err := a.describeSecret(doc, s)
		if err != nil {
			return err
		}
		answer = append(answer, one)
	}
	a.answer(w, http.StatusOK, answer)
	return nil
}

// postRotate makes a new version of a secret. What runs goes on with the old one until `up`
// gives the containers concerned a new generation.
func (a *Agent) postRotate(w http.ResponseWriter, r *http.Request) error {
	doc, err := a.document()
	if err != nil {
		return err
	}
	name := r.PathValue("name")
	s := doc.Secret(name)
	if s == nil {
		return &api.Error{Code: "not-found", Message: fmt.Sprintf("there is no secret %q; \"copse secret ls\" lists them", name)}
	}
	if err := a.deployer.RotateSecret(*s); err != nil {
		return err
	}
	a.Log.Info("rotated a secret", "secret", name)
	one, err := a.describeSecret(doc, *s)
	if err != nil {
		return err
	}
	a.answer(w, http.StatusOK, one)
	return nil
}

// describeSecret says everything about a secret but its value.
func (a *Agent) describeSecret(doc *tree.Document, s tree.Secret) (api.Secret, error) {
	one := api.Secret{Name: s.Name, Description: s.Description}
	versions, err := a.secrets.Versions()
	if err != nil {
		return one, err
	}
	one.Version = versions[s.Name]
	if one.Version != 0 {
		if one.CreatedAt, err = a.secrets.Created(s.Name, one.Version); err != nil {
			return one, err
		}
	}
	for i := range doc.Containers {
		for _, m := range doc.Containers[i].Secrets {
			if m.Name == s.Name {
				one.UsedBy = append(one.UsedBy, doc.Containers[i].Name)
			}
		}
	}
	return one, nil
}

// getOpenRC answers with what the openstack client needs, the administrator's password among it.
func (a *Agent) getOpenRC(w http.ResponseWriter, _ *http.Request) error {
	doc, err := a.document()
	if err != nil {
		return err
	}
	answer := api.OpenRC{Variables: map[string]string{}}
	for _, name := range tree.SortedKeys(doc.OpenRC) {
		value, err := placeholder.Expand(doc.OpenRC[name], openRCSource{a}, nil)
		if err != nil {
			return fmt.Errorf("cannot make %s: %w: \"copse up\" makes what is missing", name, err)
		}
		answer.Variables[name] = value
	}
	a.answer(w, http.StatusOK, answer)
	return nil
}

// openRCSource gives the current values of secrets to the credentials of the openstack client.
type openRCSource struct{ a *Agent }

func (s openRCSource) Secret(name string) (string, error) {
	versions, err := s.a.secrets.Versions()
	if err != nil {
		return "", err
	}
	version, made := versions[name]
	if !made {
		return "", fmt.Errorf("secret %s has not been made yet", name)
	}
	value, err := s.a.secrets.Value(name, version)
	if err != nil {
		return "", err
	}
	return value.Reveal(), nil
}

func (s openRCSource) Env(string) (string, bool) { return "", false }
