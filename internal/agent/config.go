// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"

	"copse/internal/api"
	"copse/internal/deploy"
	"copse/internal/engine"
	"copse/internal/optionlist"
	"copse/internal/osloconf"
	"copse/internal/placeholder"
	"copse/internal/tree"
)

// configVariable names the file that copse-init makes of a service's options.
const configVariable = "COPSE_CONFIG_FILE"

// postConfig shows the configuration of containers as their services see it.
func (a *Agent) postConfig(w http.ResponseWriter, r *http.Request) error {
	var body api.ConfigRequest
	if err := decode(w, r, &body); err != nil {
		return err
	}
	doc := body.Document
	if doc == nil {
		var err error
		if doc, err = a.deployer.Document(); err != nil {
			return err
		}
	}
	if doc == nil {
		return deploy.ErrNothingDeclared
	}
	names, err := doc.Select(body.Names)
	if err != nil {
		return err
	}
	active, err := a.deployer.Active()
	if err != nil {
		return err
	}
	answer := []api.Config{}
	for _, name := range names {
		c, generation := doc.Container(name), 0
		if c.Host != a.HostName {
			continue
		}
		if g := active[name]; body.Document == nil && g != nil {
			c, generation = &g.Container, g.Number
		} else if body.Document == nil {
			continue // it does not run
		}
		fromImage, options, err := a.lists.Of(r.Context(), c.Spec.Image)
		var problem string
		if errors.Is(err, engine.ErrNotFound) {
			problem = fmt.Sprintf("image %s is not on this host, so what it brings is not shown: \"copse build\" makes it", c.Spec.Image)
		} else if err != nil {
			return err
		}
		config := configOf(c, fromImage, options)
		config.Generation = generation
		if problem != "" {
			config.Problems = append([]string{problem}, config.Problems...)
		}
		answer = append(answer, config)
	}
	a.answer(w, http.StatusOK, answer)
	return nil
}

// configOf is what copse-init makes of a container's environment and files, with secrets by
// their names. options is nil for an image without a list, or one that is not known. It is pure.
func configOf(c *tree.Container, fromImage []string, options *osloconf.Options) api.Config {
	config := api.Config{
		Host: c.Host, Set: c.Set, Container: c.Name, Component: c.Component, Image: c.Spec.Image,
		Files: []api.ConfigFile{}, Environment: map[string]string{},
	}
	environment := optionlist.Environment(fromImage, c)
	m := masker{environment: map[string]string{}}
	var settings []string
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		m.environment[name] = value
	}
	file := m.environment[configVariable]
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		switch {
		case osloconf.IsVariable(name) && options != nil && file != "":
			text, err := placeholder.Expand(value, m, osloconf.EscapeValue)
			if err != nil {
				config.Problems = append(config.Problems, fmt.Sprintf("%s: %v", name, err))
				continue
			}
			settings = append(settings, name+"="+text)
		default:
			config.Environment[name] = m.text(guarded(name, value))
		}
	}
	if len(settings) > 0 {
		for _, p := range options.Check(settings) {
			config.Problems = append(config.Problems, p.String())
			settings = slices.DeleteFunc(settings, func(s string) bool { return strings.HasPrefix(s, p.Variable+"=") })
		}
		if text, err := options.Render(settings); err != nil {
			config.Problems = append(config.Problems, err.Error())
		} else {
			config.Files = append(config.Files, api.ConfigFile{Path: file, Content: show(hideSecretOptions(string(text), options))})
		}
	}
	for _, f := range c.Files {
		config.Files = append(config.Files, api.ConfigFile{Path: f.Target, Content: m.text(f.Content), Source: f.Source})
	}
	return config
}

// Secrets stand in a text between two marks while it is put together: neither quoting nor
// escaping changes them.
const (
	markBegin = "COPSE-SECRET-BEGIN-"
	markEnd   = "-COPSE-SECRET-END"
)

var marked = regexp.MustCompile(markBegin + `(.*?)` + markEnd)

// show puts the marks in words.
func show(text string) string { return marked.ReplaceAllString(text, "(secret $1)") }

// masker gives placeholders the names of secrets in place of their values.
type masker struct {
	environment map[string]string
}

// Secret implements placeholder.Source.
func (m masker) Secret(name string) (string, error) { return markBegin + name + markEnd, nil }

// Env implements placeholder.Source.
func (m masker) Env(name string) (string, bool) {
	value, set := m.environment[name]
	return guarded(name, value), set
}

// text fills in the placeholders of a text. One that is no template stays as it is, as it does
// in the container.
func (m masker) text(text string) string {
	if !placeholder.Contains(text) {
		return text
	}
	filled, err := placeholder.Expand(text, m, nil)
	if err != nil {
		return text // placeholders name secrets, they do not hold them
	}
	return show(filled)
}

// hidden stands for a secret that was written down rather than named.
const hidden = "(secret)"

// guarded hides the value of a variable that by its name holds a secret; where it is kept is none.
func guarded(name, value string) string {
	secret := tree.HoldsCredentials(value)
	for _, word := range []string{"PASSWORD", "PASSWD", "SECRET", "TOKEN"} {
		secret = secret || strings.Contains(strings.ToUpper(name), word)
	}
	if !secret || value == "" || placeholder.Contains(value) || path.IsAbs(value) {
		return value
	}
	return hidden
}

// hideSecretOptions hides the values of secret options of a configuration file that are written
// out, whole or as a part.
func hideSecretOptions(text string, options *osloconf.Options) string {
	secret := map[osloconf.Name]bool{}
	for o := range options.All() {
		if o.Secret {
			secret[o.Name] = true
		}
	}
	group := "DEFAULT"
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "[") {
			group = strings.Trim(line, "[]")
			continue
		}
		name, value, isOption := strings.Cut(line, " = ")
		if !isOption || strings.TrimSpace(value) == "" || !secret[osloconf.Name{Group: group, Option: name}] && !tree.HoldsCredentials(value) {
			continue
		}
		if !marked.MatchString(value) {
			lines[i] = name + " = " + hidden
		}
	}
	return strings.Join(lines, "\n")
}
