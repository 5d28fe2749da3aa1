// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"strconv"
	"time"

	"copse/internal/plan"
	"copse/internal/tree"
)

// variant is a cloud file: how each container is declared.
type variant struct {
	class      tree.RollbackClass
	containers map[string]variantContainer
}

type variantContainer struct {
	mode, value string
	hold        bool
	monitor     time.Duration
	startFirst  bool
}

func (s *simulation) variant() *variant {
	v := &variant{class: s.class, containers: map[string]variantContainer{}}
	modes := []string{"good"}
	if s.draw(2) == 0 {
		modes = []string{"good", "good", "good", "good", "good", "good", "crash", "never-ready", "fail", "sickens", "ends", "cold"}
	}
	for _, c := range phases(s.class).Containers {
		v.containers[c.Name] = variantContainer{
			mode: modes[s.draw(len(modes))], value: strconv.Itoa(s.draw(2)), hold: s.draw(2) == 0,
			monitor: time.Duration(s.draw(2)*s.draw(20)) * time.Second, startFirst: s.draw(2) == 0,
		}
	}
	return v
}

// document resolves the cloud file with pins.
func (v *variant) document(pins []tree.Pin) *tree.Document {
	doc := phases(v.class)
	for i := range doc.Containers {
		c := &doc.Containers[i]
		as := v.containers[c.Name]
		c.Spec.Environment["MODE"], c.Spec.Environment["VALUE"] = as.mode, as.value
		c.Update.Hold, c.Update.Monitor = as.hold, as.monitor
		// Two generations must never write one volume; a container that has one says so.
		if c.Update.Order = tree.StopFirst; as.startFirst && len(c.Spec.Mounts) == 0 {
			c.Update.Order = tree.StartFirst
		}
	}
	for _, pin := range pins {
		if pin.Release != doc.Container(pin.Container).Release {
			released(doc, pin.Release, pin.Container)
			doc.Pins[len(doc.Pins)-1].Generation = pin.Generation
		} else if pin.Generation != 0 {
			pin.Declared = doc.Container(pin.Container).Release
			doc.Pins = append(doc.Pins, pin)
		}
	}
	return doc
}

// asked is a request, and the cloud file that it was made from where that is declared as a whole.
type asked struct {
	Request
	whole *variant
}

// request is a random change of a random cloud.
func (s *simulation) request() asked {
	names := [][]string{nil, nil, {"component/api"}, {"component/api"}, {"worker"}, {"api"}, {"db"}, {"proxy"}, {"openstack-interface"}}
	return s.named(names[s.draw(len(names))])
}

// named is a random change of what is named; of something else where that is asked for again.
func (s *simulation) named(names []string) asked {
	if len(names) > 0 && s.draw(3) == 0 {
		names = []string{[]string{"worker", "api", "db", "proxy"}[s.draw(4)]}
	}
	v, pins := s.variant(), s.w.pins()
	r := asked{Request: Request{Kind: plan.Up, Atomic: s.draw(4) == 0, Options: plan.Options{Names: names}}}
	if len(names) == 0 {
		r.whole = v
	}
	switch s.draw(16) {
	case 0:
		r.Kind, r.Document, r.whole = plan.Stop, v.document(pins), nil
	case 1:
		r.Kind, r.Document, r.whole = plan.Restart, v.document(pins), nil
	case 2:
		r.Kind, r.Document, r.whole = plan.Down, v.document(pins), nil
		r.Options = plan.Options{Volumes: s.draw(2) == 0}
	case 3, 4, 5, 6:
		r.Kind = plan.Upgrade
		r.Options.Finalize = s.draw(3) == 0
		if s.draw(5) > 0 {
			pins = s.pinnedTo([]string{"2025.1", "2026.1", "2026.1", "2026.1"}[s.draw(4)], v, names, pins)
		}
		r.Document = v.document(pins)
	case 7, 8, 9, 10:
		r.Kind, r.whole = plan.Rollback, nil
		r.Options.Restore = s.draw(3) == 0
		if s.draw(3) == 0 {
			r.Options.To = 1 + s.draw(40)
		}
	case 11:
		r.Options.Unpin = true
		r.Document = v.document(s.without(v, names, pins))
	default:
		r.Document = v.document(pins)
	}
	return r
}

// pinnedTo are pins with those of an upgrade in place of what the named have.
func (s *simulation) pinnedTo(release string, v *variant, names []string, pins []tree.Pin) []tree.Pin {
	selected := s.selected(plan.Upgrade, v, names)
	pins = s.without(v, names, pins)
	var kept []tree.Pin
	for _, pin := range pins {
		if !selected[pin.Container] {
			kept = append(kept, pin)
		}
	}
	for _, name := range tree.SortedKeys(selected) {
		kept = append(kept, tree.Pin{Host: testHost, Container: name, Release: release})
	}
	return kept
}

// without are the pins of what is not named.
func (s *simulation) without(v *variant, names []string, pins []tree.Pin) []tree.Pin {
	selected := s.selected(plan.Up, v, names)
	var kept []tree.Pin
	for _, pin := range pins {
		if !selected[pin.Container] {
			kept = append(kept, pin)
		}
	}
	return kept
}

func (s *simulation) selected(kind plan.Kind, v *variant, names []string) map[string]bool {
	selected, err := plan.Selected(kind, phases(v.class), names)
	if err != nil {
		s.w.t.Fatal(err)
	}
	return selected
}
