// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"copse/internal/nearest"
	"copse/internal/tree"
)

// secretsDirectory is where secrets are mounted unless a target says otherwise.
const secretsDirectory = "/run/secrets"

// volumeName is the engine's name for a named volume.
func (b *builder) volumeName(name string) string { return b.input.cloud.Name + "_" + name }

// mounts makes mounts of volumes and tmpfs, parents before what lies in them.
func (b *builder) mounts(d *decoder, c *madeContainer, s *types.ServiceConfig, at []string) {
	for i, v := range s.Volumes {
		here := append(slices.Clone(at), "volumes", strconv.Itoa(i))
		m := tree.Mount{Source: v.Source, Target: path.Clean(v.Target), ReadOnly: v.ReadOnly}
		switch v.Type {
		case types.VolumeTypeVolume:
			if b.volumes[v.Source] == nil {
				d.fault(here, "no set declares a volume %q%s; declare it below volumes", v.Source, nearest.Hint(v.Source, tree.SortedKeys(b.volumes)))
			}
			m.Type, m.Source = tree.NamedVolume, b.volumeName(v.Source)
			m.NoCopy = v.Volume != nil && v.Volume.NoCopy
		case types.VolumeTypeBind:
			m.Type = tree.Bind
			if v.Bind != nil {
				m.Propagation, m.CreateHostPath = v.Bind.Propagation, bool(v.Bind.CreateHostPath)
			}
			if !path.IsAbs(m.Source) {
				d.fault(here, "%q is no absolute path of the host; give files of the catalogue with configs", m.Source)
			}
		case types.VolumeTypeTmpfs:
			m.Type = tree.Tmpfs
			if v.Tmpfs != nil {
				m.TmpfsOptions = tmpfsOptions(v.Tmpfs)
			}
		default:
			d.fault(here, "mounts of type %q are not honoured; use volume, bind or tmpfs", v.Type)
		}
		if !path.IsAbs(v.Target) {
			d.fault(here, "%q is no absolute path inside the container", v.Target)
		}
		c.Spec.Mounts = append(c.Spec.Mounts, m)
	}
	for i, entry := range s.Tmpfs {
		target, options, _ := strings.Cut(entry, ":")
		if !path.IsAbs(target) {
			d.fault(append(slices.Clone(at), "tmpfs", strconv.Itoa(i)), "%q is no absolute path inside the container", target)
		}
		c.Spec.Mounts = append(c.Spec.Mounts, tree.Mount{Type: tree.Tmpfs, Target: path.Clean(target), TmpfsOptions: options})
	}
	slices.SortFunc(c.Spec.Mounts, func(x, y tree.Mount) int { return strings.Compare(x.Target, y.Target) })
	for i := 1; i < len(c.Spec.Mounts); i++ {
		if target := c.Spec.Mounts[i].Target; target == c.Spec.Mounts[i-1].Target {
			d.fault(append(slices.Clone(at), "volumes"), "two things are mounted at %s", target)
		}
	}
}

func tmpfsOptions(t *types.ServiceVolumeTmpfs) string {
	var options []string
	if t.Mode != 0 {
		options = append(options, fmt.Sprintf("mode=%04o", t.Mode))
	}
	if t.Size != 0 {
		options = append(options, fmt.Sprintf("size=%d", t.Size))
	}
	return strings.Join(options, ",")
}

// configs makes files of a service's configs.
func (b *builder) configs(d *decoder, c *madeContainer, s *types.ServiceConfig, at []string) {
	for i, use := range s.Configs {
		here := append(slices.Clone(at), "configs", strconv.Itoa(i))
		config, ok := c.set.project.Configs[use.Source]
		if !ok {
			d.fault(here, "this file declares no config %q%s; declare it below configs", use.Source, nearest.Hint(use.Source, tree.SortedKeys(c.set.project.Configs)))
			continue
		}
		file := tree.File{
			Target: orDefault(use.Target, "/"+use.Source), Content: config.Content,
			Mode: 0o444, Source: c.set.src.name + ": configs." + use.Source,
		}
		if config.File != "" {
			name := path.Join("sets", c.Set, config.File)
			content, err := readFile(b.input.catalogue.files, name)
			switch {
			case err != nil:
			case strings.HasPrefix(string(content), "#!"): // a program's dollar signs are its own
				file.Content = string(content)
			default:
				file.Content, err = b.interpolate(string(content))
			}
			if err != nil {
				d.faults = append(d.faults, c.set.src.fault([]string{"configs", use.Source, "file"}, "%v", err))
				continue
			}
			file.Source = b.input.catalogue.files.shownName(name)
		}
		file.UID, file.GID = d.owner(use.UID, use.GID, 0, 0, here)
		if use.Mode != nil {
			file.Mode = uint32(*use.Mode)
		}
		c.Files = append(c.Files, file)
	}
}

// secretMounts gives a container its secrets, readable by its own user alone unless told otherwise.
func (b *builder) secretMounts(d *decoder, c *madeContainer, s *types.ServiceConfig, at []string) {
	for i, use := range s.Secrets {
		here := append(slices.Clone(at), "secrets", strconv.Itoa(i))
		declared := b.secrets[use.Source]
		if declared == nil {
			d.fault(here, "no set declares a secret %q%s; declare it below secrets", use.Source, nearest.Hint(use.Source, tree.SortedKeys(b.secrets)))
			continue
		}
		declared.used = true
		uid, gid, numeric := userIDs(s.User)
		if !numeric && (use.UID == "" || use.GID == "") {
			d.fault(here, "whose it is cannot be told: set user to numbers (UID:GID), or the secret's uid and gid")
			continue
		}
		mount := tree.SecretMount{Name: use.Source, Target: orDefault(use.Target, use.Source), Mode: 0o400}
		if !path.IsAbs(mount.Target) {
			mount.Target = path.Join(secretsDirectory, mount.Target)
		}
		mount.UID, mount.GID = d.owner(use.UID, use.GID, uid, gid, here)
		if use.Mode != nil {
			mount.Mode = uint32(*use.Mode)
		}
		c.Secrets = append(c.Secrets, mount)
	}
}

// owner reads the uid and gid of a mount.
func (d *decoder) owner(uidText, gidText string, uid, gid int, here []string) (int, int) {
	for _, one := range []struct {
		text string
		into *int
		key  string
	}{{uidText, &uid, "uid"}, {gidText, &gid, "gid"}} {
		if one.text == "" {
			continue
		}
		n, err := strconv.Atoi(one.text)
		if err != nil || n < 0 {
			d.fault(append(slices.Clone(here), one.key), "%q is no number", one.text)
			continue
		}
		*one.into = n
	}
	return uid, gid
}
