// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"context"
	"errors"
	"fmt"
)

const (
	projectsDir = "/dev-mode"
	venvPip     = "/var/lib/kolla/venv/bin/pip"
)

// InstallProjects is kolla_install_projects: whatever source trees are mounted
// below /dev-mode are installed with pip. All are tried; one that fails is an
// error.
func InstallProjects(ctx context.Context, c Container) error {
	return c.installProjects(ctx, c.projects())
}

func (c Container) installProjectsAsRoot(ctx context.Context) error {
	projects := c.projects()
	if len(projects) == 0 {
		return nil
	}
	return c.asRoot(ctx, "kolla_install_projects", "projects are to be installed", func() error { return c.installProjects(ctx, projects) })
}

func (c Container) projects() []string { return c.tree().glob(shellGlob, projectsDir+"/*") }

func (c Container) installProjects(ctx context.Context, projects []string) error {
	pip := "pip"
	if _, err := c.findProgram(pip); err != nil && c.tree().lexists(venvPip) {
		pip = venvPip
	}
	var failed []error
	for _, project := range projects {
		if err := c.run(ctx, pip, "install", "-U", project); err != nil {
			failed = append(failed, fmt.Errorf("cannot install %s: %w", project, err))
		}
	}
	if len(failed) > 0 {
		return &exitError{code: exitKnown, err: errors.Join(failed...)}
	}
	return nil
}
