// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package osloconf

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"copse/internal/nearest"
)

// misspelt describes a variable that no option answers to.
func (o *Options) misspelt(variable string, created map[string]createdGroup) Problem {
	groupName, optionName, _ := strings.Cut(canonical(strings.TrimPrefix(variable, prefix)), separator)
	reason := fmt.Sprintf("no group %q", groupName)
	if at, ok := o.byName[groupName]; ok {
		reason = fmt.Sprintf("no option %q in [%s]", optionName, o.groups[at].name)
	} else if made, ok := created[groupName]; ok {
		reason = fmt.Sprintf("no option %q in [%s]", optionName, made.name)
	}
	if near := o.nearest(groupName, optionName, created); near != "" {
		reason += "; nearest is " + near
	}
	return Problem{variable, reason}
}

// elsewhere is what it costs a candidate to have the very same name of the
// option in another group: more than two slips of the keyboard, less than
// being another option.
const elsewhere = 3

// nearest returns the variable of the known option that takes the fewest
// slips to become the given one, the first in the list among equals; "" when
// even that one differs in more than half of the letters, for then it is no
// help.
func (o *Options) nearest(groupName, optionName string, created map[string]createdGroup) string {
	best, least := "", -1
	consider := func(group string, options []Option) {
		groupCost := nearest.Distance(groupName, canonical(group))
		for i := range options {
			name := canonical(options[i].Option)
			cost := groupCost
			if name == optionName {
				cost = min(cost, elsewhere)
			} else {
				if least >= 0 && abs(len(name)-len(optionName)) >= least {
					continue
				}
				cost += nearest.Distance(optionName, name)
			}
			if least < 0 || cost < least {
				best, least = Name{group, options[i].Option}.Variable(), cost
			}
		}
	}
	for i := range o.groups {
		consider(o.groups[i].name, o.groups[i].options)
	}
	for _, key := range slices.Sorted(maps.Keys(created)) {
		for i := range o.groups {
			if g := &o.groups[i]; g.owner != nil && *g.owner == created[key].owner {
				consider(created[key].name, g.options)
			}
		}
	}
	if 2*least > len(groupName)+len(optionName) {
		return ""
	}
	return best
}

func abs(n int) int { return max(n, -n) }
