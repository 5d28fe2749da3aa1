// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"copse/internal/nearest"
	"copse/internal/tree"
)

// What x-copse may say of rollbacks and of a job's phase; package tree says what they mean.
var (
	rollbackClasses = []string{string(tree.RollbackByRestore), string(tree.RollbackFree), string(tree.RollbackUntilContract)}
	phases          = []string{
		string(tree.Contract), string(tree.Dump), string(tree.Expand), string(tree.Rehearse), string(tree.Restore), string(tree.Revert),
	}
)

// container makes the domain's container of one Compose service; faults are added to b.
func (b *builder) container(set *parsedSet, s *types.ServiceConfig) *madeContainer {
	at := []string{"services", s.Name}
	d := &decoder{src: set.src}
	defer func() { b.faults = append(b.faults, d.faults...) }()

	var ext serviceExtension
	d.extensionOf(s.Extensions, &ext, at)
	c := &madeContainer{set: set, given: map[string]*Error{}, Container: tree.Container{
		Host: b.input.host, Set: set.path, Name: s.Name, Component: ext.Component,
		Spec: b.engineSpec(d, s, at),
	}}
	if !namePattern.MatchString(s.Name) {
		d.fault(at, "cannot be a container's name; use lower-case letters, digits and -, a letter first")
	}
	if c.Component == "" {
		d.fault(append(at, extension, "component"), "is missing; say which project or product the container belongs to")
	}
	c.Release = orDefault(b.input.cloud.Releases[c.Component], b.input.cloud.Release)
	if pin := b.pin(s.Name); pin != nil {
		c.Release = pin.Release
	}
	b.chooseImage(d, c, s.Image, ext.Image, at)
	b.environment(d, c, s, at)
	b.mounts(d, c, s, at)
	b.configs(d, c, s, at)
	b.secretMounts(d, c, s, at)
	for _, name := range tree.SortedKeys(s.DependsOn) {
		c.Depends = append(c.Depends, tree.Dependency{Name: name, Condition: tree.Condition(s.DependsOn[name].Condition), Restart: s.DependsOn[name].Restart})
	}
	c.Check = d.healthcheck(s.HealthCheck, append(slices.Clone(at), "healthcheck"))
	c.Ready = d.check(ext.Ready, append(slices.Clone(at), extension, "ready"))
	b.role(d, c, &ext, at)
	b.update(d, c, s, &ext, at)
	c.Privileges = b.privileges(d, ext.Privileges, at)
	checkPrivileges(d, c, at)
	return c
}

// chooseImage notes which image the container runs; resolveImages turns a catalogue's name
// into a reference.
func (b *builder) chooseImage(d *decoder, c *madeContainer, explicit, fromCatalogue string, at []string) {
	switch {
	case explicit != "" && fromCatalogue != "":
		d.fault(append(at, "image"), "stands beside %s.image; keep one: %s.image for an image of the catalogue, image for any other", extension, extension)
	case explicit == "" && fromCatalogue == "":
		d.fault(append(at, extension, "image"), "is missing; name an image of the catalogue, or set image")
	}
	c.Spec.Image = explicit
	c.imageName = fromCatalogue
}

// resolveImages asks for the references of the catalogue's images, once for each.
func (b *builder) resolveImages() {
	known := map[[2]string]string{}
	for _, c := range b.made {
		name, release := c.imageName, c.Release
		if name != "" {
			release = b.imageRelease(c)
			key := [2]string{name, release}
			if known[key] == "" {
				reference, err := b.reference(name, release)
				if err != nil {
					b.fault(c.fault(extension+".image", "%v", err))
					continue
				}
				known[key] = reference
			}
			c.Spec.Image = known[key]
		}
		b.images[c.Spec.Image] = tree.Image{Name: name, Release: release, Reference: c.Spec.Image}
	}
}

func (b *builder) reference(image, release string) (string, error) {
	if b.input.options.References == nil {
		return "copse/" + image + ":" + release, nil
	}
	return b.input.options.References(image, release)
}

// environment merges env_file and environment; what the operator gives comes in applyOptions.
func (b *builder) environment(d *decoder, c *madeContainer, s *types.ServiceConfig, at []string) {
	merged := map[string]string{}
	for i, file := range s.EnvFiles {
		name := path.Join("sets", c.Set, file.Path)
		environment, faults := b.environmentFile(name)
		if len(faults) > 0 {
			if len(b.envFaults[name]) == 0 {
				d.fault(append(slices.Clone(at), "env_file", strconv.Itoa(i)), "cannot use %s", file.Path)
				d.faults = append(d.faults, faults...)
				b.envFaults[name] = faults
			}
			continue
		}
		maps.Copy(merged, environment)
	}
	for _, key := range tree.SortedKeys(s.Environment) {
		value := s.Environment[key]
		if value == nil {
			d.fault(append(slices.Clone(at), "environment", key), "has no value; write one, \"\" for an empty one")
			continue
		}
		merged[key] = *value
	}
	c.Spec.Environment = merged
}

