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
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

// requestLimit is how long one answer of an API may take. An image's upload is one, too.
const requestLimit = 2 * time.Minute

// session is somebody who is logged in.
type session struct {
	provider *gophercloud.ProviderClient
	endpoint gophercloud.EndpointOpts
	services []string // the types in the service catalogue, in order
	project  tokens.Project
	user     tokens.User
}

// login gets a token. The variables are those of the openstack client.
func login(ctx context.Context, variables map[string]string) (*session, error) {
	provider, err := openstack.NewClient(variables["OS_AUTH_URL"])
	if err != nil {
		return nil, fmt.Errorf("cannot use the address %s: %w", variables["OS_AUTH_URL"], err)
	}
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("cannot make connections: the program's transport is not the standard library's")
	}
	provider.HTTPClient = http.Client{Transport: transport.Clone(), Timeout: requestLimit}
	provider.UserAgent.Prepend("copse-verify")
	options := gophercloud.AuthOptions{
		IdentityEndpoint: variables["OS_AUTH_URL"],
		Username:         variables["OS_USERNAME"],
		Password:         variables["OS_PASSWORD"],
		DomainName:       variables["OS_USER_DOMAIN_NAME"],
		DomainID:         variables["OS_USER_DOMAIN_ID"],
		// A token may end while the cloud is slow.
		AllowReauth: true,
		Scope: &gophercloud.AuthScope{
			ProjectID: variables["OS_PROJECT_ID"], ProjectName: variables["OS_PROJECT_NAME"],
			DomainName: variables["OS_PROJECT_DOMAIN_NAME"], DomainID: variables["OS_PROJECT_DOMAIN_ID"],
		},
	}
	if options.Scope.ProjectID != "" {
		options.Scope.ProjectName, options.Scope.DomainName, options.Scope.DomainID = "", "", ""
	}
	if err := openstack.Authenticate(ctx, provider, options); err != nil {
		return nil, err
	}
	s := &session{provider: provider, endpoint: gophercloud.EndpointOpts{Region: variables["OS_REGION_NAME"]}}
	switch variables["OS_INTERFACE"] {
	case "internal":
		s.endpoint.Availability = gophercloud.AvailabilityInternal
	case "admin":
		s.endpoint.Availability = gophercloud.AvailabilityAdmin
	}
	return s, s.read()
}

// read takes from the token who it is for and what there is.
func (s *session) read() error {
	token, ok := s.provider.GetAuthResult().(tokens.CreateResult)
	if !ok {
		return errors.New("cannot read the token: it is not of version 3 of the identity API")
	}
	catalogue, err := token.ExtractServiceCatalog()
	if err != nil {
		return fmt.Errorf("cannot read the service catalogue: %w", err)
	}
	for _, entry := range catalogue.Entries {
		if len(entry.Endpoints) > 0 {
			s.services = append(s.services, entry.Type)
		}
	}
	slices.Sort(s.services)
	project, err := token.ExtractProject()
	if err != nil || project == nil {
		return fmt.Errorf("cannot read the token's project: %w", errors.Join(err, errNone(project == nil)))
	}
	user, err := token.ExtractUser()
	if err != nil || user == nil {
		return fmt.Errorf("cannot read the token's user: %w", errors.Join(err, errNone(user == nil)))
	}
	s.project, s.user = *project, *user
	return nil
}

func errNone(none bool) error {
	if none {
		return errors.New("it has none")
	}
	return nil
}

// has reports whether the service catalogue has a type of service.
func (s *session) has(service string) bool { return s != nil && slices.Contains(s.services, service) }

// client returns the client of one API.
func (s *session) client(make func(*gophercloud.ProviderClient, gophercloud.EndpointOpts) (*gophercloud.ServiceClient, error)) (*gophercloud.ServiceClient, error) {
	c, err := make(s.provider, s.endpoint)
	if err != nil {
		return nil, fmt.Errorf("cannot find the API in the service catalogue: %w", err)
	}
	return c, nil
}

func (s *session) identity() (*gophercloud.ServiceClient, error) {
	return s.client(openstack.NewIdentityV3)
}

func (s *session) image() (*gophercloud.ServiceClient, error) { return s.client(openstack.NewImageV2) }

func (s *session) network() (*gophercloud.ServiceClient, error) {
	return s.client(openstack.NewNetworkV2)
}

func (s *session) compute() (*gophercloud.ServiceClient, error) {
	c, err := s.client(openstack.NewComputeV2)
	if err != nil {
		return nil, err
	}
	// The first with remote consoles; every nova of the last ten years has it.
	c.Microversion = "2.6"
	return c, nil
}

// whole is for calls that change something: an interrupt does not cut them off, or they might be
// done after the removal has looked. The client's own limit of time holds.
func whole(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

// components say which type of service each component offers.
func components() map[string]string {
	return map[string]string{
		"keystone": "identity", "glance": "image", "nova": "compute", "placement": "placement", "neutron": "network",
	}
}

// token logs the administrator in and compares the service catalogue with what is deployed.
func (r *run) token(ctx context.Context) (string, error) {
	admin, err := login(ctx, r.Credentials)
	if err != nil {
		return "", err
	}
	r.admin = admin
	var missing []string
	for component, service := range components() {
		if slices.Contains(r.Deployed, component) && !admin.has(service) {
			missing = append(missing, fmt.Sprintf("%s (%s)", service, component))
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return "", fmt.Errorf("the service catalogue lacks what is deployed: %s; `copse ps --all` shows the jobs that register services",
			strings.Join(missing, ", "))
	}
	return fmt.Sprintf("%s in project %s; services: %s", admin.user.Name, admin.project.Name, strings.Join(admin.services, ", ")), nil
}
