// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"
)

// memberRole is the role of ordinary users in the default policies of all services.
const memberRole = "member"

// account makes a project with a user, and logs that user in.
func (r *run) account(ctx context.Context) (string, error) {
	identity, err := r.admin.identity()
	if err != nil {
		return "", err
	}
	domain := r.admin.project.Domain.ID
	pages, err := roles.List(identity, roles.ListOpts{Name: memberRole}).AllPages(ctx)
	if err != nil {
		return "", fmt.Errorf("cannot look for the role %s: %w", memberRole, err)
	}
	found, err := roles.ExtractRoles(pages)
	if err != nil {
		return "", fmt.Errorf("cannot look for the role %s: %w", memberRole, err)
	}
	if len(found) == 0 {
		return "", fmt.Errorf("keystone has no role %s: `keystone-manage bootstrap` makes it", memberRole)
	}
	note := "made by copse verify at " + r.Now().UTC().Format(time.RFC3339)
	project, err := projects.Create(whole(ctx), identity, projects.CreateOpts{Name: r.name, DomainID: domain, Description: note}).Extract()
	if err != nil {
		return "", fmt.Errorf("cannot make project %s: %w", r.name, err)
	}
	r.project = project.ID
	user, err := users.Create(whole(ctx), identity, users.CreateOpts{
		Name: r.name, DomainID: domain, Password: r.password, DefaultProjectID: project.ID, Description: note,
	}).Extract()
	if err != nil {
		return "", fmt.Errorf("cannot make user %s: %w", r.name, err)
	}
	err = roles.Assign(whole(ctx), identity, found[0].ID, roles.AssignOpts{UserID: user.ID, ProjectID: project.ID}).ExtractErr()
	if err != nil {
		return "", fmt.Errorf("cannot give user %s the role %s: %w", r.name, memberRole, err)
	}
	variables := map[string]string{
		"OS_USERNAME": r.name, "OS_PASSWORD": r.password, "OS_USER_DOMAIN_ID": domain, "OS_PROJECT_ID": project.ID,
	}
	for _, same := range []string{"OS_AUTH_URL", "OS_REGION_NAME", "OS_INTERFACE"} {
		variables[same] = r.Credentials[same]
	}
	if r.user, err = login(ctx, variables); err != nil {
		return "", fmt.Errorf("cannot get a token as user %s: %w", r.name, err)
	}
	if r.user.project.ID != project.ID {
		return "", errors.New("the user's token is for project " + r.user.project.Name + ", not for its own")
	}
	return fmt.Sprintf("%s, role %s", r.name, memberRole), nil
}
