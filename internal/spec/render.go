// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"copse/internal/tree"
)

// RenderOptions say how a document becomes a Compose file that runs without Copse.
type RenderOptions struct {
	// SecretFile names the file on the host that holds a container's secret. The file must be
	// readable by mount.UID: Compose mounts it as it is. nil is
	// /var/lib/copse/secrets/CONTAINER/NAME.
	SecretFile func(container string, mount tree.SecretMount) string
	// FirstPort is added to a front end's port for the port that the container behind it
	// listens on; 0 is 10000.
	FirstPort int
}

// renderHeader tells a reader what the file is, and what Compose cannot do.
const renderHeader = `# The cloud %[1]q as one Compose file, made by "copse render compose".
# Compose starts and stops it. What it does not do: switch requests between generations (the proxy's
# configuration below is fixed), restart what is stuck, migrate, roll back. A container that is given
# files has a writable root here, since Compose puts inline files into the container itself.
`

// RenderCompose writes the document as one Compose file for docker compose v2: everything
// inline but the values of secrets, fixed ports, and a proxy with a fixed configuration.
func RenderCompose(doc *tree.Document, opts RenderOptions) ([]byte, error) {
	if opts.SecretFile == nil {
		opts.SecretFile = func(container string, mount tree.SecretMount) string {
			return path.Join("/var/lib/copse/secrets", container, mount.Name)
		}
	}
	setDefault(&opts.FirstPort, 10000)
	doc = withoutUpgrades(doc)
	r := renderer{doc: doc, options: opts}
	file := &composeDocument{Name: doc.Cloud, Services: map[string]*composeService{}, Volumes: map[string]composeVolume{}, Secrets: map[string]composeFileRef{}, Configs: map[string]composeContent{}}
	for i := range doc.Containers {
		c := &doc.Containers[i]
		file.Services[c.Name] = r.service(file, c)
	}
	for _, v := range doc.Volumes {
		file.Volumes[r.volumeKey(v.Name)] = composeVolume{Name: v.Name}
	}
	var node yaml.Node
	if err := node.Encode(file); err != nil {
		return nil, fmt.Errorf("cannot write the Compose file: %w", err)
	}
	escapeDollars(&node)
	body, err := yaml.Marshal(&node)
	if err != nil {
		return nil, fmt.Errorf("cannot write the Compose file: %w", err)
	}
	return append(fmt.Appendf(nil, renderHeader, doc.Cloud), body...), nil
}

// escapeDollars keeps Compose from looking for variables in what is final already.
func escapeDollars(node *yaml.Node) {
	if node.Kind == yaml.ScalarNode {
		node.Value = strings.ReplaceAll(node.Value, "$", "$$")
	}
	for _, child := range node.Content {
		escapeDollars(child)
	}
}

// scheduledProfile keeps jobs on a timer out of "docker compose up"; "docker compose run" runs them.
const scheduledProfile = "scheduled"

type renderer struct {
	doc     *tree.Document
	options RenderOptions
}

func (r *renderer) volumeKey(name string) string {
	return strings.TrimPrefix(name, r.doc.Cloud+"_")
}

// port is what a container behind a front end listens on.
func (r *renderer) port(f *tree.Frontend) int { return r.options.FirstPort + f.Port }

