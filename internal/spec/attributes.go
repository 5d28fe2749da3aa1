// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"slices"
	"strconv"
	"strings"

	"copse/internal/nearest"
	"copse/internal/tree"
)

// attributes says which keys a mapping may have; nil takes anything, "*" stands for every name,
// "[]" for every item of a list (an item that is plain text is always accepted).
type attributes map[string]attributes

const (
	anyName   = "*"
	eachItem  = "[]"
	extension = "x-copse"
)

// composeAttributes returns what Copse honours of a Compose file. Everything else is refused:
// a key that is accepted and then ignored would be a promise not kept.
func composeAttributes() attributes {
	mount := attributes{"source": nil, "target": nil, "uid": nil, "gid": nil, "mode": nil}
	healthcheck := attributes{
		"test": nil, "interval": nil, "timeout": nil, "retries": nil, "start_period": nil, "start_interval": nil,
	}
	service := attributes{
		"image": nil, "command": nil, "entrypoint": nil, "user": nil, "group_add": nil, "working_dir": nil,
		"hostname": nil, "environment": nil, "env_file": nil, "labels": nil,
		"network_mode": nil, "pid": nil, "ipc": nil, "uts": nil, "cgroup": nil,
		"privileged": nil, "cap_add": nil, "cap_drop": nil, "security_opt": nil,
		"devices": nil, "device_cgroup_rules": nil, "read_only": nil, "tmpfs": nil,
		"volumes": {eachItem: {
			"type": nil, "source": nil, "target": nil, "read_only": nil,
			"bind":   {"propagation": nil, "create_host_path": nil},
			"volume": {"nocopy": nil},
			"tmpfs":  {"size": nil, "mode": nil},
		}},
		"ulimits": nil, "sysctls": nil, "extra_hosts": nil,
		"shm_size": nil, "mem_limit": nil, "cpus": nil, "pids_limit": nil,
		"restart": nil, "stop_signal": nil, "stop_grace_period": nil, "tty": nil,
		"logging": {"driver": nil, "options": nil},
		"configs": {eachItem: mount}, "secrets": {eachItem: mount},
		"depends_on":  {eachItem: nil, anyName: {"condition": nil, "restart": nil}},
		"healthcheck": healthcheck,
		"deploy": {
			"resources":     {"limits": {"cpus": nil, "memory": nil, "pids": nil}},
			"update_config": {"order": nil, "monitor": nil, "failure_action": nil},
		},
		extension: nil,
	}
	return attributes{
		"services": {anyName: service},
		"volumes":  {anyName: {extension: nil}},
		"secrets":  {anyName: {"external": nil, extension: nil}},
		"configs":  {anyName: {"content": nil, "file": nil}},
		extension:  nil,
	}
}

// checkAttributes reports every key of value that known does not have. At the top of a file
// further x-… keys may hold YAML anchors.
func (d *decoder) checkAttributes(value any, known attributes, path []string) {
	if known == nil {
		return
	}
	at := func(key string) []string { return append(slices.Clone(path), key) }
	switch v := value.(type) {
	case map[string]any:
		for _, key := range tree.SortedKeys(v) {
			below, ok := known[key]
			if !ok {
				below, ok = known[anyName]
			}
			switch {
			case ok:
				d.checkAttributes(v[key], below, at(key))
			case len(path) == 0 && strings.HasPrefix(key, "x-") && nearest.Of(key, []string{extension}) == "":
			default:
				names := slices.DeleteFunc(tree.SortedKeys(known), func(name string) bool { return name == anyName || name == eachItem })
				d.fault(at(key), "Copse does not honour this key%s", nearest.Hint(key, names))
			}
		}
	case []any:
		for i, item := range v {
			d.checkAttributes(item, known[eachItem], at(strconv.Itoa(i)))
		}
	}
}