// role fills in what makes a container more than a process: ports, front end, proxy, job.
func (b *builder) role(d *decoder, c *madeContainer, ext *serviceExtension, at []string) {
	x := append(slices.Clone(at), extension)
	for i, p := range ext.Ports {
		here := append(slices.Clone(x), "ports", strconv.Itoa(i))
		setDefault(&p.Protocol, "tcp")
		if p.Protocol != "tcp" && p.Protocol != "udp" {
			d.fault(append(here, "protocol"), "%q is neither tcp nor udp", p.Protocol)
		}
		d.checkPort(p.Port, append(here, "port"))
		same := func(o tree.Port) bool { return o.Address == p.Address && o.Port == p.Port && o.Protocol == p.Protocol }
		if !slices.ContainsFunc(c.Ports, same) { // two values may come to one address
			c.Ports = append(c.Ports, tree.Port(p))
		}
	}
	if f := ext.Frontend; f != nil {
		here := append(slices.Clone(x), "frontend")
		setDefault(&f.Name, c.Name)
		setDefault(&f.Mode, "http")
		if f.Mode != "http" && f.Mode != "tcp" {
			d.fault(append(slices.Clone(here), "mode"), "%q is neither http nor tcp", f.Mode)
		}
		if len(f.Addresses) == 0 {
			d.fault(append(slices.Clone(here), "addresses"), "is missing; name where clients reach the service, such as ${ADDRESS}")
		}
		if f.Internal == "" {
			d.fault(append(slices.Clone(here), "internal"), "is missing; name where the container listens, such as ${INTERNAL_ADDRESS}")
		}
		d.checkPort(f.Port, append(slices.Clone(here), "port"))
		var addresses []string
		for _, address := range f.Addresses {
			if !slices.Contains(addresses, address) {
				addresses = append(addresses, address)
			}
		}
		c.Frontend = &tree.Frontend{Name: f.Name, Addresses: addresses, Port: f.Port, Internal: f.Internal, Mode: f.Mode, CheckPath: f.Path}
	}
	if p := ext.Proxy; p != nil {
		if !path.IsAbs(p.Directory) {
			d.fault(append(slices.Clone(x), "proxy", "directory"), "%q is no absolute path", p.Directory)
		}
		c.Proxy = &tree.Proxy{Directory: p.Directory}
	}
	c.OwnCgroup = ext.OwnCgroup
	if j := ext.Job; j != nil {
		if j.Phase != "" && !slices.Contains(phases, j.Phase) {
			d.fault(append(slices.Clone(x), "job", "phase"), "unknown phase %q%s; known are %v", j.Phase, nearest.Hint(j.Phase, phases), phases)
		}
		setDefault(&j.Timeout, defaultJobTimeout)
		job := &tree.Job{Timeout: j.Timeout, Phase: tree.Phase(j.Phase), Every: j.Every}
		for i, name := range j.Writes {
			if b.volumes[name] == nil {
				d.fault(append(slices.Clone(x), "job", "writes", strconv.Itoa(i)), "no set declares a volume %q%s", name, nearest.Hint(name, tree.SortedKeys(b.volumes)))
			}
			job.Writes = append(job.Writes, b.volumeName(name))
		}
		c.Job = job
		if c.Spec.Restart == "always" || c.Spec.Restart == "unless-stopped" {
			d.fault(append(slices.Clone(at), "restart"), "a job ends and must not be started again by the engine; set it to \"no\"")
		}
		if c.Frontend != nil {
			d.fault(append(slices.Clone(x), "frontend"), "a job cannot serve requests; remove frontend or job")
		}
	} else if c.Check == nil {
		d.fault(append(slices.Clone(at), "healthcheck"), "is missing; every container that keeps running has a check of its own health")
	}
}

// update says how the container is replaced.
func (b *builder) update(d *decoder, c *madeContainer, s *types.ServiceConfig, ext *serviceExtension, at []string) {
	c.Update = tree.Update{Order: tree.StopFirst, Rollback: tree.RollbackClass(orDefault(ext.Rollback, string(tree.RollbackFree))), Hold: ext.Hold, ReplaceAfter: ext.ReplaceAfter}
	if !slices.Contains(rollbackClasses, string(c.Update.Rollback)) {
		d.fault(append(slices.Clone(at), extension, "rollback"), "unknown class %q%s; known are %v", c.Update.Rollback, nearest.Hint(string(c.Update.Rollback), rollbackClasses), rollbackClasses)
	}
	if s.Deploy == nil || s.Deploy.UpdateConfig == nil {
		return
	}
	config, here := s.Deploy.UpdateConfig, append(slices.Clone(at), "deploy", "update_config")
	if config.Order != "" {
		c.Update.Order = tree.Order(config.Order)
	}
	c.Update.Monitor = duration(&config.Monitor)
	if config.FailureAction != "" && config.FailureAction != "rollback" {
		d.fault(append(here, "failure_action"), "%q is not honoured; a failed update is always rolled back", config.FailureAction)
	}
}

func (d *decoder) checkPort(port int, path []string) {
	if port < 1 || port > 65535 {
		d.fault(path, "%d is no port; give one from 1 to 65535", port)
	}
}

// userIDs returns the numeric user and group that a container runs as, and whether it says so.
func userIDs(user string) (uid, gid int, ok bool) {
	first, second, both := strings.Cut(user, ":")
	uid, err := strconv.Atoi(first)
	if err != nil {
		return 0, 0, false
	}
	if !both {
		return uid, uid, true
	}
	gid, err = strconv.Atoi(second)
	return uid, gid, err == nil
}
