// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
)

// makeFlavor makes a flavor that only the project may use. Its disk is not 0: by nova's default
// policy only an administrator starts a server whose disk is as large as its image.
func (r *run) makeFlavor(ctx context.Context) (string, error) {
	nova, err := r.admin.compute()
	if err != nil {
		return "", err
	}
	disk, public := 1, false
	flavor, err := flavors.Create(whole(ctx), nova, flavors.CreateOpts{
		Name: r.name, RAM: 128, VCPUs: 1, Disk: &disk, IsPublic: &public,
	}).Extract()
	if err != nil {
		return "", fmt.Errorf("cannot make a flavor: %w", err)
	}
	r.flavor = flavor.ID
	if _, err := flavors.AddAccess(whole(ctx), nova, flavor.ID, flavors.AddAccessOpts{Tenant: r.project}).Extract(); err != nil {
		return "", fmt.Errorf("cannot let the project use the flavor: %w", err)
	}
	return "1 processor, 128 MiB, 1 GiB of disk", nil
}

// faultLooks is how often nova is asked why it gave a server up.
const faultLooks = 5

// startServer starts the server and waits until nova says that it runs.
func (r *run) startServer(ctx context.Context) (string, error) {
	nova, err := r.user.compute()
	if err != nil {
		return "", err
	}
	server, err := servers.Create(whole(ctx), nova, servers.CreateOpts{
		Name: r.name, ImageRef: r.image, FlavorRef: r.flavor, Networks: []servers.Network{{Port: r.port}},
	}, nil).Extract()
	if err != nil {
		return "", fmt.Errorf("cannot start a server: %w", err)
	}
	r.server = server.ID
	silent := 0
	err = r.wait(ctx, "the server is active", func(ctx context.Context) (bool, string, error) {
		now, err := servers.Get(ctx, nova, server.ID).Extract()
		if err != nil {
			return false, "", fmt.Errorf("cannot look at server %s: %w", server.ID, err)
		}
		if now.Status == "ERROR" {
			// nova says so first, and why a moment later.
			if silent++; now.Fault.Message == "" && silent < faultLooks {
				return false, "it is in ERROR", nil
			}
			return false, "", fmt.Errorf("cannot start server %s: nova has put it into ERROR: %s", server.ID, fault(now))
		}
		state := "it is " + now.Status
		if now.TaskState != "" {
			state += " (" + now.TaskState + ")"
		}
		return now.Status == "ACTIVE", state, nil
	})
	if err != nil {
		return "", err
	}
	return r.where(ctx)
}

// fault is why nova gave a server up.
func fault(server *servers.Server) string {
	if server.Fault.Message == "" {
		return "it does not say why"
	}
	return oneLine(server.Fault.Message)
}

// where says on which host the server runs, which only the administrator sees.
func (r *run) where(ctx context.Context) (string, error) {
	nova, err := r.admin.compute()
	if err != nil {
		return "", err
	}
	server, err := servers.Get(ctx, nova, r.server).Extract()
	if err != nil {
		return "", fmt.Errorf("cannot look at server %s as the administrator: %w", r.server, err)
	}
	return "on " + server.Host, nil
}

// pings is how often the server is pinged after it has answered.
const pings = 5

// ping waits until the server answers, then counts.
func (r *run) ping(ctx context.Context) (string, error) {
	address, err := netip.ParseAddr(r.address)
	if err != nil {
		return "", fmt.Errorf("cannot read the floating IP: %w", err)
	}
	err = r.wait(ctx, r.address+" answers ping", func(ctx context.Context) (bool, string, error) {
		_, err := r.Probe.Ping(ctx, address)
		switch {
		case err == nil:
			return true, "", nil
		case errors.Is(err, errSocket):
			return false, "", err
		}
		return false, err.Error(), nil
	})
	if err != nil {
		return "", err
	}
	answered, best := 0, time.Duration(0)
	for range pings {
		took, err := r.Probe.Ping(ctx, address)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err != nil {
			continue
		}
		answered++
		if best == 0 || took < best {
			best = took
		}
	}
	detail := fmt.Sprintf("%s answered %d of %d, the fastest in %.1f ms", r.address, answered, pings, float64(best.Microseconds())/1000)
	if answered == 0 {
		return "", errors.New(r.address + " answered ping once and then never again")
	}
	return detail, nil
}

// fetch gets a file from the guest; until is when it is as it should be.
func (r *run) fetch(ctx context.Context, file string, until func(body []byte) error) error {
	url := "http://" + net.JoinHostPort(r.address, strconv.Itoa(guestPort)) + "/" + file
	return r.wait(ctx, url+" answers", func(ctx context.Context) (bool, string, error) {
		status, body, err := r.Probe.Get(ctx, url)
		switch {
		case err != nil:
			return false, err.Error(), nil
		case status != 200:
			return false, fmt.Sprintf("it answers %d", status), nil
		}
		return true, "", until(body)
	})
}

// tcp fetches more than a packet holds: checksums and the largest size of packets go wrong where
// a ping goes through.
func (r *run) tcp(ctx context.Context) (string, error) {
	began := r.Now()
	err := r.fetch(ctx, "data", func(body []byte) error {
		if len(body) != dataSize {
			return fmt.Errorf("%d bytes came from port %d of the server, not %d", len(body), guestPort, dataSize)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("port %d, in %s", guestPort, r.Now().Sub(began).Round(time.Millisecond)), nil
}

// metadata asks the guest what it has been told, and compares it with what nova says.
func (r *run) metadata(ctx context.Context) (string, error) {
	var told struct {
		UUID     string `json:"uuid"`
		Hostname string `json:"hostname"`
	}
	err := r.fetch(ctx, "meta_data.json", func(body []byte) error {
		if err := json.Unmarshal(body, &told); err != nil {
			return fmt.Errorf("cannot read what the metadata service told the server: %w: %s", err, oneLine(string(body)))
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	// nova may append a domain to the host's name.
	host, _, _ := strings.Cut(told.Hostname, ".")
	if told.UUID != r.server || host != r.name {
		return "", fmt.Errorf("the metadata service told the server that it is %q named %q, but it is %s named %s", told.UUID, told.Hostname, r.server, r.name)
	}
	return "it knows its identity and its name, " + told.Hostname, nil
}
