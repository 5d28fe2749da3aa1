// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"fmt"
	"slices"
	"strings"

	"copse/internal/plan"
	"copse/internal/tree"
)

// place is something that a container writes to: a volume, or a path of the host.
type place struct {
	container *tree.Container
	kind      tree.MountType
	source    string
}

func (p place) String() string {
	if p.kind == tree.NamedVolume {
		return "volume " + p.source
	}
	return p.source
}

// placesClaimedTwice finds volumes and paths of the host that two services write to without
// anybody having said that they may:
//
//   - a volume is for the containers of one component, unless its x-copse.shared says why not;
//   - a path of the host is for one container, unless a set declares it (x-copse.host: directories,
//     shared_mounts), which makes it a meeting place.
//
// Jobs do not count: they run to completion, in the order that they declare.
func placesClaimedTwice(in *Input, all []*tree.Container) []plan.Finding {
	shared := map[string]bool{}
	for _, v := range in.Document.Volumes {
		if v.Shared != "" {
			shared[v.Name] = true
		}
	}
	var meeting []string
	for i := range in.Document.HostPrep {
		prep := &in.Document.HostPrep[i]
		meeting = append(meeting, prep.SharedMounts...)
		for _, d := range prep.Directories {
			meeting = append(meeting, d.Path)
		}
	}
	var findings []plan.Finding
	var before []place
	for _, c := range all {
		if c.Job != nil {
			continue
		}
		for _, mine := range writes(c) {
			if mine.kind == tree.NamedVolume && shared[mine.source] || mine.kind == tree.Bind && slices.ContainsFunc(meeting, func(top string) bool { return below(mine.source, top) }) {
				continue
			}
			for _, other := range before {
				if !collide(mine, other) || !in.Starting[c.Name] && !in.Starting[other.container.Name] {
					continue
				}
				findings = append(findings, writtenByBoth(mine, other))
			}
			before = append(before, mine)
		}
	}
	return findings
}

func writes(c *tree.Container) []place {
	var places []place
	for _, m := range c.Spec.Mounts {
		if !m.ReadOnly && (m.Type == tree.Bind || m.Type == tree.NamedVolume) {
			places = append(places, place{c, m.Type, m.Source})
		}
	}
	return places
}

func collide(a, b place) bool {
	switch {
	case a.container == b.container || a.kind != b.kind:
		return false
	case a.kind == tree.NamedVolume:
		return a.source == b.source && a.container.Component != b.container.Component
	}
	return below(a.source, b.source) || below(b.source, a.source)
}

func writtenByBoth(mine, other place) plan.Finding {
	where, do := mine.String(), "mount it read-only in one of them, or say below the volume's x-copse why both may: `shared: REASON`"
	if mine.kind == tree.Bind {
		do = "mount it read-only in one of them, or declare it as theirs together below x-copse.host.directories of a set"
		if len(other.source) < len(mine.source) {
			where = other.source
		}
	}
	what := fmt.Sprintf("%s is written to by both %s and %s", where, other.container.Name, mine.container.Name)
	if mine.source != other.source {
		what += fmt.Sprintf(", the one at %s, the other at %s", other.source, mine.source)
	}
	return plan.Finding{Severity: plan.Refused, Check: "path", Containers: names(mine.container, other.container), Where: where, What: what, Do: do}
}

// below tells whether a path is another or lies in it.
func below(path, top string) bool {
	path, top = strings.TrimSuffix(path, "/"), strings.TrimSuffix(top, "/")
	return path == top || strings.HasPrefix(path, top+"/")
}
