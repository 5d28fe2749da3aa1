// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/external"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/routers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
)

// subnetCIDR is of the range that providers share among themselves (RFC 6598), so that it does
// not overlap with an external network, which a router would refuse.
const subnetCIDR = "100.112.37.0/24"

// makeNetwork makes a network with a subnet, as the user.
func (r *run) makeNetwork(ctx context.Context) (string, error) {
	neutron, err := r.user.network()
	if err != nil {
		return "", err
	}
	network, err := networks.Create(whole(ctx), neutron, networks.CreateOpts{Name: r.name}).Extract()
	if err != nil {
		return "", fmt.Errorf("cannot make a network: %w", err)
	}
	r.network = network.ID
	subnet, err := subnets.Create(whole(ctx), neutron, subnets.CreateOpts{
		Name: r.name, NetworkID: network.ID, CIDR: subnetCIDR, IPVersion: gophercloud.IPv4,
	}).Extract()
	if err != nil {
		return "", fmt.Errorf("cannot make a subnet of %s: %w", subnetCIDR, err)
	}
	r.subnet = subnet.ID
	return subnetCIDR, nil
}

// makeRouter makes a router between the network and an external one.
func (r *run) makeRouter(ctx context.Context) (string, error) {
	neutron, err := r.user.network()
	if err != nil {
		return "", err
	}
	outside, err := r.externalNetwork(ctx, neutron)
	made := ""
	if errors.Is(err, errNoExternal) && r.Provider.CIDR != "" {
		outside, err = r.makeExternal(ctx)
		made = fmt.Sprintf(" (%s, made for this)", r.Provider.CIDR)
	}
	if err != nil {
		return "", err
	}
	r.external = outside.ID
	router, err := routers.Create(whole(ctx), neutron, routers.CreateOpts{
		Name: r.name, GatewayInfo: &routers.GatewayInfo{NetworkID: outside.ID},
	}).Extract()
	if err != nil {
		return "", fmt.Errorf("cannot make a router to network %s: %w", outside.Name, err)
	}
	r.router = router.ID
	if _, err := routers.AddInterface(whole(ctx), neutron, router.ID, routers.AddInterfaceOpts{SubnetID: r.subnet}).Extract(); err != nil {
		return "", fmt.Errorf("cannot connect the subnet to the router: %w", err)
	}
	return "to " + outside.Name + made, nil
}

// errNoExternal says that nobody has made an external network yet.
var errNoExternal = errors.New("there is no external network that a user may see: make one with --external and a subnet of addresses that this host reaches")

// externalNetwork finds the network that floating IPs come from: the one asked for, or the first by
// name that has a subnet.
func (r *run) externalNetwork(ctx context.Context, neutron *gophercloud.ServiceClient) (networks.Network, error) {
	yes := true
	pages, err := networks.List(neutron, external.ListOptsExt{ListOptsBuilder: networks.ListOpts{}, External: &yes}).AllPages(ctx)
	if err != nil {
		return networks.Network{}, fmt.Errorf("cannot look for external networks: %w", err)
	}
	list, err := networks.ExtractNetworks(pages)
	if err != nil {
		return networks.Network{}, fmt.Errorf("cannot look for external networks: %w", err)
	}
	slices.SortFunc(list, func(a, b networks.Network) int { return strings.Compare(a.Name, b.Name) })
	var names []string
	for _, network := range list {
		if r.Network == network.Name || r.Network == network.ID || r.Network == "" && len(network.Subnets) > 0 {
			return network, nil
		}
		names = append(names, network.Name)
	}
	switch {
	case len(names) == 0:
		return networks.Network{}, errNoExternal
	case r.Network != "":
		return networks.Network{}, fmt.Errorf("there is no external network %q; there are: %s", r.Network, strings.Join(names, ", "))
	}
	return networks.Network{}, fmt.Errorf("no external network has a subnet: %s", strings.Join(names, ", "))
}

// providerOptions are those of an external network right on a physical one.
type providerOptions struct{ name, physical string }

// ToNetworkCreateMap implements networks.CreateOptsBuilder.
func (o providerOptions) ToNetworkCreateMap() (map[string]any, error) {
	return map[string]any{"network": map[string]any{
		"name": o.name, "router:external": true, "provider:network_type": "flat", "provider:physical_network": o.physical,
	}}, nil
}

// makeExternal makes, as the administrator, the external network that the cloud has not got yet. It
// goes with all the rest: which one there is to stay is the operator's to say.
func (r *run) makeExternal(ctx context.Context) (networks.Network, error) {
	neutron, err := r.admin.network()
	if err != nil {
		return networks.Network{}, err
	}
	network, err := networks.Create(whole(ctx), neutron, providerOptions{r.name, r.Provider.Name}).Extract()
	if err != nil {
		return networks.Network{}, fmt.Errorf("cannot make an external network on %s: %w", r.Provider.Name, err)
	}
	gateway, _, _ := strings.Cut(r.Provider.Gateway, "/")
	dhcp := false
	_, err = subnets.Create(whole(ctx), neutron, subnets.CreateOpts{
		Name: r.name, NetworkID: network.ID, CIDR: r.Provider.CIDR, GatewayIP: &gateway, EnableDHCP: &dhcp, IPVersion: gophercloud.IPv4,
	}).Extract()
	if err != nil {
		return networks.Network{}, fmt.Errorf("cannot make the external network's subnet of %s: %w", r.Provider.CIDR, err)
	}
	return *network, nil
}

// makeGroup makes a security group that lets in what is tried later.
func (r *run) makeGroup(ctx context.Context) (string, error) {
	neutron, err := r.user.network()
	if err != nil {
		return "", err
	}
	group, err := groups.Create(whole(ctx), neutron, groups.CreateOpts{Name: r.name, Description: "made by copse verify"}).Extract()
	if err != nil {
		return "", fmt.Errorf("cannot make a security group: %w", err)
	}
	r.group = group.ID
	for _, rule := range []rules.CreateOpts{
		{Protocol: rules.ProtocolICMP},
		{Protocol: rules.ProtocolTCP, PortRangeMin: guestPort, PortRangeMax: guestPort},
	} {
		rule.Direction, rule.EtherType, rule.SecGroupID = rules.DirIngress, rules.EtherType4, group.ID
		if _, err := rules.Create(whole(ctx), neutron, rule).Extract(); err != nil {
			return "", fmt.Errorf("cannot let %s into the security group: %w", rule.Protocol, err)
		}
	}
	return "", nil
}

// makeFloatingIP makes the server's port and an address outside for it.
func (r *run) makeFloatingIP(ctx context.Context) (string, error) {
	neutron, err := r.user.network()
	if err != nil {
		return "", err
	}
	port, err := ports.Create(whole(ctx), neutron, ports.CreateOpts{
		Name: r.name, NetworkID: r.network, SecurityGroups: &[]string{r.group},
	}).Extract()
	if err != nil {
		return "", fmt.Errorf("cannot make a port: %w", err)
	}
	r.port = port.ID
	if len(port.FixedIPs) == 0 {
		return "", fmt.Errorf("port %s has no address", port.ID)
	}
	floating, err := floatingips.Create(whole(ctx), neutron, floatingips.CreateOpts{
		Description: r.name, FloatingNetworkID: r.external, PortID: port.ID,
	}).Extract()
	if err != nil {
		return "", fmt.Errorf("cannot get a floating IP: %w", err)
	}
	r.address = floating.FloatingIP
	return fmt.Sprintf("%s leads to %s", floating.FloatingIP, port.FixedIPs[0].IPAddress), nil
}
