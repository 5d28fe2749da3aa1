// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/pagination"
)

// leftovers removes what earlier runs made and could not remove.
func (r *run) leftovers(ctx context.Context) (string, error) {
	removed, err := r.sweep(ctx, func(name string) bool { return strings.HasPrefix(name, Prefix) })
	if err != nil {
		return "", err
	}
	if len(removed.kinds) == 0 {
		return "there is nothing", nil
	}
	return removed.String(), nil
}

// sweeper removes everything of a kind of names. It goes on after an error and keeps them all.
type sweeper struct {
	*run
	matches  func(name string) bool
	projects []string // the identities of the projects that match
	removed  removed
	errs     []error
}

// removed counts what was removed, by kind in the order of removal.
type removed struct {
	kinds  []string
	counts map[string]int
}

func (c *removed) add(kind string) {
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	if c.counts[kind] == 0 {
		c.kinds = append(c.kinds, kind)
	}
	c.counts[kind]++
}

// String is "1 server, 3 images".
func (c removed) String() string {
	var parts []string
	for _, kind := range c.kinds {
		part := fmt.Sprintf("%d %s", c.counts[kind], kind)
		if c.counts[kind] > 1 {
			part += "s"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

// sweep removes all whose name matches, and what belongs to projects whose name does: what uses
// something before what is used.
func (r *run) sweep(ctx context.Context, matches func(name string) bool) (removed, error) {
	s := &sweeper{run: r, matches: matches}
	identity, err := r.admin.identity()
	if err != nil {
		return s.removed, err
	}
	found := pick(s, list(ctx, s, "project", projects.List(identity, projects.ListOpts{}), projects.ExtractProjects),
		func(p projects.Project) (string, string, string) { return p.ID, p.Name, "" })
	for _, project := range found {
		s.projects = append(s.projects, project.id)
	}
	s.service(ctx, "compute", r.admin.compute, s.servers)
	s.service(ctx, "network", r.admin.network, s.networks)
	s.service(ctx, "image", r.admin.image, s.images)
	s.service(ctx, "compute", r.admin.compute, s.flavors)
	accounts := pick(s, list(ctx, s, "user", users.List(identity, users.ListOpts{}), users.ExtractUsers),
		func(u users.User) (string, string, string) { return u.ID, u.Name, "" })
	s.each(ctx, "user", accounts, func(id string) error { return users.Delete(whole(ctx), identity, id).ExtractErr() })
	// A project that goes before what is in it would leave that to nobody.
	if len(s.errs) == 0 {
		s.each(ctx, "project", found, func(id string) error { return projects.Delete(whole(ctx), identity, id).ExtractErr() })
	}
	return s.removed, errors.Join(s.errs...)
}

// service calls sweep with the client of a service, where there is one.
func (s *sweeper) service(ctx context.Context, service string, client func() (*gophercloud.ServiceClient, error), sweep func(context.Context, *gophercloud.ServiceClient)) {
	if !s.admin.has(service) {
		return
	}
	c, err := client()
	if err != nil {
		s.errs = append(s.errs, explain(err))
		return
	}
	sweep(ctx, c)
}

// item is something that is to be removed.
type item struct{ id, name string }

// list reads all pages. An error is kept as one of the sweep's.
func list[T any](ctx context.Context, s *sweeper, kind string, pager pagination.Pager, extract func(pagination.Page) ([]T, error)) []T {
	pages, err := pager.AllPages(ctx)
	if err == nil {
		var all []T
		if all, err = extract(pages); err == nil {
			return all
		}
	}
	s.errs = append(s.errs, fmt.Errorf("cannot look for %ss to remove: %w", kind, explain(err)))
	return nil
}

// pick picks what matches by name or project; describe gives identity, name and project ("" where
// the kind has none).
func pick[T any](s *sweeper, all []T, describe func(T) (id, name, project string)) []item {
	var items []item
	for _, one := range all {
		id, name, project := describe(one)
		if s.matches(name) || project != "" && slices.Contains(s.projects, project) {
			items = append(items, item{id, name})
		}
	}
	return items
}

// conflicts is how often something that is still in use is tried again.
const conflicts = 20

// each removes items. What is gone already is well; what is in use is tried again for a while, as
// a service may take a moment to let go of it.
func (s *sweeper) each(ctx context.Context, kind string, items []item, remove func(id string) error) {
	for _, item := range items {
		s.tell("removing %s %s", kind, item.name)
		var err error
		for range conflicts {
			if err = remove(item.id); !gophercloud.ResponseCodeIs(err, http.StatusConflict) {
				break
			}
			if pauseErr := s.Pause(ctx, pollInterval); pauseErr != nil {
				break
			}
		}
		switch {
		case err == nil:
			s.removed.add(kind)
		case !gophercloud.ResponseCodeIs(err, http.StatusNotFound):
			s.errs = append(s.errs, fmt.Errorf("cannot remove %s %s (%s): %w", kind, item.name, item.id, explain(err)))
		}
	}
}

// servers removes servers and waits until they are gone, for their ports and images are in use
// until then.
func (s *sweeper) servers(ctx context.Context, nova *gophercloud.ServiceClient) {
	items := pick(s, list(ctx, s, "server", servers.List(nova, servers.ListOpts{AllTenants: true}), servers.ExtractServers), func(v servers.Server) (string, string, string) {
		return v.ID, v.Name, v.TenantID
	})
	s.each(ctx, "server", items, func(id string) error { return servers.Delete(whole(ctx), nova, id).ExtractErr() })
	for _, item := range items {
		err := s.wait(ctx, "server "+item.name+" is gone", func(ctx context.Context) (bool, string, error) {
			now, err := servers.Get(ctx, nova, item.id).Extract()
			switch {
			case gophercloud.ResponseCodeIs(err, http.StatusNotFound):
				return true, "", nil
			case err != nil:
				return false, "", err
			case now.Status == "DELETED":
				return true, "", nil
			}
			return false, fmt.Sprintf("server %s is %s (%s)", item.name, now.Status, now.TaskState), nil
		})
		if err != nil {
			s.errs = append(s.errs, fmt.Errorf("cannot remove server %s (%s): %w", item.name, item.id, explain(err)))
		}
	}
}

func (s *sweeper) flavors(ctx context.Context, nova *gophercloud.ServiceClient) {
	items := pick(s, list(ctx, s, "flavor", flavors.ListDetail(nova, flavors.ListOpts{AccessType: flavors.AllAccess}), flavors.ExtractFlavors), func(f flavors.Flavor) (string, string, string) {
		return f.ID, f.Name, ""
	})
	s.each(ctx, "flavor", items, func(id string) error { return flavors.Delete(whole(ctx), nova, id).ExtractErr() })
}

func (s *sweeper) images(ctx context.Context, glance *gophercloud.ServiceClient) {
	items := pick(s, list(ctx, s, "image", images.List(glance, images.ListOpts{}), images.ExtractImages), func(i images.Image) (string, string, string) {
		return i.ID, i.Name, i.Owner
	})
	s.each(ctx, "image", items, func(id string) error { return images.Delete(whole(ctx), glance, id).ExtractErr() })
}
