// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package standing says how sets stand: what a load balancer or a cluster manager asks about.
// It is pure.
//
//	healthy     every container of the set and of its subsets is
//	unhealthy   one of them is not
//	stopped     all of them are stopped, because somebody asked for it
package standing

import (
	"strings"

	"copse/internal/tree"
)

// State is how a set stands.
type State string

// The states of a set.
const (
	Healthy   State = "healthy"
	Unhealthy State = "unhealthy"
	Stopped   State = "stopped"
)

// Container is how one container stands; jobs are not among them.
type Container struct {
	Set  string
	Name string
	// Health is in the API's words: healthy, starting, unhealthy, failed, stopped.
	Health string
	// Why says what is wrong with one that is not healthy.
	Why string
}

// Set is how a set stands, with all that lies below it.
type Set struct {
	// Path is the set's, or what else the containers were asked for by.
	Path  string
	State State
	// Containers is how many it has.
	Containers int
	// Unwell are those that are not healthy, in the order given.
	Unwell []Container
}

// Of says how the given containers stand together.
func Of(name string, containers []Container) Set {
	s := Set{Path: name, State: Healthy, Containers: len(containers)}
	stopped := 0
	for _, c := range containers {
		if c.Health == string(Healthy) {
			continue
		}
		s.Unwell = append(s.Unwell, c)
		if c.Health == string(Stopped) {
			stopped++
		}
	}
	switch {
	case len(s.Unwell) == 0:
	case stopped == len(containers):
		s.State = Stopped
	default:
		s.State = Unhealthy
	}
	return s
}

// Sets says how each set stands that has containers, itself or below it.
func Sets(sets []tree.Set, containers []Container) []Set {
	var all []Set
	for _, set := range sets {
		var below []Container
		for _, c := range containers {
			if c.Set == set.Path || strings.HasPrefix(c.Set, set.Path+"/") {
				below = append(below, c)
			}
		}
		if len(below) > 0 {
			all = append(all, Of(set.Path, below))
		}
	}
	return all
}

// Cause says in one line what is wrong, "" where nothing is.
func (s Set) Cause() string {
	const most = 3
	var parts []string
	for i, c := range s.Unwell {
		if i == most {
			parts = append(parts, "…")
			break
		}
		part := c.Name + " is " + c.Health
		if c.Why != "" {
			part += ": " + c.Why
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}