func (r *renderer) service(file *composeDocument, c *tree.Container) *composeService {
	e := &c.Spec
	s := &composeService{
		Image: e.Image, Entrypoint: e.Entrypoint, Command: slices.Clone(e.Command), User: e.User, GroupAdd: e.GroupAdd,
		WorkingDir: e.WorkingDir, Hostname: e.Hostname, Environment: maps.Clone(e.Environment), Labels: e.Labels,
		NetworkMode: e.NetworkMode, PID: e.PID, IPC: e.IPC, UTS: e.UTS, Cgroup: e.Cgroup,
		Privileged: e.Privileged, CapAdd: e.CapAdd, CapDrop: e.CapDrop, SecurityOpt: e.SecurityOpt,
		DeviceRules: e.DeviceRules, ReadOnly: e.ReadOnly && len(c.Files) == 0, Sysctls: e.Sysctls, ExtraHosts: e.ExtraHosts,
		ShmSize: e.ShmSize, MemLimit: e.Memory, CPUs: e.CPUs, Pids: e.Pids, Restart: e.Restart,
		StopSignal: e.StopSignal, TTY: e.TTY,
	}
	if e.StopGracePeriod > 0 {
		s.StopGracePeriod = e.StopGracePeriod.String()
	}
	for _, d := range e.Devices {
		s.Devices = append(s.Devices, d.Source+":"+d.Target+":"+d.Permissions)
	}
	for _, name := range tree.SortedKeys(e.Ulimits) {
		if s.Ulimits == nil {
			s.Ulimits = map[string]tree.Ulimit{}
		}
		s.Ulimits[name] = e.Ulimits[name]
	}
	if e.LogDriver != "" {
		s.Logging = &composeLogging{Driver: e.LogDriver, Options: e.LogOptions}
	}
	for _, m := range e.Mounts {
		r.mount(s, m)
	}
	for _, f := range c.Files {
		name := c.Name + "-" + strings.Trim(strings.NewReplacer("/", "-", ".", "-").Replace(f.Target), "-")
		file.Configs[name] = composeContent{Content: f.Content}
		mount := composeFileMount{Source: name, Target: f.Target, Mode: fmt.Sprintf("%04o", f.Mode)}
		if f.UID != 0 || f.GID != 0 {
			// Engine 20.10 refuses this for a user that is a number: leave out what is the default.
			mount.UID, mount.GID = strconv.Itoa(f.UID), strconv.Itoa(f.GID)
		}
		s.Configs = append(s.Configs, mount)
	}
	for _, m := range c.Secrets {
		name := c.Name + "-" + m.Name
		file.Secrets[name] = composeFileRef{File: r.options.SecretFile(c.Name, m)}
		s.Secrets = append(s.Secrets, composeFileMount{Source: name, Target: m.Target})
	}
	for _, d := range c.Depends {
		if s.DependsOn == nil {
			s.DependsOn = map[string]composeDependency{}
		}
		s.DependsOn[d.Name] = composeDependency{Condition: string(d.Condition), Restart: d.Restart}
	}
	if c.Check != nil {
		s.Healthcheck = &composeHealthcheck{
			Test: append([]string{"CMD"}, c.Check.Test...), Interval: c.Check.Interval.String(), Timeout: c.Check.Timeout.String(),
			Retries: c.Check.Retries, StartPeriod: c.Check.StartPeriod.String(),
		}
	}
	if c.Frontend != nil {
		if s.Environment == nil {
			s.Environment = map[string]string{}
		}
		s.Environment["PORT"] = strconv.Itoa(r.port(c.Frontend))
	}
	if c.Proxy != nil {
		r.proxy(file, s, c)
	}
	if c.Job != nil && c.Job.Every > 0 {
		s.Profiles = []string{scheduledProfile}
	}
	return s
}

func (r *renderer) mount(s *composeService, m tree.Mount) {
	switch m.Type {
	case tree.Tmpfs:
		entry := m.Target
		if m.TmpfsOptions != "" {
			entry += ":" + m.TmpfsOptions
		}
		s.Tmpfs = append(s.Tmpfs, entry)
	case tree.NamedVolume:
		v := composeMount{Type: "volume", Source: r.volumeKey(m.Source), Target: m.Target, ReadOnly: m.ReadOnly}
		if m.NoCopy {
			v.Volume = &composeVolumeOptions{NoCopy: true}
		}
		s.Volumes = append(s.Volumes, v)
	default:
		s.Volumes = append(s.Volumes, composeMount{
			Type: "bind", Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly,
			Bind: &composeBind{Propagation: m.Propagation, CreateHostPath: m.CreateHostPath},
		})
	}
}
