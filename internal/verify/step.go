// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"slices"

	"copse/internal/tree"
)

// step is one thing that a cloud must be able to do.
type step struct {
	name string
	// sentence announces it.
	sentence string
	// needs are the steps whose results it uses.
	needs []string
	// services are the types in the service catalogue without which it is skipped.
	services []string
	// containers are those without which it is skipped, where it is known what is deployed.
	containers []string
	// look are containers and components whose logs tell more when it fails.
	look []string
	// do does it and says what it found.
	do func(r *run, ctx context.Context) (detail string, err error)
}

const (
	stepToken     = "token"
	stepLeftovers = "leftovers"
	stepAccount   = "account"
	stepImage     = "image"
	stepFlavor    = "flavor"
	stepNetwork   = "network"
	stepRouter    = "router"
	stepGroup     = "security-group"
	stepFloating  = "floating-ip"
	stepServer    = "server"
	stepPing      = "ping"
	stepTCP       = "tcp"
	stepMetadata  = "metadata"
	stepLog       = "console-log"
	stepConsole   = "console"
	stepRemove    = "remove"
)

// Steps lists the names of all steps, in order, but the removal, which always comes last.
func Steps() []string {
	var names []string
	for _, s := range steps() {
		names = append(names, s.name)
	}
	return names
}

func steps() []step {
	return []step{
		{
			name: stepToken, sentence: "Get a token as the administrator", look: []string{"haproxy", "keystone"},
			do: (*run).token,
		},
		{
			name: stepLeftovers, sentence: "Remove what earlier verifications have left",
			needs: []string{stepToken},
			look:  []string{"keystone", "nova", "neutron", "glance"},
			do:    (*run).leftovers,
		},
		{
			name: stepAccount, sentence: "Make a project with a user and get a token as that user",
			needs: []string{stepToken}, look: []string{"keystone"},
			do: (*run).account,
		},
		{
			name: stepImage, sentence: "Upload the guest's kernel, ramdisk and disk, and read them back",
			needs: []string{stepAccount}, services: []string{"image"}, look: []string{"glance-api", "glance"},
			do: (*run).images,
		},
		{
			name: stepFlavor, sentence: "Make a flavor for the project",
			needs: []string{stepAccount}, services: []string{"compute"}, look: []string{"nova-api", "nova"},
			do: (*run).makeFlavor,
		},
		{
			name: stepNetwork, sentence: "Make a network with a subnet",
			needs: []string{stepAccount}, services: []string{"network"}, look: []string{"neutron-api", "neutron"},
			do: (*run).makeNetwork,
		},
		{
			name: stepRouter, sentence: "Connect it to the external network by a router",
			needs: []string{stepNetwork}, services: []string{"network"},
			look: []string{"neutron-api", "neutron-l3-agent", "neutron"},
			do:   (*run).makeRouter,
		},
		{
			name: stepGroup, sentence: "Make a security group that lets ping and port 8080 in",
			needs: []string{stepAccount}, services: []string{"network"}, look: []string{"neutron-api", "neutron"},
			do: (*run).makeGroup,
		},
		{
			name: stepFloating, sentence: "Make a port with a floating IP",
			needs: []string{stepRouter, stepGroup}, services: []string{"network"}, look: []string{"neutron-api", "neutron"},
			do: (*run).makeFloatingIP,
		},
		{
			name: stepServer, sentence: "Start a server and wait until it is active",
			needs: []string{stepImage, stepFlavor, stepFloating}, services: []string{"compute"},
			look: []string{"nova-compute", "nova-conductor", "nova-scheduler", "nova-libvirt", "placement-api", "neutron-openvswitch-agent", "nova"},
			do:   (*run).startServer,
		},
		{
			name: stepPing, sentence: "Ping the server at its floating IP",
			needs: []string{stepServer},
			look:  []string{"neutron-l3-agent", "neutron-openvswitch-agent", "neutron-dhcp-agent", "openvswitch-vswitchd", "nova-compute", "neutron"},
			do:    (*run).ping,
		},
		{
			name: stepTCP, sentence: "Fetch 256 KiB from the server by TCP",
			needs: []string{stepPing},
			look:  []string{"neutron-openvswitch-agent", "neutron-l3-agent", "openvswitch-vswitchd", "neutron"},
			do:    (*run).tcp,
		},
		{
			name: stepMetadata, sentence: "Ask the server what the metadata service told it",
			needs: []string{stepPing},
			look:  []string{"neutron-metadata-agent", "nova-metadata", "neutron-l3-agent", "neutron-dhcp-agent"},
			do:    (*run).metadata,
		},
		{
			name: stepLog, sentence: "Read the server's console log",
			needs: []string{stepServer}, look: []string{"nova-compute", "nova-libvirt"},
			do: (*run).consoleLog,
		},
		{
			name: stepConsole, sentence: "Open the server's console in noVNC",
			needs: []string{stepServer}, containers: []string{"nova-novncproxy"}, look: []string{"nova-novncproxy", "nova-compute"},
			do: (*run).console,
		},
	}
}

// Needs reports whether a run with these options will ask for the guest, in a cloud of these
// containers. An unknown step is an *UnknownStepError.
func Needs(options Options, containers []tree.Container) (guest bool, err error) {
	chosen, err := choose(steps(), options.Only)
	if err != nil || options.Clean {
		return false, err
	}
	uploads := slices.ContainsFunc(chosen, func(s step) bool { return s.name == stepImage })
	return uploads && slices.ContainsFunc(containers, func(c tree.Container) bool { return c.Component == "glance" }), nil
}
