// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/routers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
)

// networks removes floating IPs, routers, ports, networks with their subnets, and security groups,
// the one among them that neutron makes for every project and leaves behind.
func (s *sweeper) networks(ctx context.Context, neutron *gophercloud.ServiceClient) {
	// A floating IP has no name; its description is ours.
	addresses := pick(s, list(ctx, s, "floating IP", floatingips.List(neutron, floatingips.ListOpts{}), floatingips.ExtractFloatingIPs), func(f floatingips.FloatingIP) (string, string, string) {
		return f.ID, f.Description, f.ProjectID
	})
	s.each(ctx, "floating IP", addresses, func(id string) error { return floatingips.Delete(whole(ctx), neutron, id).ExtractErr() })

	all := list(ctx, s, "port", ports.List(neutron, ports.ListOpts{}), ports.ExtractPorts)
	found := pick(s, list(ctx, s, "router", routers.List(neutron, routers.ListOpts{}), routers.ExtractRouters), func(r routers.Router) (string, string, string) {
		return r.ID, r.Name, r.ProjectID
	})
	for _, router := range found {
		var interfaces []item
		for _, port := range all {
			if port.DeviceID == router.id && strings.HasPrefix(port.DeviceOwner, "network:router_interface") {
				interfaces = append(interfaces, item{port.ID, router.name})
			}
		}
		s.each(ctx, "router interface", interfaces, func(id string) error {
			_, err := routers.RemoveInterface(whole(ctx), neutron, router.id, routers.RemoveInterfaceOpts{PortID: id}).Extract()
			return err
		})
	}
	s.each(ctx, "router", found, func(id string) error { return routers.Delete(whole(ctx), neutron, id).ExtractErr() })

	own := pick(s, all, func(p ports.Port) (string, string, string) {
		// Ports of routers went with them, those of DHCP go with their network.
		if strings.HasPrefix(p.DeviceOwner, "network:") {
			return p.ID, p.Name, ""
		}
		return p.ID, p.Name, p.ProjectID
	})
	s.each(ctx, "port", own, func(id string) error { return ports.Delete(whole(ctx), neutron, id).ExtractErr() })

	nets := pick(s, list(ctx, s, "network", networks.List(neutron, networks.ListOpts{}), networks.ExtractNetworks), func(n networks.Network) (string, string, string) {
		return n.ID, n.Name, n.ProjectID
	})
	s.each(ctx, "network", nets, func(id string) error { return networks.Delete(whole(ctx), neutron, id).ExtractErr() })

	grouped := pick(s, list(ctx, s, "security group", groups.List(neutron, groups.ListOpts{}), groups.ExtractGroups), func(g groups.SecGroup) (string, string, string) {
		return g.ID, g.Name, g.ProjectID
	})
	s.each(ctx, "security group", grouped, func(id string) error { return groups.Delete(whole(ctx), neutron, id).ExtractErr() })
}
