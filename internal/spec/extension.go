// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"copse/internal/tree"
)

// serviceExtension is what stands below x-copse of a service: what Compose cannot say.
type serviceExtension struct {
	// Component is the project or product that the container belongs to.
	Component string `yaml:"component"`
	// Image is an image of the catalogue.
	Image    string             `yaml:"image"`
	Ports    []portExtension    `yaml:"ports"`
	Frontend *frontendExtension `yaml:"frontend"`
	Proxy    *proxyExtension    `yaml:"proxy"`
	Ready    *checkExtension    `yaml:"ready"`
	Job      *jobExtension      `yaml:"job"`
	// Rollback is the class of data changes: "free", "until contract" or "by restore".
	Rollback string `yaml:"rollback"`
	// Hold keeps requests waiting at the front ends that depend on the container while it is replaced.
	Hold bool `yaml:"hold"`
	// ReplaceAfter names containers that are replaced before it, where one change replaces both.
	ReplaceAfter []string `yaml:"replace_after"`
	// OwnCgroup moves the service's process out of the container's control group.
	OwnCgroup bool `yaml:"own_cgroup"`
	// Privileges gives the reason for everything beyond the default.
	Privileges map[string]string `yaml:"privileges"`
}

type portExtension struct {
	Name     string `yaml:"name"`
	Address  string `yaml:"address"`
	Port     int    `yaml:"port"`
	Protocol string `yaml:"protocol"`
}

type frontendExtension struct {
	Name      string   `yaml:"name"`
	Addresses []string `yaml:"addresses"`
	Port      int      `yaml:"port"`
	Internal  string   `yaml:"internal"`
	Mode      string   `yaml:"mode"`
	Path      string   `yaml:"path"`
}

type proxyExtension struct {
	Directory string `yaml:"directory"`
}

type jobExtension struct {
	Timeout time.Duration `yaml:"timeout"`
	Writes  []string      `yaml:"writes"`
	Phase   string        `yaml:"phase"`
	// Every is the time between two runs of a scheduled job.
	Every time.Duration `yaml:"every"`
}

// checkExtension has the form of Compose's healthcheck.
type checkExtension struct {
	Test          any           `yaml:"test"`
	Interval      time.Duration `yaml:"interval"`
	Timeout       time.Duration `yaml:"timeout"`
	StartPeriod   time.Duration `yaml:"start_period"`
	StartInterval time.Duration `yaml:"start_interval"`
	Retries       int           `yaml:"retries"`
}

// secretExtension is what stands below x-copse of a secret.
type secretExtension struct {
	Generate    string `yaml:"generate"`
	Length      int    `yaml:"length"`
	Description string `yaml:"description"`
}

// volumeExtension is what stands below x-copse of a volume.
type volumeExtension struct {
	// Shared is the reason why containers of several components write to it.
	Shared string `yaml:"shared"`
}

// setExtension is what stands below x-copse at the top of a set's file.
type setExtension struct {
	Description string `yaml:"description"`
	// OpenRC are variables of the openstack client; secrets stand in them as placeholders.
	OpenRC map[string]string `yaml:"openrc"`
	// Host is what must be true of the host before the set's containers start.
	Host *hostExtension `yaml:"host"`
}

// Defaults of a check, where a Compose file leaves them out.
const (
	defaultInterval      = 10 * time.Second
	defaultTimeout       = 5 * time.Second
	defaultStartPeriod   = time.Minute
	defaultStartInterval = time.Second
	defaultRetries       = 3
	defaultJobTimeout    = 10 * time.Minute
)

// extensionOf decodes x-copse out of a Compose object's extensions.
func (d *decoder) extensionOf(extensions types.Extensions, into any, path []string) {
	if raw, ok := extensions[extension]; ok {
		d.decode(raw, into, append(slices.Clone(path), extension))
	}
}

// check makes a domain check of one written below x-copse.
func (d *decoder) check(c *checkExtension, path []string) *tree.Check {
	if c == nil {
		return nil
	}
	var test []string
	switch v := c.Test.(type) {
	case string:
		test = []string{"CMD-SHELL", v}
	case []any:
		for _, item := range v {
			text, _ := scalarText(item)
			test = append(test, text)
		}
	}
	return d.finishCheck(&tree.Check{
		Interval: c.Interval, Timeout: c.Timeout, StartPeriod: c.StartPeriod, StartInterval: c.StartInterval, Retries: c.Retries,
	}, test, path)
}

// healthcheck makes a domain check of Compose's.
func (d *decoder) healthcheck(h *types.HealthCheckConfig, path []string) *tree.Check {
	if h == nil {
		return nil
	}
	check := &tree.Check{
		Interval: duration(h.Interval), Timeout: duration(h.Timeout),
		StartPeriod: duration(h.StartPeriod), StartInterval: duration(h.StartInterval),
	}
	if h.Retries != nil {
		check.Retries = int(*h.Retries)
	}
	return d.finishCheck(check, h.Test, path)
}

// finishCheck turns Compose's form of a test into an argument vector and fills in what was left out.
func (d *decoder) finishCheck(check *tree.Check, test, path []string) *tree.Check {
	switch {
	case len(test) >= 2 && test[0] == "CMD":
		check.Test = slices.Clone(test[1:])
	case len(test) == 2 && test[0] == "CMD-SHELL":
		check.Test = []string{"/bin/sh", "-c", test[1]}
	default:
		d.fault(append(slices.Clone(path), "test"), "must be a list that starts with CMD, or one line for the shell, not %q", strings.Join(test, " "))
	}
	setDefault(&check.Interval, defaultInterval)
	setDefault(&check.Timeout, defaultTimeout)
	setDefault(&check.StartPeriod, defaultStartPeriod)
	setDefault(&check.StartInterval, defaultStartInterval)
	setDefault(&check.Retries, defaultRetries)
	return check
}

func setDefault[T comparable](field *T, missing T) {
	var zero T
	if *field == zero {
		*field = missing
	}
}

func duration(d *types.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return time.Duration(*d)
}
