// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"copse/internal/tree"
)

// hostExtension is what stands below x-copse.host of a set.
type hostExtension struct {
	SharedMounts []string                 `yaml:"shared_mounts"`
	Directories  []hostDirectoryExtension `yaml:"directories"`
	Modules      []hostModuleExtension    `yaml:"modules"`
	Sysctls      map[string]string        `yaml:"sysctls"`
	Veth         []hostVethExtension      `yaml:"veth"`
}

type hostDirectoryExtension struct {
	Path string `yaml:"path"`
	Mode string `yaml:"mode"`
	UID  int    `yaml:"uid"`
	GID  int    `yaml:"gid"`
}

type hostModuleExtension struct {
	Name     string `yaml:"name"`
	Optional bool   `yaml:"optional"`
}

type hostVethExtension struct {
	Name    string `yaml:"name"`
	Peer    string `yaml:"peer"`
	Address string `yaml:"address"`
	MTU     int    `yaml:"mtu"`
}

var (
	// moduleName is what modprobe(8) takes; it treats "-" and "_" alike.
	moduleName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]*$`)
	// sysctlName is dotted; an interface's name in it may itself have a dash.
	sysctlName = regexp.MustCompile(`^[a-z0-9_]+(\.[A-Za-z0-9_-]+)+$`)
	// interfaceName is narrower than the kernel's rule (dev_valid_name in net/core/dev.c), and
	// leaves out "@" and ":", which ip(8) and old tools read in their own ways.
	interfaceName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
)

// longestInterfaceName is IFNAMSIZ of linux/if.h without the ending zero.
const longestInterfaceName = 15

// hostPrep checks and translates x-copse.host; it returns nil where nothing is asked.
func (d *decoder) hostPrep(ext *hostExtension, prep tree.HostPrep) *tree.HostPrep {
	if ext == nil {
		return nil
	}
	at := func(keys ...string) []string { return append([]string{extension, "host"}, keys...) }
	for i, p := range ext.SharedMounts {
		d.hostPath(p, at("shared_mounts", strconv.Itoa(i)))
		prep.SharedMounts = append(prep.SharedMounts, p)
	}
	for i, dir := range ext.Directories {
		here := func(key string) []string { return at("directories", strconv.Itoa(i), key) }
		d.hostPath(dir.Path, here("path"))
		setDefault(&dir.Mode, "0755")
		mode, err := strconv.ParseUint(dir.Mode, 8, 32)
		if err != nil || mode > 0o7777 || mode == 0 {
			d.fault(here("mode"), "%q is no file mode; write it in octal and in quotes, like \"0755\"", dir.Mode)
		}
		if dir.UID < 0 || dir.GID < 0 {
			d.fault(at("directories", strconv.Itoa(i)), "an owner is a number from 0, not %d:%d", dir.UID, dir.GID)
		}
		prep.Directories = append(prep.Directories, tree.HostDirectory{Path: dir.Path, Mode: uint32(mode), UID: dir.UID, GID: dir.GID})
	}
	for i, m := range ext.Modules {
		if !moduleName.MatchString(m.Name) {
			d.fault(at("modules", strconv.Itoa(i), "name"), "%q is no name of a kernel module", m.Name)
		}
		prep.Modules = append(prep.Modules, tree.HostModule(m))
	}
	for _, name := range tree.SortedKeys(ext.Sysctls) {
		if !sysctlName.MatchString(name) {
			d.fault(at("sysctls", name), "%q is no name of a kernel parameter; write it with dots, like net.ipv4.ip_forward", name)
		}
		if value := ext.Sysctls[name]; strings.TrimSpace(value) == "" || strings.ContainsAny(value, "\n\x00") {
			d.fault(at("sysctls", name), "%q is no value: a line of text is expected", value)
		}
	}
	prep.Sysctls = ext.Sysctls
	for i, v := range ext.Veth {
		d.hostVeth(v, at("veth", strconv.Itoa(i)))
		prep.Veth = append(prep.Veth, tree.HostVeth(v))
	}
	return &prep
}

// hostPath refuses what is no place for a catalogue to change on a host.
func (d *decoder) hostPath(p string, at []string) {
	// Directories of the system itself: what is below most of them is fair.
	system := []string{
		"/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/media", "/mnt", "/opt", "/proc", "/root", "/run",
		"/run/user", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/local", "/usr/sbin", "/usr/share", "/var",
		"/var/cache", "/var/lib", "/var/lock", "/var/log", "/var/run", "/var/spool", "/var/tmp",
	}
	kernels := func(top string) bool { return strings.HasPrefix(p, top+"/") }
	switch {
	case !path.IsAbs(p):
		d.fault(at, "%q is no absolute path", p)
	case path.Clean(p) != p:
		d.fault(at, "%q is not written plainly; did you mean %q?", p, path.Clean(p))
	case strings.ContainsAny(p, "\n\x00"):
		d.fault(at, "%q has a character that no path should have", p)
	case slices.Contains(system, p):
		d.fault(at, "%s belongs to the system; name a directory of the service below it", p)
	case slices.ContainsFunc([]string{"/proc", "/sys", "/dev"}, kernels):
		d.fault(at, "%s is the kernel's and cannot be prepared", p)
	}
}

func (d *decoder) hostVeth(v hostVethExtension, at []string) {
	here := func(key string) []string { return append(slices.Clone(at), key) }
	for _, end := range []struct{ key, name string }{{"name", v.Name}, {"peer", v.Peer}} {
		switch {
		case end.name == "":
			d.fault(here(end.key), "is missing; a pair has two ends, name and peer")
		case len(end.name) > longestInterfaceName:
			d.fault(here(end.key), "%q has %d characters, and the kernel takes %d", end.name, len(end.name), longestInterfaceName)
		case !interfaceName.MatchString(end.name):
			d.fault(here(end.key), "%q is no name of a network interface", end.name)
		}
	}
	if v.Name == v.Peer && v.Name != "" {
		d.fault(here("peer"), "both ends are named %q", v.Name)
	}
	if v.Address != "" {
		prefix, err := netip.ParsePrefix(v.Address)
		switch {
		case err != nil:
			d.fault(here("address"), "%q is no address with the length of its prefix; write it like 198.51.100.1/24", v.Address)
		case prefix.Addr() == prefix.Masked().Addr() && prefix.Bits() < prefix.Addr().BitLen()-1: // RFC 3021: of two addresses both are hosts'
			d.fault(here("address"), "%s is the network itself; give the interface an address in it, like %s/%d", v.Address, prefix.Addr().Next(), prefix.Bits())
		}
	}
	if v.MTU != 0 && (v.MTU < 68 || v.MTU > 65535) { // ETH_MIN_MTU and ETH_MAX_MTU of linux/if_ether.h
		d.fault(here("mtu"), "%d is not between 68 and 65535", v.MTU)
	}
}

// checkHost refuses two sets that ask a host for different things under one name.
func (b *builder) checkHost() {
	type claim struct {
		text string
		set  *parsedSet
	}
	claims := map[string]claim{}
	for _, set := range b.sets {
		if !set.selected || set.host == nil {
			continue
		}
		hold := func(what, text string, keys ...string) {
			if other, there := claims[what]; there && other.text != text {
				b.fault(set.src.fault(append([]string{extension, "host"}, keys...), "%s is %s here and %s in %s; a host can have one of them", what, text, other.text, other.set.src.name))
			}
			claims[what] = claim{text, set}
		}
		for i, dir := range set.host.Directories {
			hold("directory "+dir.Path, fmt.Sprintf("%04o %d:%d", dir.Mode, dir.UID, dir.GID), "directories", strconv.Itoa(i))
		}
		for _, name := range tree.SortedKeys(set.host.Sysctls) {
			hold("parameter "+name, set.host.Sysctls[name], "sysctls", name)
		}
		for i, v := range set.host.Veth {
			pair := fmt.Sprintf("%s–%s %s mtu %d", v.Name, v.Peer, v.Address, v.MTU)
			hold("interface "+v.Name, pair, "veth", strconv.Itoa(i))
			hold("interface "+v.Peer, pair, "veth", strconv.Itoa(i))
			if v.Address != "" {
				hold("address "+v.Address, v.Name, "veth", strconv.Itoa(i), "address")
			}
		}
	}
}
