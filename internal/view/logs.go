// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"strings"
	"time"

	"copse/internal/api"
	"copse/internal/tree"
)

// Logs renders log lines as they come. It is made once for each stream, so that the prefixes
// stand in a column.
type Logs struct {
	view  *View
	width int
}

// Logs returns a renderer of log lines. containers are the names to expect; the column of the
// prefix grows when a longer one comes.
func (v *View) Logs(containers []string) *Logs {
	l := &Logs{view: v}
	for _, name := range containers {
		l.width = max(l.width, len(name))
	}
	return l
}

// Line renders one line: who, and what was written. In plain format the time is before it.
func (l *Logs) Line(line *api.LogLine) error {
	v := l.view
	if v.options.Format == JSON {
		return v.object(line)
	}
	name := clean(line.Container)
	if line.Generation > 0 {
		name = tree.GenerationName(name, line.Generation)
	}
	if v.options.Format == Plain {
		return v.printf("%s %s %s", line.Time.UTC().Format(time.RFC3339Nano), name, clean(line.Text))
	}
	l.width = max(l.width, len(name))
	return v.printf("%s %s", v.theme.byName(line.Container, fmt.Sprintf("%-*s │", l.width, name)), clean(line.Text))
}

// Secrets renders `copse secret ls`; values are not known here.
func (v *View) Secrets(secrets []api.Secret) error {
	if v.options.Format == JSON {
		return objects(v, secrets)
	}
	if len(secrets) == 0 {
		return v.Note("no secrets yet: the first `copse up` makes them")
	}
	columns := []column{
		{title: "NAME"}, {title: "VERSION", right: true}, {title: "MADE", right: true, drop: 3},
		{title: "USED BY", least: 12, drop: 2}, {title: "DESCRIPTION", least: 12, drop: 4},
	}
	g := group{}
	for _, s := range secrets {
		g.rows = append(g.rows, []cell{
			text(clean(s.Name)), text(fmt.Sprint(s.Version)), text(v.ago(&s.CreatedAt)),
			text(clean(or(strings.Join(s.UsedBy, ", "), "-"))), {text: clean(s.Description), paint: v.theme.faint},
		})
	}
	return v.Text([]byte(v.table(columns, []group{g})))
}

// SecretRotated tells that a secret has a new version, and what makes it count.
func (v *View) SecretRotated(s *api.Secret) error {
	if v.options.Format == JSON {
		return v.object(s)
	}
	if len(s.UsedBy) == 0 {
		return v.printf("%s is at version %d now; no container uses it", clean(s.Name), s.Version)
	}
	return v.printf("%s is at version %d now; `copse up` gives a new generation to what uses it: %s",
		clean(s.Name), s.Version, clean(strings.Join(s.UsedBy, ", ")))
}

// OpenRC renders credentials as commands for a POSIX shell, to be given to eval.
func (v *View) OpenRC(rc *api.OpenRC) error {
	if v.options.Format == JSON {
		return v.object(rc)
	}
	var b strings.Builder
	for _, name := range tree.SortedKeys(rc.Variables) {
		fmt.Fprintf(&b, "export %s=%s\n", name, ShellQuote(rc.Variables[name]))
	}
	return v.Text([]byte(b.String()))
}

// VersionInfo is what `copse version` tells.
type VersionInfo struct {
	Version string `json:"version"`
	Level   int    `json:"level"`
	Go      string `json:"go"`
	// Agent is null where none answers; AgentError says why.
	Agent      *api.Version `json:"agent"`
	AgentError string       `json:"agent_error,omitempty"`
}

// Version renders `copse version`.
func (v *View) Version(info *VersionInfo) error {
	if v.options.Format == JSON {
		return v.object(info)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "copse   %s (API level %d, %s)\n", info.Version, info.Level, info.Go)
	if info.Agent == nil {
		fmt.Fprintf(&b, "agent   none: %s\n", clean(info.AgentError))
		return v.Text([]byte(b.String()))
	}
	a := info.Agent
	fmt.Fprintf(&b, "agent   %s (API level %d, store %d) on %s\n", clean(a.Version), a.Level, a.Schema, clean(or(a.Host, a.Engine.Hostname)))
	fmt.Fprintf(&b, "engine  %s %s (API %s, %s, cgroup %s)\n", clean(a.Engine.Name), clean(a.Engine.Version), clean(a.Engine.APIVersion),
		clean(a.Engine.StorageDriver), clean(a.Engine.CgroupVersion))
	return v.Text([]byte(b.String()))
}

// Image is one object of `copse images --format json`.
type Image struct {
	Name      string `json:"name"`
	Release   string `json:"release"`
	Reference string `json:"reference"`
	// Present is whether the engine has it.
	Present bool `json:"present"`
	// Size is in bytes, 0 where it is not known.
	Size      int64      `json:"size,omitempty"`
	CreatedAt *time.Time `json:"created_at,omitempty"`
}

// Images renders `copse images`.
func (v *View) Images(images []Image) error {
	if v.options.Format == JSON {
		return objects(v, images)
	}
	columns := []column{
		{title: "NAME"}, {title: "RELEASE"}, {title: "BUILT"}, {title: "SIZE", right: true, drop: 1},
		{title: "AGE", right: true, drop: 2}, {title: "REFERENCE", least: 16, drop: 3},
	}
	g := group{}
	for _, image := range images {
		built := cell{text: "no", paint: v.theme.warn}
		size := "-"
		if image.Present {
			built = cell{text: "yes", paint: v.theme.good}
		}
		if image.Size > 0 {
			size = Bytes(image.Size)
		}
		g.rows = append(g.rows, []cell{
			text(clean(image.Name)), text(clean(image.Release)), built, text(size), text(v.ago(image.CreatedAt)),
			{text: clean(image.Reference), paint: v.theme.faint},
		})
	}
	return v.Text([]byte(v.table(columns, []group{g})))
}
